//! Mutations of a whole publish session, from handshake to media, never panic, never hold more
//! than the limits and never stop the session from ending.
//!
//! `MEDIAHOOKS_FUZZ_ITERATIONS` sets how many sessions are tried; the default takes about a second.
//! Every iteration is seeded by its number, which a failure prints.

mod common;

use bytes::BytesMut;
use common::encoder::{Peer, command, control, media, opening};
use mediahooks_ingest::rtmp::RtmpSettings;
use mediahooks_ingest::rtmp::message::type_id;
use mediahooks_ingest::rtmp::session::{SessionError, SessionEvent};
use mediahooks_media::flv::FlvDemuxer;
use mediahooks_media::flv::amf0::Value;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ITERATIONS_DEFAULT: u64 = 3000;
const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;
/// What a session may hold beyond the limit on unfinished messages: input that is not yet read.
const INPUT_BYTES_MAX: usize = 64 * 1024;

const AVCC: &[u8] = &[
    0x01, 0x42, 0xC0, 0x0A, 0xFF, 0xE1, 0x00, 0x15, 0x67, 0x42, 0xC0, 0x0A, 0xDA, 0x11, 0xEC, 0x04, 0x40,
    0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x05, 0x03, 0xC4, 0x89, 0xA8, 0x01, 0x00, 0x04, 0x68, 0xCE,
    0x0F, 0xC8,
];

/// A short broadcast with one of everything that the core tells apart.
fn broadcast() -> BytesMut {
    let mut bytes = opening("cam?token=00c0ffee&sourceId=a");
    let metadata = [Value::string("onMetaData"), Value::object([("width", Value::Number(64.0))])];
    let mut script = BytesMut::new();
    mediahooks_media::flv::amf0::encode_all(&metadata, &mut script);
    bytes.extend_from_slice(&media(type_id::DATA_AMF0, 0, script.freeze()));
    bytes.extend_from_slice(&control(type_id::WINDOW_ACK_SIZE, &[0, 0, 0x10, 0]));
    bytes.extend_from_slice(&media(type_id::VIDEO, 0, [&[0x17, 0, 0, 0, 0], AVCC].concat()));
    bytes.extend_from_slice(&media(type_id::AUDIO, 0, vec![0xAF, 0, 0x11, 0x90]));
    for frame in 0..4u32 {
        let picture =
            [&[if frame == 0 { 0x17 } else { 0x27 }, 1, 0, 0, 40][..], &[frame as u8; 300]].concat();
        bytes.extend_from_slice(&media(type_id::VIDEO, 0x00FF_FFF0 + frame * 40, picture));
        bytes.extend_from_slice(&media(type_id::AUDIO, 0x00FF_FFF0 + frame * 21, vec![0xAF, 1, 1, 2, 3]));
    }
    bytes.extend_from_slice(&control(type_id::USER_CONTROL, &[0, 6, 0, 0, 0, 1]));
    bytes.extend_from_slice(&control(type_id::SET_CHUNK_SIZE, &[0, 0, 0, 128]));
    let enhanced = [&[0x97, 2, 7, 0xA1, 0x20, 0x01][..], b"hvc1", &[0, 0, 10, 1, 2, 3]].concat();
    bytes.extend_from_slice(&media(type_id::VIDEO, 200, enhanced));
    let multitrack = [&[0x95, 0x11][..], b"mp4a", &[0, 0, 0, 2, 1, 2, 1, 0, 0, 1, 3]].concat();
    bytes.extend_from_slice(&media(type_id::AUDIO, 200, multitrack));
    bytes.extend_from_slice(&command("deleteStream", 6.0, [Value::Null, Value::Number(1.0)], 0));
    bytes
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut StdRng) {
    // The handshake is hardly looked at; most mutations belong behind it.
    let first = if rng.random_bool(0.02) { 0 } else { HANDSHAKE_BYTES };
    for _ in 0..rng.random_range(1..=8) {
        if bytes.len() <= first {
            return;
        }
        let at = rng.random_range(first..bytes.len());
        let length = rng.random_range(1..=40).min(bytes.len() - at);
        match rng.random_range(0..7) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = *[0, 1, 3, 0x0A, 0x7F, 0x80, 0xC0, 0xFF].get(rng.random_range(0..8)).unwrap(),
            2 => drop(bytes.drain(at..at + length)),
            3 => bytes[at..at + length].fill(0xFF),
            4 => {
                let copy = bytes[at..at + length].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let noise: Vec<u8> = (0..length).map(|_| rng.random()).collect();
                bytes.splice(at..at, noise);
            }
            _ => bytes.truncate(at),
        }
    }
}

/// Sends a session as the shell would; `Ok` when it survived to its end.
fn run(bytes: &[u8], rng: &mut StdRng) -> Result<(), SessionError> {
    let mut peer = Peer::new(&RtmpSettings::default());
    let mut demuxer = FlvDemuxer::new();
    let mut rest = bytes;
    let mut result = Ok(());
    while result.is_ok() && !rest.is_empty() {
        let (part, after) = rest.split_at(rng.random_range(1..=rest.len()));
        rest = after;
        result = peer.send(part).map(|events| {
            // Events after a grant are polled here, so that nothing is left unread.
            let mut events: Vec<SessionEvent> = events;
            while let Some(event) = events.pop() {
                match event {
                    SessionEvent::PublishRequested { .. } => {
                        peer.session.grant();
                        while let Ok(Some(event)) = peer.session.poll(peer.now) {
                            events.push(event);
                        }
                    }
                    SessionEvent::Tag { tag_type, timestamp_ms, body } => {
                        let _ = demuxer.push(tag_type, timestamp_ms, body);
                    }
                    SessionEvent::Unpublished | SessionEvent::CutOff => {}
                }
            }
        });
        drop(peer.session.take_output());
    }
    assert!(peer.held_bytes_max <= RtmpSettings::default().publisher_bytes_max + INPUT_BYTES_MAX);
    assert!(peer.held_bytes_max <= 4 * bytes.len(), "held more than was sent");
    result
}

#[test]
fn the_broadcast_itself_is_understood() {
    let mut rng = StdRng::seed_from_u64(0);
    assert_eq!(run(&broadcast(), &mut rng), Ok(()));
}

#[test]
fn mutated_sessions_end_in_order() {
    let iterations = std::env::var("MEDIAHOOKS_FUZZ_ITERATIONS").map_or(ITERATIONS_DEFAULT, |value| {
        value.parse().expect("MEDIAHOOKS_FUZZ_ITERATIONS is a number of sessions")
    });
    let original = broadcast().to_vec();
    let mut refused = 0u64;
    for seed in 0..iterations {
        let outcome = std::panic::catch_unwind(|| {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut bytes = original.clone();
            mutate(&mut bytes, &mut rng);
            run(&bytes, &mut rng).is_err()
        });
        refused += u64::from(outcome.unwrap_or_else(|_| panic!("the session of seed {seed} panicked")));
    }
    let some_of_each = refused > 0 && refused < iterations;
    assert!(some_of_each || iterations < 100, "{refused} of {iterations} sessions were refused");
}
