//! The messages that both sides of a publish session build: control messages and commands.

use bytes::{BufMut, Bytes, BytesMut};
use mediahooks_media::flv::amf0::{self, AmfError, Value};

use super::chunk::Message;

/// Message type ids (Adobe RTMP 1.0 §5.4 and §7.1).
pub mod type_id {
    /// Set Chunk Size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message.
    pub const ABORT: u8 = 2;
    /// Acknowledgement.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User Control Message.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// Set Peer Bandwidth.
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// Audio, the body of an FLV audio tag.
    pub const AUDIO: u8 = 8;
    /// Video, the body of an FLV video tag.
    pub const VIDEO: u8 = 9;
    /// Command in AMF3 form: one byte, then usually AMF0.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data in AMF0, the body of an FLV script tag.
    pub const DATA_AMF0: u8 = 18;
    /// Command in AMF0.
    pub const COMMAND_AMF0: u8 = 20;
    /// Aggregate: the bodies of several FLV tags, with their headers.
    pub const AGGREGATE: u8 = 22;
}

/// User Control events (§7.1.7).
pub mod user_control {
    /// Stream Begin, followed by the stream id.
    pub const STREAM_BEGIN: u16 = 0;
    /// Ping Request, followed by a timestamp.
    pub const PING_REQUEST: u16 = 6;
    /// Ping Response, followed by the timestamp of the request.
    pub const PING_RESPONSE: u16 = 7;
}

const CONTROL_CHUNK_STREAM: u32 = 2;
const COMMAND_CHUNK_STREAM: u32 = 3;

/// A control message whose payload is one 32-bit number: types 1, 2, 3 and 5.
pub fn control(type_id: u8, value: u32) -> Message {
    control_bytes(type_id, Bytes::copy_from_slice(&value.to_be_bytes()))
}

/// Set Peer Bandwidth with the dynamic limit type (§5.4.5).
pub fn set_peer_bandwidth(bytes: u32) -> Message {
    let mut payload = BytesMut::new();
    payload.put_u32(bytes);
    payload.put_u8(2);
    control_bytes(type_id::SET_PEER_BANDWIDTH, payload.freeze())
}

/// A User Control message with one 32-bit number.
pub fn user_control(event: u16, value: u32) -> Message {
    let mut payload = BytesMut::new();
    payload.put_u16(event);
    payload.put_u32(value);
    control_bytes(type_id::USER_CONTROL, payload.freeze())
}

fn control_bytes(type_id: u8, payload: Bytes) -> Message {
    Message { chunk_stream: CONTROL_CHUNK_STREAM, type_id, stream_id: 0, timestamp: 0, payload }
}

/// A command, ours or the peer's (§7.2).
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Name of the procedure, or `_result`, `_error`, `onStatus`.
    pub name: String,
    /// Ties an answer to its question; zero where none is expected.
    pub transaction: f64,
    /// Command object (often null) and the arguments.
    pub arguments: Vec<Value>,
}

impl Command {
    /// A command out of its parts.
    pub fn new(name: &str, transaction: f64, arguments: impl Into<Vec<Value>>) -> Command {
        Command { name: name.to_owned(), transaction, arguments: arguments.into() }
    }

    /// An `onStatus` about a stream (§7.2.2).
    pub fn on_status(level: &str, code: &str, description: &str) -> Command {
        Command::new("onStatus", 0.0, [Value::Null, status_info(level, code, description)])
    }

    /// Reads the payload of a message of type 20, or 17 when `is_amf3`.
    ///
    /// # Errors
    /// [`AmfError`] when it is malformed. A missing name or transaction reads as empty or zero.
    pub fn decode(payload: &[u8], is_amf3: bool) -> Result<Command, AmfError> {
        let amf0 = match payload.split_first() {
            // The format selector in front of an AMF3 command; 0 says that AMF0 follows.
            Some((0, rest)) if is_amf3 => rest,
            _ => payload,
        };
        let mut values = amf0::decode_all(amf0)?.into_iter();
        let name = values.next().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
        let transaction = values.next().and_then(|value| value.as_number()).unwrap_or_default();
        Ok(Command { name, transaction, arguments: values.collect() })
    }

    /// The message that carries the command on message stream `stream_id`.
    pub fn to_message(&self, stream_id: u32) -> Message {
        let mut payload = BytesMut::new();
        amf0::encode_all(&[Value::string(&*self.name), Value::Number(self.transaction)], &mut payload);
        amf0::encode_all(&self.arguments, &mut payload);
        Message {
            chunk_stream: COMMAND_CHUNK_STREAM,
            type_id: type_id::COMMAND_AMF0,
            stream_id,
            timestamp: 0,
            payload: payload.freeze(),
        }
    }

    /// The text at `index` of the arguments.
    pub fn text(&self, index: usize) -> Option<&str> {
        self.arguments.get(index)?.as_str()
    }
}

/// The information object of an answer.
pub fn status_info(level: &str, code: &str, description: &str) -> Value {
    Value::object([
        ("level", Value::string(level)),
        ("code", Value::string(code)),
        ("description", Value::string(description)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_wrapped_as_amf3_reads_like_the_plain_one() {
        let command = Command::new("publish", 5.0, [Value::Null, Value::string("cam")]);
        let message = command.to_message(1);
        let mut wrapped = vec![0];
        wrapped.extend_from_slice(&message.payload);
        assert_eq!(Command::decode(&message.payload, false), Ok(command.clone()));
        assert_eq!(Command::decode(&wrapped, true), Ok(command));
    }
}
