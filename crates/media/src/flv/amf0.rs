//! AMF0, the encoding of FLV script data and of RTMP commands (Action Message Format 0, Adobe, 2007).
//!
//! Fed with script tags here and with commands by the RTMP session of `ingest`. What always holds:
//! decoding costs time and memory in proportion to the bytes that are there, never to what they claim.

use bytes::{BufMut, BytesMut};

const NUMBER: u8 = 0x00;
const BOOLEAN: u8 = 0x01;
const STRING: u8 = 0x02;
const OBJECT: u8 = 0x03;
const NULL: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const ECMA_ARRAY: u8 = 0x08;
const OBJECT_END: u8 = 0x09;
const STRICT_ARRAY: u8 = 0x0A;
const DATE: u8 = 0x0B;
const LONG_STRING: u8 = 0x0C;
const UNSUPPORTED: u8 = 0x0D;
const XML_DOCUMENT: u8 = 0x0F;
const TYPED_OBJECT: u8 = 0x10;

/// Nesting of objects and arrays; real commands have two levels.
pub const DEPTH_MAX: usize = 16;
/// Values in one payload, nested ones and members included; real commands have some dozens.
pub const ELEMENTS_MAX: usize = 1024;
/// Bytes of one string, keys included; the longest real one is a publish URL.
pub const STRING_BYTES_MAX: usize = 16 * 1024;

/// One AMF0 value. The kinds that RTMP commands do not tell apart share a variant.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `number-type`; also a `date-type` as milliseconds since 1970.
    Number(f64),
    /// `boolean-type`.
    Boolean(bool),
    /// `string-type`, `long-string-type`, `xml-document-type`. Bytes that are not UTF-8 are replaced.
    String(String),
    /// `object-type`, `ecma-array-type` and `typed-object-type`: members in the order sent.
    Object(Vec<(String, Value)>),
    /// `strict-array-type`.
    Array(Vec<Value>),
    /// `null-type`, `undefined-type` and `unsupported-type`.
    Null,
}

impl Value {
    /// A string value.
    pub fn string(text: impl Into<String>) -> Value {
        Value::String(text.into())
    }

    /// An object out of names and values.
    pub fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
        Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The member called `name` of an object.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// Why a payload is not AMF0, or not AMF0 that a publisher has a reason to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmfError {
    /// The payload ends inside a value.
    #[error("AMF0 value is cut off")]
    Truncated,
    /// More than [`DEPTH_MAX`] levels.
    #[error("AMF0 value is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// More than [`ELEMENTS_MAX`] values.
    #[error("AMF0 payload has more than {ELEMENTS_MAX} values")]
    TooManyElements,
    /// A string longer than [`STRING_BYTES_MAX`].
    #[error("AMF0 string is longer than {STRING_BYTES_MAX} bytes")]
    StringTooLong,
    /// A type that has no place in a publish session (references, AMF3 values, record sets).
    #[error("AMF0 type marker {0:#04x} is not supported")]
    UnsupportedType(u8),
}

/// Decodes a payload that is a sequence of values.
///
/// # Errors
/// [`AmfError`] when any of them is malformed or a limit is passed.
pub fn decode_all(bytes: &[u8]) -> Result<Vec<Value>, AmfError> {
    let mut decoder = Decoder { rest: bytes, elements: 0 };
    let mut values = Vec::new();
    while !decoder.rest.is_empty() {
        values.push(decoder.value(0)?);
    }
    Ok(values)
}

struct Decoder<'a> {
    rest: &'a [u8],
    elements: usize,
}

impl<'a> Decoder<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        if depth > DEPTH_MAX {
            return Err(AmfError::TooDeep);
        }
        self.elements += 1;
        if self.elements > ELEMENTS_MAX {
            return Err(AmfError::TooManyElements);
        }
        let [marker] = self.take_array()?;
        Ok(match marker {
            NUMBER => Value::Number(f64::from_be_bytes(self.take_array()?)),
            BOOLEAN => {
                let [flag] = self.take_array()?;
                Value::Boolean(flag != 0)
            }
            STRING => Value::String(self.short_string()?),
            LONG_STRING | XML_DOCUMENT => Value::String(self.long_string()?),
            OBJECT => Value::Object(self.members(depth)?),
            // The count in front is a hint that encoders get wrong; the end marker decides.
            ECMA_ARRAY => {
                let _count: [u8; 4] = self.take_array()?;
                Value::Object(self.members(depth)?)
            }
            TYPED_OBJECT => {
                let _class_name = self.short_string()?;
                Value::Object(self.members(depth)?)
            }
            STRICT_ARRAY => Value::Array(self.strict_array(depth)?),
            DATE => {
                let millis = f64::from_be_bytes(self.take_array()?);
                let _time_zone: [u8; 2] = self.take_array()?;
                Value::Number(millis)
            }
            NULL | UNDEFINED | UNSUPPORTED => Value::Null,
            other => return Err(AmfError::UnsupportedType(other)),
        })
    }

    fn members(&mut self, depth: usize) -> Result<Vec<(String, Value)>, AmfError> {
        let mut members = Vec::new();
        loop {
            let name = self.short_string()?;
            if name.is_empty() && self.rest.first() == Some(&OBJECT_END) {
                self.take(1)?;
                return Ok(members);
            }
            members.push((name, self.value(depth + 1)?));
        }
    }

    fn strict_array(&mut self, depth: usize) -> Result<Vec<Value>, AmfError> {
        let count = u32::from_be_bytes(self.take_array()?);
        // Grows with the values found: the count is the sender's claim.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth + 1)?);
        }
        Ok(values)
    }

    fn short_string(&mut self) -> Result<String, AmfError> {
        let length = u16::from_be_bytes(self.take_array()?);
        self.text(usize::from(length))
    }

    fn long_string(&mut self) -> Result<String, AmfError> {
        let length = u32::from_be_bytes(self.take_array()?);
        self.text(usize::try_from(length).map_err(|_| AmfError::StringTooLong)?)
    }

    fn text(&mut self, length: usize) -> Result<String, AmfError> {
        if length > STRING_BYTES_MAX {
            return Err(AmfError::StringTooLong);
        }
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], AmfError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(AmfError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(AmfError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Appends `values` one after the other.
pub fn encode_all(values: &[Value], out: &mut BytesMut) {
    for value in values {
        encode(value, out);
    }
}

fn encode(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Number(number) => {
            out.put_u8(NUMBER);
            out.put_f64(*number);
        }
        Value::Boolean(flag) => {
            out.put_u8(BOOLEAN);
            out.put_u8(u8::from(*flag));
        }
        Value::String(text) => encode_string(text, out),
        Value::Object(members) => {
            out.put_u8(OBJECT);
            for (name, value) in members {
                put_short_string(name, out);
                encode(value, out);
            }
            out.put_slice(&[0, 0, OBJECT_END]);
        }
        Value::Array(values) => {
            out.put_u8(STRICT_ARRAY);
            out.put_u32(values.len().try_into().unwrap_or(u32::MAX));
            encode_all(values, out);
        }
        Value::Null => out.put_u8(NULL),
    }
}

fn encode_string(text: &str, out: &mut BytesMut) {
    if text.len() <= usize::from(u16::MAX) {
        out.put_u8(STRING);
        put_short_string(text, out);
    } else {
        out.put_u8(LONG_STRING);
        out.put_u32(text.len().try_into().unwrap_or(u32::MAX));
        out.put_slice(text.as_bytes());
    }
}

/// Names are ours and short; one that is not is cut rather than corrupting what follows.
fn put_short_string(text: &str, out: &mut BytesMut) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &[u8], expected: Result<Vec<Value>, AmfError>) {
        assert_eq!(decode_all(bytes), expected);
    }

    #[test]
    fn reads_each_type_a_command_can_hold() {
        check(&[0x00, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0], Ok(vec![Value::Number(1.0)]));
        check(&[0x01, 1], Ok(vec![Value::Boolean(true)]));
        check(b"\x02\x00\x04live", Ok(vec![Value::string("live")]));
        check(b"\x0C\x00\x00\x00\x02hi", Ok(vec![Value::string("hi")]));
        check(b"\x03\x00\x01a\x05\x00\x00\x09", Ok(vec![Value::object([("a", Value::Null)])]));
        check(
            b"\x08\x00\x00\x00\x63\x00\x01a\x06\x00\x00\x09",
            Ok(vec![Value::object([("a", Value::Null)])]),
        );
        check(
            b"\x10\x00\x01C\x00\x01a\x01\x00\x00\x00\x09",
            Ok(vec![Value::object([("a", Value::Boolean(false))])]),
        );
        check(b"\x0A\x00\x00\x00\x01\x05", Ok(vec![Value::Array(vec![Value::Null])]));
        check(b"\x0B\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", Ok(vec![Value::Number(0.0)]));
        check(&[0x07, 0, 0], Err(AmfError::UnsupportedType(7)));
        check(&[0x11], Err(AmfError::UnsupportedType(0x11)));
    }

    #[test]
    fn amf0_strict_array_claiming_four_billion_elements_costs_nothing() {
        check(b"\x0A\xFF\xFF\xFF\xFF\x05\x05", Err(AmfError::Truncated));
        let mut many = b"\x0A\xFF\xFF\xFF\xFF".to_vec();
        many.resize(2 * ELEMENTS_MAX, NULL);
        check(&many, Err(AmfError::TooManyElements));
    }

    #[test]
    fn amf0_deep_nesting_is_refused_before_the_stack_is() {
        let arrays: Vec<u8> = b"\x0A\x00\x00\x00\x01".iter().copied().cycle().take(60_000).collect();
        check(&arrays, Err(AmfError::TooDeep));
        let objects: Vec<u8> = b"\x03\x00\x01a".iter().copied().cycle().take(60_000).collect();
        check(&objects, Err(AmfError::TooDeep));
    }

    #[test]
    fn amf0_string_cap_counts_the_claimed_length() {
        check(b"\x0C\xFF\xFF\xFF\xFFx", Err(AmfError::StringTooLong));
        check(b"\x02\x00\x09short", Err(AmfError::Truncated));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(|n| Value::Number(f64::from(n) / 8.0)),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,20}".prop_map(Value::String),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(("[a-zA-Z]{1,8}", inner.clone()), 0..5).prop_map(Value::Object),
                prop::collection::vec(inner, 0..5).prop_map(Value::Array),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(values in prop::collection::vec(any_value(), 0..5)) {
            let mut bytes = BytesMut::new();
            encode_all(&values, &mut bytes);
            prop_assert_eq!(decode_all(&bytes), Ok(values));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_all(&bytes);
        }
    }
}
