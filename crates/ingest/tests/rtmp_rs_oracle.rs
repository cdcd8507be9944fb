//! Another implementation, rtmp-rs, reads what we write and writes what we read.

use bytes::{BufMut, Bytes, BytesMut};
use mediahooks_ingest::rtmp::chunk::{ChunkReader, ChunkWriter, Message};
use mediahooks_media::flv::amf0::{self, Value};
use proptest::prelude::*;
use rtmp_rs::amf::{Amf0Decoder, Amf0Encoder, AmfValue};
use rtmp_rs::protocol::chunk::RtmpChunk;
use rtmp_rs::protocol::{ChunkDecoder, ChunkEncoder};

const LIMIT: usize = 1 << 20;

fn ours(chunk: &RtmpChunk) -> Message {
    Message {
        chunk_stream: chunk.csid,
        type_id: chunk.message_type,
        stream_id: chunk.stream_id,
        timestamp: chunk.timestamp,
        payload: chunk.payload.clone(),
    }
}

fn theirs(message: &Message) -> RtmpChunk {
    RtmpChunk {
        csid: message.chunk_stream,
        message_type: message.type_id,
        stream_id: message.stream_id,
        timestamp: message.timestamp,
        payload: message.payload.clone(),
    }
}

fn read_ours(mut bytes: BytesMut) -> Vec<Message> {
    let mut reader = ChunkReader::new(LIMIT);
    std::iter::from_fn(|| reader.read(&mut bytes).unwrap()).collect()
}

/// Their decoder takes one chunk per call and has nothing to say after most of them.
fn read_theirs(mut bytes: BytesMut) -> Vec<Message> {
    let mut decoder = ChunkDecoder::new();
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let before = bytes.len();
        messages.extend(decoder.decode(&mut bytes).unwrap().map(|chunk| ours(&chunk)));
        assert!(bytes.len() < before, "the input ends with a whole chunk");
    }
    messages
}

fn any_payload() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 1..400).prop_map(Bytes::from)
}

/// Messages whose time goes on, as an encoder sends them: the other side then compresses headers.
fn broadcast() -> impl Strategy<Value = Vec<Message>> {
    let message = (4u32..7, 8u8..10, 0u32..50, any_payload());
    prop::collection::vec(message, 1..30).prop_map(|steps| {
        let mut timestamp = 0;
        let message = |(chunk_stream, type_id, step, payload)| {
            timestamp += step;
            Message { chunk_stream, type_id, stream_id: 1, timestamp, payload }
        };
        steps.into_iter().map(message).collect()
    })
}

/// One message after its chunk stream's first, with a header of type 1, 2 or 3.
#[derive(Debug, Clone)]
struct Step {
    format: u8,
    delta: u32,
    length: usize,
}

fn compressed_stream(first_time: u32, first_length: usize, steps: &[Step]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u8(5);
    bytes.put_uint(first_time.into(), 3);
    bytes.put_uint(first_length as u64, 3);
    bytes.put_u8(9);
    bytes.put_u32_le(1);
    bytes.put_bytes(1, first_length);
    let mut length = first_length;
    for step in steps {
        bytes.put_u8(step.format << 6 | 5);
        if step.format < 3 {
            bytes.put_uint(step.delta.into(), 3);
        }
        if step.format < 2 {
            length = step.length;
            bytes.put_uint(length as u64, 3);
            bytes.put_u8(8);
        }
        bytes.put_bytes(2, length);
    }
    bytes
}

proptest! {
    #[test]
    fn rtmp_rs_reads_the_chunks_we_write(
        messages in prop::collection::vec(
            (2u32..60, 3u8..30, any::<u32>(), any::<u32>(), any_payload()).prop_map(
                |(chunk_stream, type_id, stream_id, timestamp, payload)|
                    Message { chunk_stream, type_id, stream_id, timestamp, payload }),
            1..10,
        )
    ) {
        let mut bytes = BytesMut::new();
        for message in &messages {
            ChunkWriter::default().write(message, &mut bytes);
        }
        prop_assert_eq!(read_theirs(bytes), messages);
    }

    #[test]
    fn we_read_the_chunks_rtmp_rs_writes(messages in broadcast()) {
        let (mut encoder, mut bytes) = (ChunkEncoder::new(), BytesMut::new());
        for message in &messages {
            encoder.encode(&theirs(message), &mut bytes);
        }
        prop_assert_eq!(read_ours(bytes), messages);
    }

    #[test]
    fn both_find_the_same_times_in_compressed_headers(
        first_time in 0u32..10_000,
        first_length in 1usize..120,
        first in (1u8..3, 0u32..100_000, 1usize..120),
        steps in prop::collection::vec((1u8..4, 0u32..100_000, 1usize..120), 0..20),
    ) {
        let steps: Vec<Step> = std::iter::once(first)
            .chain(steps)
            .map(|(format, delta, length)| Step { format, delta, length })
            .collect();
        let bytes = compressed_stream(first_time, first_length, &steps);
        prop_assert_eq!(read_ours(bytes.clone()), read_theirs(bytes));
    }

    #[test]
    fn amf0_goes_both_ways(values in prop::collection::vec(any_value(), 1..5)) {
        let mut bytes = BytesMut::new();
        amf0::encode_all(&values, &mut bytes);
        let decoded = Amf0Decoder::new().decode_all(&mut bytes.freeze()).unwrap();
        let expected: Vec<AmfValue> = values.iter().map(to_theirs).collect();
        prop_assert_eq!(&decoded, &expected);

        let mut encoder = Amf0Encoder::new();
        encoder.encode_all(&expected);
        prop_assert_eq!(amf0::decode_all(&encoder.finish()), Ok(values));
    }
}

/// At most one member per object: rtmp-rs keeps them in a map without order.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(|n| Value::Number(f64::from(n) / 4.0)),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,20}".prop_map(Value::String),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(("[a-zA-Z]{1,8}", inner.clone()), 0..2).prop_map(Value::Object),
            prop::collection::vec(inner, 0..4).prop_map(Value::Array),
        ]
    })
}

fn to_theirs(value: &Value) -> AmfValue {
    match value {
        Value::Number(number) => AmfValue::Number(*number),
        Value::Boolean(flag) => AmfValue::Boolean(*flag),
        Value::String(text) => AmfValue::String(text.clone()),
        Value::Object(members) => {
            AmfValue::Object(members.iter().map(|(name, value)| (name.clone(), to_theirs(value))).collect())
        }
        Value::Array(values) => AmfValue::Array(values.iter().map(to_theirs).collect()),
        Value::Null => AmfValue::Null,
    }
}
