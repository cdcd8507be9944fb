//! `mediahooks account`: the account, how long its media is kept, and its API secrets.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mediahooks_database::{Conflict, Database, DatabaseError, Options};
use mediahooks_model::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::remote::RemoteArgs;
use super::rest::{Rest, read};
use crate::output::failure::Failure;
use crate::output::{human, table};
use crate::serve::account::{DATABASE_FILE, fresh_secret, hash};

/// `mediahooks account …`
#[derive(Debug, Args)]
pub struct AccountArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Show the account.
    Info,
    /// Show how long media is kept, or change it.
    Expiration {
        /// Days from the start of a timeline, 1 to 365. Applies to existing timelines at once.
        #[arg(long, value_name = "DAYS")]
        timelines: Option<Days>,
        /// Days from the end of a recording, 1 to 365 or `never`. Applies to later recordings.
        #[arg(long, value_name = "DAYS")]
        recordings: Option<Days>,
        /// Days from the request of a clip, 1 to 365 or `never`. Applies to later clips.
        #[arg(long, value_name = "DAYS")]
        clips: Option<Days>,
    },
    /// Look after API secrets. When all are lost: stop the server and add one with --data.
    Secrets {
        /// Work on this data directory of a stopped server instead: it needs no secret.
        #[arg(long, global = true, value_name = "DIR")]
        data: Option<PathBuf>,
        #[command(subcommand)]
        command: Option<SecretsCommand>,
    },
}

#[derive(Debug, Subcommand)]
enum SecretsCommand {
    /// List their names; the secrets themselves are not kept.
    List,
    /// Make another secret and print it, once.
    Add {
        /// A name for it.
        name: String,
    },
    /// Delete a secret: who has it is shut out.
    Delete {
        /// Its name.
        name: String,
    },
}

/// A number of days, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Days {
    Never,
    Count(u16),
}

impl std::str::FromStr for Days {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "never" => Ok(Self::Never),
            Ok(days @ 1..=365) => Ok(Self::Count(days)),
            _ => Err("write a number of days from 1 to 365, or `never`"),
        }
    }
}

impl Days {
    fn wire(self) -> Value {
        match self {
            Self::Never => json!({}),
            Self::Count(days) => json!({"days": days}),
        }
    }
}

/// Does what was asked.
pub async fn run(args: AccountArgs) -> anyhow::Result<()> {
    match args.command {
        AccountCommand::Info => {
            let info = args.remote.rest()?.get("/api/v3/account/info", &[]).await?;
            args.remote.show(&info, |info| {
                let account = table::cell(info["accountId"].as_str().unwrap_or_default());
                Ok(table::text(&table::facts([("Account", account)])))
            })
        }
        AccountCommand::Expiration { timelines, recordings, clips } => {
            const PATH: &str = "/api/v3/account/media/expiration";
            let rest = args.remote.rest()?;
            let asked = [("timelines", timelines), ("recordings", recordings), ("clips", clips)];
            let changes: serde_json::Map<String, Value> = asked
                .iter()
                .filter_map(|(name, days)| Some(((*name).to_owned(), days.as_ref()?.wire())))
                .collect();
            let rules = if changes.is_empty() {
                rest.get(PATH, &[]).await?
            } else {
                rest.put(PATH, &changes.into()).await?
            };
            args.remote.show(&rules, |rules| Ok(expiration(rules)))
        }
        AccountCommand::Secrets { data, command } => {
            let command = command.unwrap_or(SecretsCommand::List);
            let answer = match data {
                Some(data) => offline(data, &command).await?,
                None => online(&args.remote.rest()?, &command).await?,
            };
            args.remote.show(&answer, |answer| secrets(answer, &command))
        }
    }
}

fn expiration(rules: &Value) -> String {
    let row = |title, name: &str, from| {
        let days = rules[name]["days"].as_u64();
        let kept = days.map_or_else(
            || "until they are deleted".to_owned(),
            |days| format!("{days} {} from {from}", if days == 1 { "day" } else { "days" }),
        );
        (title, kept)
    };
    table::text(&table::facts([
        row("Timelines", "timelines", "their start"),
        row("Recordings", "recordings", "their end"),
        row("Clips", "clips", "their request"),
    ]))
}

#[derive(Deserialize)]
struct Secret {
    name: String,
    created: Timestamp,
}

/// What the server or the database answered, for people.
fn secrets(answer: &Value, command: &SecretsCommand) -> anyhow::Result<String> {
    Ok(match command {
        SecretsCommand::List => {
            let mut rows = table::new(&["name", "made"]);
            for secret in read::<Vec<Secret>>(answer)? {
                rows.add_row([table::cell(&secret.name), human::moment(secret.created)]);
            }
            table::text(&rows)
        }
        SecretsCommand::Add { .. } => {
            format!("{}\n", table::cell(answer["secret"].as_str().unwrap_or_default()))
        }
        SecretsCommand::Delete { name } => format!("Secret `{}` is deleted.\n", table::cell(name)),
    })
}

async fn online(rest: &Rest, command: &SecretsCommand) -> anyhow::Result<Value> {
    const PATH: &str = "/api/v3/account/secrets";
    match command {
        SecretsCommand::List => rest.get(PATH, &[]).await,
        SecretsCommand::Add { name } => rest.post(PATH, &json!({"name": name})).await,
        SecretsCommand::Delete { name } => {
            let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
            rest.delete(&format!("{PATH}/{name}"), &[]).await
        }
    }
}

/// The same without a server, in its data directory. Answers as the server does.
async fn offline(data: PathBuf, command: &SecretsCommand) -> anyhow::Result<Value> {
    let database = open(data)?;
    let outcome = change(&database, command).await;
    database.close().await?;
    outcome
}

fn open(data: PathBuf) -> anyhow::Result<Database> {
    let path = data.join(DATABASE_FILE);
    if !path.exists() {
        return Err(Failure::new(format!("{} is not the data directory of a server", data.display()))
            .because(format!("it has no {DATABASE_FILE}"))
            .advise("name it with --data")
            .into());
    }
    Database::open(&path, Options::default()).map_err(|error| match error {
        DatabaseError::InUse { .. } => Failure::new(format!("the server on {} is running", data.display()))
            .advise("stop it, change the secrets, and start it again")
            .into(),
        error => error.into(),
    })
}

async fn change(database: &Database, command: &SecretsCommand) -> anyhow::Result<Value> {
    match command {
        SecretsCommand::List => {
            let secrets = database.api_secrets().await?.into_iter();
            Ok(secrets.map(|secret| json!({"name": secret.name, "created": secret.created})).collect())
        }
        SecretsCommand::Add { name } => {
            let secret = fresh_secret();
            let created = human::now();
            database.add_api_secret(name.clone(), hash(&secret), created).await.map_err(
                |error| match error {
                    DatabaseError::Conflict(Conflict::Exists) => {
                        let name = table::cell(name);
                        anyhow::Error::new(Failure::new(format!("there is a secret named `{name}` already")))
                    }
                    error => error.into(),
                },
            )?;
            Ok(json!({"name": name, "secret": secret, "created": created}))
        }
        SecretsCommand::Delete { name } => {
            let existed = database.remove_api_secret(name.clone()).await?;
            anyhow::ensure!(existed, "there is no secret named `{}`", table::cell(name));
            Ok(true.into())
        }
    }
}
