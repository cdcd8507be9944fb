//! Values as people write them: `30s`, `16 MiB`, lists with or without brackets.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A span of time, written `1h 30m`, `250ms`. Never zero: no setting means anything without time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text.trim()) {
            Ok(Duration::ZERO) => Err(format!("`{text}` has to be longer than nothing")),
            Ok(span) => Ok(Self(span)),
            Err(_) => Err(format!("`{text}` is not a span of time: write it as 30s, 5m, 8h or 1h 30m")),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A number of bytes, written `65536`, `64 KiB`, `16 MiB` or `1 GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub usize);

const UNITS: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((trimmed.strip_suffix(name)?, *unit)))
            .unwrap_or((trimmed, 1));
        let bytes = number.trim().parse().ok().and_then(|number: usize| number.checked_mul(unit));
        bytes.map(Self).ok_or_else(|| {
            format!("`{text}` is not a number of bytes: write it as 65536, 64 KiB, 16 MiB or 1 GiB")
        })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |unit: &&(&str, usize)| self.0 != 0 && self.0.is_multiple_of(unit.1);
        let (name, unit) = UNITS.iter().find(whole).unwrap_or(&("B", 1));
        write!(f, "{} {name}", self.0 / unit)
    }
}

/// A part of a disk, written as a number of bytes or `5 %`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DiskRoom {
    /// So many bytes.
    Bytes(Bytes),
    /// So many hundredths.
    Percent(f64),
}

impl FromStr for DiskRoom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(number) = text.trim().strip_suffix('%') else { return text.parse().map(Self::Bytes) };
        match number.trim().parse() {
            Ok(percent) if (0.0..100.0).contains(&percent) => Ok(Self::Percent(percent)),
            _ => Err(format!("`{text}` is no part of a disk: write it as 5% or 10 GiB")),
        }
    }
}

impl fmt::Display for DiskRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for DiskRoom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DiskRoom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text {
            expecting: "a part of a disk such as `5%` or `10 GiB`",
            kind: PhantomData,
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text { expecting: "a span of time such as `30s`", kind: PhantomData })
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text { expecting: "a number of bytes", kind: PhantomData })
    }
}

/// Reads what is written as text, or as a bare number: the environment has no quotes, so `65536` arrives
/// as a number.
struct Text<T> {
    expecting: &'static str,
    kind: PhantomData<T>,
}

impl<T: FromStr<Err = String>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// Reads a socket address.
pub fn socket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| de::Error::custom(format!("`{text}` is not an address: write it as 127.0.0.1:8080")))
}

/// Reads a list of networks: an array of texts, or one text with commas, as the environment gives it.
pub fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    deserializer.deserialize_any(Networks)
}

struct Networks;

impl Networks {
    fn item<E: de::Error>(text: &str) -> Result<IpNet, E> {
        text.trim()
            .parse()
            .map_err(|_| E::custom(format!("`{text}` is not a network: write it as 10.0.0.0/8 or fd00::/8")))
    }
}

impl<'de> Visitor<'de> for Networks {
    type Value = Vec<IpNet>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of networks")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<IpNet>, E> {
        text.split(',').filter(|item| !item.trim().is_empty()).map(Self::item).collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<IpNet>, A::Error> {
        let mut items = Vec::new();
        while let Some(text) = sequence.next_element::<String>()? {
            items.push(Self::item(&text)?);
        }
        Ok(items)
    }
}

/// An address that may be left out; the empty text leaves it out too.
pub mod optional_url {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use url::Url;

    /// Writes nothing as the empty text, which a TOML file can hold.
    pub fn serialize<S: Serializer>(url: &Option<Url>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(url.as_ref().map_or("", Url::as_str))
    }

    /// Takes `http` and `https` only.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(url)),
            _ => Err(de::Error::custom(format!(
                "`{text}` is not the address of a server: write it as https://media.example.com"
            ))),
        }
    }
}

/// A path, or the empty text for none.
pub mod optional_path {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes nothing as the empty text, which a TOML file can hold.
    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.clone().unwrap_or_default().serialize(serializer)
    }

    /// Takes any text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        let path = PathBuf::deserialize(deserializer)?;
        Ok((!path.as_os_str().is_empty()).then_some(path))
    }
}

/// The URL of a proxy, or the empty text for none.
pub mod optional_proxy {
    use mediahooks_sender::Proxy;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes nothing as the empty text, which a TOML file can hold.
    pub fn serialize<S: Serializer>(proxy: &Option<Proxy>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(proxy.as_ref().map_or("", Proxy::as_str))
    }

    /// Takes `http` only. The text stays out of the error: it may hold a password.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Proxy>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim().is_empty() { Ok(None) } else { text.parse().map(Some).map_err(de::Error::custom) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_holds_them_whole() {
        for text in ["0 B", "1 B", "1023 B", "64 KiB", "16 MiB", "1025 KiB", "3 GiB"] {
            assert_eq!(text.parse::<Bytes>().map(|bytes| bytes.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("65536".parse(), Ok(Bytes(65536)));
        for text in ["", "KiB", "-1", "1 MB", "99999999999 GiB", "1.5 MiB"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_span_of_nothing_is_refused() {
        assert_eq!("90s".parse::<Span>().map(|span| span.to_string()), Ok("1m 30s".to_owned()));
        for text in ["0s", "", "soon", "-5s", "30"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
