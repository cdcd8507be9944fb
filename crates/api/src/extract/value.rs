//! Reads single values out of JSON and out of query text. The errors are the words after
//! "The value is not valid: ".

use std::collections::BTreeMap;

use ipnet::IpNet;
use mediahooks_model::{EventKind, MediaAssetId, Timestamp};
use serde_json::Value;

/// A type that a member of a JSON body can have.
pub(crate) trait FromJson: Sized {
    /// Reads a value that is not null.
    fn from_json(value: Value) -> Result<Self, String>;
}

/// A type that a query parameter can have.
pub(crate) trait FromQuery: Sized {
    /// Reads decoded text.
    fn from_query(text: &str) -> Result<Self, String>;
}

fn expected(what: &str) -> String {
    format!("expected {what}")
}

impl FromJson for Value {
    fn from_json(value: Value) -> Result<Self, String> {
        Ok(value)
    }
}

impl FromJson for String {
    fn from_json(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(text),
            _ => Err(expected("a text")),
        }
    }
}

impl FromQuery for String {
    fn from_query(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl FromJson for bool {
    fn from_json(value: Value) -> Result<Self, String> {
        match value {
            Value::Bool(value) => Ok(value),
            Value::String(text) => bool::from_query(&text),
            _ => Err(expected("true or false")),
        }
    }
}

impl FromQuery for bool {
    /// Python clients write `True`.
    fn from_query(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(expected("true or false")),
        }
    }
}

impl FromJson for i64 {
    fn from_json(value: Value) -> Result<Self, String> {
        value.as_i64().ok_or_else(|| expected("a whole number"))
    }
}

impl FromJson for f64 {
    fn from_json(value: Value) -> Result<Self, String> {
        value.as_f64().ok_or_else(|| expected("a number"))
    }
}

impl FromQuery for i64 {
    fn from_query(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| expected("a whole number"))
    }
}

const INT32: &str = "a whole number between -2147483648 and 2147483647";

impl FromJson for i32 {
    fn from_json(value: Value) -> Result<Self, String> {
        value.as_i64().and_then(|number| i32::try_from(number).ok()).ok_or_else(|| expected(INT32))
    }
}

impl FromQuery for i32 {
    fn from_query(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| expected(INT32))
    }
}

impl FromJson for Timestamp {
    fn from_json(value: Value) -> Result<Self, String> {
        String::from_json(value)?
            .parse()
            .map_err(|error: mediahooks_model::time::InvalidTimestamp| error.to_string())
    }
}

impl FromQuery for Timestamp {
    fn from_query(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: mediahooks_model::time::InvalidTimestamp| error.to_string())
    }
}

impl FromQuery for MediaAssetId {
    fn from_query(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: mediahooks_model::ids::InvalidId| error.to_string())
    }
}

impl FromJson for IpNet {
    /// A single address counts as the range of itself.
    fn from_json(value: Value) -> Result<Self, String> {
        let text = String::from_json(value)?;
        let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
        text.parse::<IpNet>()
            .or_else(|_| address())
            .map_err(|_| expected("IP addresses or CIDR ranges such as 203.0.113.0/24"))
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    /// A lone object counts as an array of itself: the Python client sends one.
    fn from_json(value: Value) -> Result<Self, String> {
        match value {
            Value::Array(items) => items.into_iter().map(T::from_json).collect(),
            object @ Value::Object(_) => Ok(vec![T::from_json(object)?]),
            _ => Err(expected("an array")),
        }
    }
}

impl FromJson for EventKind {
    fn from_json(value: Value) -> Result<Self, String> {
        EventKind::parse(&String::from_json(value)?).ok_or_else(|| {
            let kinds = EventKind::ALL.map(|kind| kind.to_string());
            expected(&format!("only {}", kinds.join(", ")))
        })
    }
}

impl FromJson for BTreeMap<String, String> {
    fn from_json(value: Value) -> Result<Self, String> {
        let members = serde_json::Map::from_json(value)?.into_iter();
        let texts = members.map(|(name, value)| Ok((name, String::from_json(value)?)));
        texts.collect::<Result<_, String>>().map_err(|_| expected("an object of texts"))
    }
}

impl FromJson for serde_json::Map<String, Value> {
    fn from_json(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(map) => Ok(map),
            _ => Err(expected("an object")),
        }
    }
}
