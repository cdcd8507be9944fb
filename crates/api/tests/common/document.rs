//! Holds every JSON reply of the tests against the OpenAPI document.
//!
//! Every reply is one that the document lists for its call, has every member that is required there, and none that is not
//! described. Knows the part of JSON Schema that the document uses.

use std::sync::LazyLock;

use http::{Method, StatusCode};
use serde_json::Value;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(mediahooks_api::openapi()).expect("the document is JSON"));

/// Statuses that any call may have: a wrong secret, no such path or method, a body that is too long or no JSON, and faults.
const OF_ANY_CALL: [u16; 7] = [403, 404, 405, 413, 415, 500, 503];

/// Fails the test unless `reply`, the body of an answer to a call of `path`, is described.
pub fn check(method: &Method, path: &str, status: StatusCode, reply: &Value) {
    // Slashes at the end are taken as well, and `POST` where the document says `PUT`: some clients send that.
    let path = path.trim_end_matches('/');
    let method = match path {
        "/openapi.json" => return,
        "/api/v3/account/media/expiration" if method == Method::POST => &Method::PUT,
        _ => method,
    };
    let call = format!("{method} {path}: {status} {reply}");
    let Some(operation) = operation(method, path) else {
        return assert!(!status.is_success(), "the document lacks {call}");
    };
    match &operation["responses"][status.as_str()]["content"]["application/json"]["schema"] {
        Value::Null => {
            let name = if status.is_server_error() { "Fault" } else { "Fail" };
            assert!(OF_ANY_CALL.contains(&status.as_u16()), "not in the document: {call}");
            hold(&DOCUMENT["components"]["schemas"][name], reply, &call);
        }
        schema => hold(schema, reply, &call),
    }
}

fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let matches = |template: &str| {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template.zip(path).all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
    };
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    // A path without parameters beats one with.
    let (_, found) =
        paths.iter().filter(|(template, _)| matches(template)).min_by_key(|(t, _)| t.matches('{').count())?;
    found.get(method.as_str().to_lowercase())
}

fn hold(schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("of this document");
        return hold(DOCUMENT.pointer(pointer).expect(reference), value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = |choice: &&Value| (choice["type"] == "null") == value.is_null();
        let choice =
            choices.iter().find(fits).unwrap_or_else(|| panic!("{value} is none of {choices:?} in {at}"));
        return hold(choice, value, at);
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        // Anything.
        _ => return,
    };
    assert!(types.iter().any(|kind| is_a(value, kind)), "{value} is not {types:?} in {at}");
    match value {
        Value::Array(items) => items.iter().for_each(|item| hold(&schema["items"], item, at)),
        Value::Object(members) => {
            for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                assert!(members.contains_key(required), "no member {required} in {at}");
            }
            for (name, member) in members {
                match (&schema["properties"][name], &schema["additionalProperties"]) {
                    (Value::Null, Value::Null) => {
                        assert!(
                            schema["properties"].is_null(),
                            "a member {name} that is not described in {at}"
                        );
                    }
                    (Value::Null, others) => hold(others, member, &format!("{name} of {at}")),
                    (described, _) => hold(described, member, &format!("{name} of {at}")),
                }
            }
        }
        Value::Number(number) if schema["minimum"] == 0 => {
            assert!(number.as_f64() >= Some(0.0), "{number} in {at}")
        }
        Value::String(text) if schema["format"] == "date-time" => {
            assert!(text.parse::<mediahooks_model::Timestamp>().is_ok(), "{text} is no time in {at}");
        }
        _ => {
            let words = schema["enum"].as_array();
            assert!(words.is_none_or(|words| words.contains(value)), "{value} is none of {words:?} in {at}");
        }
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("a type {kind} in the document"),
    }
}
