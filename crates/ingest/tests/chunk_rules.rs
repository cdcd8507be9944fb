//! The chunk layer: what encoders do, what the specification asks, what a hostile peer may not.

mod common;

use bytes::{BufMut, Bytes, BytesMut};
use mediahooks_ingest::rtmp::chunk::{CHUNK_STREAMS_MAX, ChunkError, ChunkReader, ChunkWriter, Message};
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;

/// A chunk header with all of its fields (type 0).
fn header_0(chunk_stream: u8, time_field: u32, length: u32, type_id: u8) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u8(chunk_stream);
    bytes.put_uint(time_field.into(), 3);
    bytes.put_uint(length.into(), 3);
    bytes.put_u8(type_id);
    bytes.put_u32_le(1);
    bytes
}

fn read_all(bytes: &[u8]) -> Result<Vec<Message>, ChunkError> {
    let mut reader = ChunkReader::new(LIMIT);
    let mut input = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(message) = reader.read(&mut input)? {
        messages.push(message);
    }
    Ok(messages)
}

fn timestamps(bytes: &[u8]) -> Vec<u32> {
    read_all(bytes).unwrap().iter().map(|message| message.timestamp).collect()
}

#[test]
fn type_3_chunk_that_begins_a_message_adds_the_delta_again() {
    let mut bytes = header_0(4, 1000, 1, 9);
    bytes.put_u8(b'a');
    bytes.put_slice(&[0x80 | 4, 0, 0, 40, b'b']); // type 2: delta 40
    bytes.put_slice(&[0xC0 | 4, b'c']); // type 3
    bytes.put_slice(&[0xC0 | 4, b'd']);
    bytes.put_slice(&[0x40 | 4, 0, 0, 20, 0, 0, 2, 8, b'e', b'e']); // type 1: delta 20, other length
    bytes.put_slice(&[0xC0 | 4, b'f', b'f']);
    assert_eq!(timestamps(&bytes), [1000, 1040, 1080, 1120, 1140, 1160]);
}

#[test]
fn type_3_chunk_after_type_0_adds_its_time_as_the_specification_says() {
    let mut bytes = header_0(4, 23, 1, 8);
    bytes.put_u8(b'a');
    bytes.put_slice(&[0xC0 | 4, b'b']);
    assert_eq!(timestamps(&bytes), [23, 46]);
}

#[test]
fn type_3_chunk_inside_a_message_adds_nothing() {
    let mut bytes = header_0(4, 1000, 130, 9);
    bytes.put_bytes(1, 128);
    bytes.put_slice(&[0xC0 | 4, 1, 1]);
    let messages = read_all(&bytes).unwrap();
    assert_eq!((messages[0].timestamp, messages[0].payload.len()), (1000, 130));
}

#[test]
fn extended_timestamps_are_read_on_type_3_chunks_too() {
    let mut bytes = header_0(4, 0xFF_FFFF, 130, 9);
    bytes.put_u32(0x0100_0000);
    bytes.put_bytes(1, 128);
    bytes.put_u8(0xC0 | 4);
    bytes.put_u32(0x0100_0000);
    bytes.put_bytes(2, 2);
    bytes.put_slice(&[0x80 | 4, 0, 0, 10]); // back to a short delta
    bytes.put_bytes(3, 128);
    bytes.put_u8(0xC0 | 4);
    bytes.put_bytes(4, 2);
    let messages = read_all(&bytes).unwrap();
    assert_eq!(messages[0].timestamp, 0x0100_0000);
    assert_eq!(messages[0].payload[126..], [1, 1, 2, 2]);
    assert_eq!(messages[1].timestamp, 0x0100_000A);
    assert_eq!(messages[1].payload[126..], [3, 3, 4, 4]);
}

#[test]
fn extended_timestamps_left_out_on_type_3_chunks_are_not_missed() {
    let mut bytes = header_0(4, 0xFF_FFFF, 134, 9);
    bytes.put_u32(0x0100_0000);
    bytes.put_bytes(1, 128);
    bytes.put_u8(0xC0 | 4);
    bytes.put_bytes(2, 6);
    assert_eq!(read_all(&bytes).unwrap()[0].payload[126..], [1, 1, 2, 2, 2, 2, 2, 2]);
}

#[test]
fn time_wraps_at_32_bits() {
    let mut bytes = header_0(4, 0xFF_FFFF, 1, 9);
    bytes.put_u32(u32::MAX);
    bytes.put_u8(0);
    bytes.put_slice(&[0x80 | 4, 0, 0, 11, 0]);
    assert_eq!(timestamps(&bytes), [u32::MAX, 10]);
}

#[test]
fn at_most_16_chunk_streams() {
    let mut bytes = BytesMut::new();
    for chunk_stream in 0..65_000u32 {
        bytes.put_slice(&[1, (chunk_stream % 256) as u8, (chunk_stream / 256) as u8]);
        bytes.put_slice(&[0, 0, 0, 0, 0, 200, 9, 1, 0, 0, 0]);
        bytes.put_bytes(0, 128);
    }
    let mut reader = ChunkReader::new(LIMIT);
    assert_eq!(reader.read(&mut bytes), Err(ChunkError::TooManyChunkStreams));
    assert_eq!(reader.held_bytes(), CHUNK_STREAMS_MAX * 128);
}

#[test]
fn memory_follows_the_bytes_received_not_the_lengths_announced() {
    let mut reader = ChunkReader::new(16 * 1024 * 1024);
    for chunk_stream in 3..19 {
        let mut bytes = header_0(chunk_stream, 0, 0xFF_FFFF, 9);
        bytes.put_bytes(0, 128);
        assert_eq!(reader.read(&mut bytes), Ok(None));
    }
    assert_eq!(reader.held_bytes(), 16 * 128);
}

#[test]
fn a_message_longer_than_the_limit_is_refused_at_its_header() {
    let header = header_0(4, 0, LIMIT as u32 + 1, 9);
    assert_eq!(read_all(&header), Err(ChunkError::MessageTooLong { length: LIMIT + 1, limit: LIMIT }));
}

#[test]
fn unfinished_messages_share_one_limit() {
    let mut reader = ChunkReader::new(1000);
    let mut result = Ok(None);
    for chunk_stream in 3..13 {
        let mut bytes = header_0(chunk_stream, 0, 1000, 9);
        bytes.put_bytes(0, 128);
        result = reader.read(&mut bytes);
        if result.is_err() {
            break;
        }
    }
    assert_eq!(result, Err(ChunkError::TooMuchHeld { limit: 1000 }));
    assert!(reader.held_bytes() <= 1000);
}

#[test]
fn absurd_chunk_sizes_are_refused_and_large_ones_mean_whole_messages() {
    let mut reader = ChunkReader::new(LIMIT);
    assert_eq!(reader.set_chunk_size(0), Err(ChunkError::BadChunkSize(0)));
    assert_eq!(reader.set_chunk_size(0x8000_0000), Err(ChunkError::BadChunkSize(0x8000_0000)));
    assert_eq!(reader.set_chunk_size(0x7FFF_FFFF), Ok(()));
    let mut bytes = header_0(4, 0, 100_000, 9);
    bytes.put_bytes(7, 100_000);
    assert_eq!(reader.read(&mut bytes).unwrap().unwrap().payload.len(), 100_000);
    assert_eq!(reader.set_chunk_size(1), Ok(()));
    let mut bytes = header_0(4, 0, 2, 9);
    bytes.put_slice(&[1, 0xC0 | 4, 2]);
    assert_eq!(reader.read(&mut bytes).unwrap().unwrap().payload[..], [1, 2]);
}

#[test]
fn a_chunk_that_continues_nothing_or_interrupts_is_refused() {
    assert_eq!(read_all(&[0xC0 | 4]), Err(ChunkError::NothingToContinue(4)));
    let mut bytes = header_0(4, 0, 200, 9);
    bytes.put_bytes(0, 128);
    bytes.put_slice(&header_0(4, 0, 1, 9));
    assert_eq!(read_all(&bytes), Err(ChunkError::Interrupted(4)));
}

#[test]
fn an_aborted_message_is_forgotten() {
    let mut reader = ChunkReader::new(LIMIT);
    let mut bytes = header_0(4, 10, 200, 9);
    bytes.put_bytes(0, 128);
    assert_eq!(reader.read(&mut bytes), Ok(None));
    reader.abort(4);
    reader.abort(63);
    assert_eq!(reader.held_bytes(), 0);
    let mut bytes = header_0(4, 50, 1, 9);
    bytes.put_u8(7);
    assert_eq!(reader.read(&mut bytes).unwrap().unwrap().timestamp, 50);
}

#[test]
fn messages_of_several_chunk_streams_may_interleave() {
    let mut bytes = header_0(4, 0, 130, 9);
    bytes.put_bytes(1, 128);
    bytes.put_slice(&header_0(6, 5, 3, 8));
    bytes.put_bytes(2, 3);
    bytes.put_slice(&[0xC0 | 4, 1, 1]);
    let types: Vec<u8> = read_all(&bytes).unwrap().iter().map(|message| message.type_id).collect();
    assert_eq!(types, [8, 9]);
}

fn any_message() -> impl Strategy<Value = Message> {
    let timestamp = prop_oneof![any::<u32>(), 0xFF_FFF0u32..0x100_0010];
    (2u32..18, 3u8..30, any::<u32>(), timestamp, prop::collection::vec(any::<u8>(), 0..700)).prop_map(
        |(chunk_stream, type_id, stream_id, timestamp, payload)| Message {
            chunk_stream,
            type_id,
            stream_id,
            timestamp,
            payload: payload.into(),
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_is_cut(
        messages in prop::collection::vec(any_message(), 1..8),
        chunk_size in 1u32..300,
        cuts in prop::collection::vec(1usize..400, 1..40),
    ) {
        let mut bytes = BytesMut::new();
        let mut writer = ChunkWriter::default();
        writer.set_chunk_size(chunk_size as usize);
        for message in &messages {
            writer.write(message, &mut bytes);
        }
        let mut reader = ChunkReader::new(LIMIT);
        reader.set_chunk_size(chunk_size).unwrap();
        let (mut input, mut read) = (BytesMut::new(), Vec::new());
        let mut cuts = cuts.into_iter().cycle();
        while !bytes.is_empty() {
            let cut = cuts.next().unwrap().min(bytes.len());
            input.extend_from_slice(&bytes.split_to(cut));
            while let Some(message) = reader.read(&mut input).unwrap() {
                read.push(message);
            }
        }
        prop_assert_eq!(read, messages);
        prop_assert_eq!(reader.held_bytes(), 0);
    }

    #[test]
    fn no_bytes_panic_or_pass_the_limit(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)
    ) {
        let mut reader = ChunkReader::new(2000);
        let mut input = BytesMut::new();
        for part in parts {
            input.extend_from_slice(&part);
            while let Ok(Some(Message { payload, .. })) = reader.read(&mut input) {
                let _: Bytes = payload;
            }
            prop_assert!(reader.held_bytes() <= 2000);
        }
    }
}
