//! Brings flags, environment, file and defaults together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use super::{Flags, Settings, defaults};

/// In front of the name of a setting, in capitals.
const PREFIX: &str = "MEDIAHOOKS_";

/// Variables that are read by other commands than `serve`, by the log or by the tests.
const OTHER_VARIABLES: [&str; 6] =
    ["API_SECRET", "CONFIG", "FFMPEG9", "RTMP_URL", "SERVER", "WEBHOOK_SECRET"];

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named cannot be read.
    #[error("cannot read the configuration file {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {path} is not TOML: {reason}")]
    NotToml {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A key that means nothing; leaving it would hide a typing error.
    #[error("unknown key `{key}` in {path}{}", suggestion.as_ref().map(|name| format!(": did you mean `{name}`?")).unwrap_or_default())]
    UnknownKey {
        /// The key.
        key: String,
        /// In which file.
        path: PathBuf,
        /// A known key that looks like it.
        suggestion: Option<String>,
    },
    /// A value that does not fit its key.
    #[error("cannot use {place}: {reason}")]
    Value {
        /// The key or variable, and its file.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

/// The variables of the process that begin with `MEDIAHOOKS_`.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads the process's own.
    pub fn of_process() -> Self {
        Self::from_iter(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        }))
    }

    /// Names that begin with `MEDIAHOOKS_` and mean nothing, for a warning: other programs may own them.
    pub fn unknown(&self) -> Vec<String> {
        let known = defaults();
        let names = self.0.keys().filter(|name| {
            !known.contains_key(&name.to_lowercase()) && !OTHER_VARIABLES.contains(&name.as_str())
        });
        names.map(|name| format!("{PREFIX}{name}")).collect()
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let ours = |(name, value): (String, String)| Some((name.strip_prefix(PREFIX)?.to_owned(), value));
        Self(variables.into_iter().filter_map(ours).collect())
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment")
            .interpolater(|_, keys| format!("{PREFIX}{}", keys.join(".").to_uppercase()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let known = defaults();
        let value = |(name, text): (&String, &String)| {
            let key = name.to_lowercase();
            // Container tools hand on variables that nobody has set as empty ones.
            let default = known.get(&key).filter(|_| !text.trim().is_empty())?;
            // Numbers and yes or no are the only values that are not written as text.
            let value = match (default, text.trim().parse::<u64>(), text.trim().parse::<bool>()) {
                (Value::Num(..), Ok(number), _) => Value::from(number),
                (Value::Bool(..), _, Ok(yes)) => Value::from(yes),
                _ => Value::from(text.as_str()),
            };
            Some((key, value))
        };
        Ok(Profile::Default.collect(self.0.iter().filter_map(value).collect()))
    }
}

/// Reads the settings of a server.
///
/// - `flags`: from the command line.
/// - `file`: a TOML file, which has to exist.
pub fn load(flags: &Flags, environment: Environment, file: Option<&Path>) -> Result<Settings, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(Settings::default()));
    if let Some(path) = file {
        figment = figment.merge(read_file(path)?);
    }
    let figment = figment.merge(environment).merge(Serialized::defaults(flags));
    figment.extract().map_err(|error| explain(error, file))
}

struct File(figment::providers::Data<Toml>, PathBuf);

impl Provider for File {
    fn metadata(&self) -> Metadata {
        Metadata::named("file").source(self.1.as_path()).interpolater(|_, keys| keys.join("."))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        self.0.data()
    }
}

fn read_file(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
    let file = File(Toml::string(&text), path.to_owned());
    let not_toml = |error: Error| ConfigError::NotToml {
        path: path.to_owned(),
        reason: error.kind.to_string().trim().to_owned(),
    };
    let known = defaults();
    for key in file.data().map_err(not_toml)?.into_values().flat_map(|values| values.into_keys()) {
        if !known.contains_key(&key) {
            let suggestion = closest(&key, known.keys());
            return Err(ConfigError::UnknownKey { key, path: path.to_owned(), suggestion });
        }
    }
    Ok(file)
}

/// The known name that shares the most pairs of letters, if it shares most of them.
fn closest<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    let pairs = |text: &str| -> Vec<(char, char)> { text.chars().zip(text.chars().skip(1)).collect() };
    let wanted = pairs(key);
    let likeness = |name: &&String| {
        let theirs = pairs(name);
        let shared = wanted.iter().filter(|pair| theirs.contains(pair)).count();
        200 * shared / (wanted.len() + theirs.len()).max(1)
    };
    known.max_by_key(likeness).filter(|name| likeness(name) >= 70).cloned()
}

fn explain(error: Error, file: Option<&Path>) -> ConfigError {
    let profile = Profile::Default;
    let key = error.path.first().cloned().unwrap_or_default();
    let place = match &error.metadata {
        Some(metadata) if metadata.name == "environment" => {
            format!("the environment variable {}", metadata.interpolate(&profile, &[key]))
        }
        Some(metadata) if metadata.name == "file" => {
            format!("`{key}` in {}", file.unwrap_or(Path::new("the file")).display())
        }
        _ => format!("the setting `{key}`"),
    };
    let reason = match &error.kind {
        Kind::InvalidType(found, expected) if matches!(expected.as_str(), "usize" | "u32") => {
            format!("found {found}, expected a whole number")
        }
        kind => kind.to_string(),
    };
    ConfigError::Value { place, reason }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;
    use crate::config::{Bytes, LogFormat, Span};

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    /// What is said about a file and an environment, with the file's name replaced.
    fn complaint(text: &str, variables: &[(&str, &str)]) -> String {
        let file = file(text);
        let error = load(&Flags::default(), environment(variables), Some(file.path())).unwrap_err();
        error.to_string().replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn nothing_given_means_the_defaults() {
        assert_eq!(load(&Flags::default(), Environment::default(), None).unwrap(), Settings::default());
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let file = file("http = \"127.0.0.1:1\"\nrtmp = \"127.0.0.1:1\"\ndata = \"file\"\nclip_min = \"3s\"");
        let variables = environment(&[
            ("MEDIAHOOKS_HTTP", "127.0.0.1:2"),
            ("MEDIAHOOKS_RTMP", "127.0.0.1:2"),
            ("MEDIAHOOKS_LOG_FORMAT", "json"),
        ]);
        let flags = Flags { http: Some("127.0.0.1:3".parse().unwrap()), ..Flags::default() };
        let settings = load(&flags, variables, Some(file.path())).unwrap();
        assert_eq!((settings.http.port(), settings.rtmp.port()), (3, 2));
        assert_eq!(settings.data, Path::new("file"));
        assert_eq!(settings.clip_min, Span(Duration::from_secs(3)));
        assert_eq!(settings.log_format, LogFormat::Json);
        assert_eq!(settings.clip_max, Settings::default().clip_max);
    }

    #[test]
    fn the_environment_writes_lists_and_numbers_plainly() {
        let settings = load(
            &Flags::default(),
            environment(&[
                ("MEDIAHOOKS_WEBHOOK_ALLOW", "127.0.0.0/8, 10.0.0.0/8"),
                ("MEDIAHOOKS_WEBHOOK_RETRY_SCHEDULE", "0s,1s"),
                ("MEDIAHOOKS_RTMP_CONNECTIONS_MAX", "7"),
                ("MEDIAHOOKS_RTMP_PUBLISHER_BYTES_MAX", "65536"),
                ("MEDIAHOOKS_METRICS_OPEN", "true"),
                ("MEDIAHOOKS_DATA", "12"),
                ("MEDIAHOOKS_HTTP", ""),
            ]),
            None,
        )
        .unwrap();
        assert_eq!(settings.webhook_allow.len(), 2);
        assert!(settings.metrics_open);
        assert_eq!(settings.webhook_retry_schedule.attempts(), 2);
        assert_eq!(settings.rtmp_connections_max, 7);
        assert_eq!(settings.rtmp_publisher_bytes_max, Bytes(65536));
        assert_eq!(settings.data, Path::new("12"));
        assert_eq!(settings.http, Settings::default().http, "an empty variable is none");
    }

    #[test]
    fn a_file_names_networks_in_an_array() {
        let file = file("webhook_allow = [\"127.0.0.0/8\"]\nwebhook_retry_schedule = \"0s\"");
        let settings = load(&Flags::default(), Environment::default(), Some(file.path())).unwrap();
        assert_eq!(settings.webhook_allow, ["127.0.0.0/8".parse().unwrap()]);
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_place() {
        let said = [
            complaint("htp = \"127.0.0.1:1\"", &[]),
            complaint("[server]\nhttp = \"127.0.0.1:1\"", &[]),
            complaint("http = 127.0.0.1", &[]),
            complaint("clip_min = \"soon\"", &[]),
            complaint("clip_min = 5", &[]),
            complaint("rtmp_connections_max = \"many\"", &[]),
            complaint("", &[("MEDIAHOOKS_HTTP", "localhost")]),
            complaint("", &[("MEDIAHOOKS_WEBHOOK_RETRY_SCHEDULE", "0s,soon")]),
            complaint("", &[("MEDIAHOOKS_WEBHOOK_ALLOW", "127.0.0.0/8,lan")]),
            complaint("", &[("MEDIAHOOKS_RTMP_CONNECTIONS_MAX", "-1")]),
            complaint("", &[("MEDIAHOOKS_PUBLIC_URL", "media.example.com")]),
            complaint("", &[("MEDIAHOOKS_WEBHOOK_PROXY", "socks5://user:password@proxy")]),
        ];
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let error = load(&Flags::default(), Environment::default(), Some(Path::new("/nowhere/x.toml")));
        assert!(matches!(error, Err(ConfigError::File { .. })));
    }

    #[test]
    fn variables_that_mean_nothing_are_found() {
        let variables = environment(&[
            ("MEDIAHOOKS_CLIP_MINN", "1s"),
            ("MEDIAHOOKS_CLIP_MIN", "1s"),
            ("MEDIAHOOKS_API_SECRET", "x"),
            ("PATH", "/bin"),
        ]);
        assert_eq!(variables.unknown(), ["MEDIAHOOKS_CLIP_MINN"]);
    }

    /// The example is read with every key taken out of its comment.
    #[test]
    fn the_example_file_shows_every_key_with_its_default() {
        let example = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../mediahooks.example.toml"));
        let keys: Vec<&str> = example
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
            .collect();
        let shown = file(&keys.join("\n"));
        assert_eq!(
            load(&Flags::default(), Environment::default(), Some(shown.path())).unwrap(),
            Settings::default()
        );
        let named: Vec<&str> = keys.iter().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
        let mut sorted = named.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, defaults().keys().map(String::as_str).collect::<Vec<_>>());
        assert!(
            example.lines().all(|line| line.is_empty() || line.starts_with('#')),
            "all keys are comments"
        );
    }
}
