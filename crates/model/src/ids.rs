//! Names and numbers of things, each with a type of its own so that they cannot be swapped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not a valid id or name of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// A stream name must have 1 to 128 characters, none of them a control character.
    #[error("a stream name must have 1 to 128 characters and no control characters")]
    StreamName,
    /// An account id must have 1 to 32 letters and digits.
    #[error("an account id must have 1 to 32 letters and digits")]
    AccountId,
    /// Not 32 hexadecimal digits (dashes tolerated).
    #[error("`{0}` is not an id of 32 hexadecimal digits")]
    Uuid(String),
}

/// The account a server belongs to: a short word such as `dkxfvY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

impl AccountId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The stream's full name, `account/stream`, as webhooks and stream control call it.
    pub fn stream_id(&self, stream: &StreamName) -> String {
        format!("{}/{}", self.0, stream.as_str())
    }
}

impl TryFrom<String> for AccountId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fits = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if fits { Ok(Self(text)) } else { Err(InvalidId::AccountId) }
    }
}

/// The name of a stream within an account: 1 to 128 characters, case-sensitive; `/` is allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(String);

impl StreamName {
    /// Longest name, in characters.
    pub const MAX_CHARS: usize = 128;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StreamName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fits =
            (1..=Self::MAX_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if fits { Ok(Self(text)) } else { Err(InvalidId::StreamName) }
    }
}

macro_rules! text_id {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.to_owned().try_into()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
text_id!(AccountId);
text_id!(StreamName);

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
number_id! {
    /// A publish token's number.
    TokenId
}
number_id! {
    /// A webhook's number.
    WebhookId
}
number_id! {
    /// A replay's number: events of a time, sent to one webhook once more.
    ReplayId
}
number_id! {
    /// A delivery's number: one event owed to one webhook.
    DeliveryId
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $form:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.$form())
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .and_then(|digits| Uuid::try_parse(digits).ok())
                    .map(Self)
                    .ok_or_else(|| InvalidId::Uuid(text.chars().take(64).collect()))
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}
uuid_id! {
    /// One live ingest connection contributing to a stream; shown with dashes.
    FeedId, "", hyphenated
}
uuid_id! {
    /// A media asset: a recording, a clip or a timeline; shown as 32 lower-case hexadecimal digits.
    MediaAssetId, "", simple
}
uuid_id! {
    /// The stored series of segments of one feed. Internal: users see the asset that shows it.
    TimelineId, "", simple
}
uuid_id! {
    /// One request for clips: the same in every asset that came of it.
    ClipRequestId, "", simple
}
uuid_id! {
    /// An event. It is the `webhook-id` of every attempt to tell of it, so receivers dedupe by it.
    EventId, "evt_", simple
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_write() {
        let uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(FeedId(uuid).to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(MediaAssetId(uuid).to_string(), "0123456789abcdef0123456789abcdef");
        assert_eq!(EventId(uuid).to_string(), "evt_0123456789abcdef0123456789abcdef");
        assert_eq!("evt_0123456789abcdef0123456789abcdef".parse(), Ok(EventId(uuid)));
        assert!("0123456789abcdef0123456789abcdef".parse::<EventId>().is_err());
        assert!("../../etc/passwd".parse::<MediaAssetId>().is_err());
    }

    #[test]
    fn stream_names_count_characters_not_bytes() {
        assert!("ü".repeat(128).parse::<StreamName>().is_ok());
        assert!("ü".repeat(129).parse::<StreamName>().is_err());
        assert!("".parse::<StreamName>().is_err());
        assert!("a\nb".parse::<StreamName>().is_err());
        assert!("stage/left".parse::<StreamName>().is_ok());
    }
}
