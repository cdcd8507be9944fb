//! Members of a token that do not concern recording: checked for their type, stored as they came
//! and shown again, with the hosted service's defaults where they never came.

use mediahooks_model::PublishToken;
use serde_json::{Map, Value};

use crate::extract::members::Members;

/// What a member may hold.
#[derive(Clone, Copy)]
enum Kind {
    Bool,
    Text,
    Texts,
    Object,
    Objects,
}

/// Names as they are shown, and what they may hold.
const MEMBERS: [(&str, Kind); 13] = [
    ("allowedOrigins", Kind::Texts),
    ("allowedCountries", Kind::Texts),
    ("deniedCountries", Kind::Texts),
    ("originCluster", Kind::Text),
    ("encoderProfileId", Kind::Text),
    ("enableThumbnails", Kind::Bool),
    ("displaySrtPassphrase", Kind::Bool),
    ("lowLatencyRtmp", Kind::Bool),
    ("subscribeRequiresAuth", Kind::Bool),
    ("drm", Kind::Bool),
    ("enableUTCInsertion", Kind::Bool),
    ("geoCascade", Kind::Object),
    ("restream", Kind::Objects),
];

/// Reads the members that came into `stored`; null takes one back to its default. Returns whether
/// any came. The deprecated update call writes `updateAllowedOrigins` for `allowedOrigins`, and so on.
pub(crate) fn read(members: &mut Members, stored: &mut Map<String, Value>) -> bool {
    let mut came = false;
    for (name, kind) in MEMBERS {
        let update_name = format!("update{}", crate::extract::members::pascal(name));
        for key in [name, update_name.as_str()] {
            match read_one(members, key, kind) {
                Some(Some(value)) => {
                    stored.insert(name.to_owned(), value);
                }
                Some(None) => {
                    stored.remove(name);
                }
                None => continue,
            }
            came = true;
        }
    }
    came
}

fn read_one(members: &mut Members, name: &str, kind: Kind) -> Option<Option<Value>> {
    match kind {
        Kind::Bool => members.nullable::<bool>(name).map(|value| value.map(Value::from)),
        Kind::Text => members.nullable::<String>(name).map(|value| value.map(Value::from)),
        Kind::Texts => members.nullable::<Vec<String>>(name).map(|value| value.map(Value::from)),
        Kind::Object => members.nullable::<Map<String, Value>>(name).map(|value| value.map(Value::from)),
        Kind::Objects => {
            let value = members.nullable::<Vec<Map<String, Value>>>(name);
            value.map(|value| value.map(|items| items.into_iter().map(Value::from).collect()))
        }
    }
}

/// A stored switch.
pub(crate) fn flag(token: &PublishToken, name: &str, default: bool) -> bool {
    token.other.get(name).and_then(Value::as_bool).unwrap_or(default)
}

/// A stored text.
pub(crate) fn text(token: &PublishToken, name: &str) -> Option<String> {
    token.other.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// A stored array of texts.
pub(crate) fn texts(token: &PublishToken, name: &str) -> Vec<String> {
    let items = token.other.get(name).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
