//! What a publisher can make the server hold: little more than what is kept of it, whatever lies between.

mod common;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use common::encoder::{self, control};
use futures::FutureExt;
use futures::future::BoxFuture;
use mediahooks_ingest::gate::{
    FeedEnded, FeedInput, FeedSink, PublishEnd, PublishGate, PublishRefused, PublishRequest, Room,
};
use mediahooks_ingest::rtmp::chunk::{ChunkWriter, Message};
use mediahooks_ingest::rtmp::message::type_id;
use mediahooks_ingest::rtmp::{RtmpSettings, Shared, handle};
use mediahooks_media::sample::TrackConfig;
use peak_alloc::PeakAlloc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// All memory is counted, so one test at a time uses any.
static ALONE: Mutex<()> = Mutex::new(());

/// Keeps every configuration and the data of every sample.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    data: Vec<Bytes>,
    configs: Vec<TrackConfig>,
    ignored: usize,
    /// The most that were handed over together.
    together: usize,
}

#[async_trait]
impl PublishGate for Keeper {
    async fn open(&self, _: PublishRequest) -> Result<Box<dyn FeedSink>, PublishRefused> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl FeedSink for Keeper {
    fn push(&mut self, inputs: &mut Vec<FeedInput>) -> Result<Room, FeedEnded> {
        let mut kept = self.0.lock().unwrap();
        kept.together = kept.together.max(inputs.len());
        for input in inputs.drain(..) {
            match input {
                FeedInput::Sample { sample, .. } => kept.data.push(sample.data),
                FeedInput::Ignored { .. } => kept.ignored += 1,
                FeedInput::Config(config) => kept.configs.push(config),
            }
        }
        Ok(Room::Left)
    }

    async fn ready(&mut self) {}

    fn stopped(&self) -> BoxFuture<'static, FeedEnded> {
        std::future::pending().boxed()
    }

    async fn finish(self: Box<Self>, _: PublishEnd) {}
}

fn message(type_id: u8, payload: &[u8]) -> Message {
    let payload = Bytes::copy_from_slice(payload);
    Message { chunk_stream: 4, type_id, stream_id: 1, timestamp: 0, payload }
}

/// A sound of so many bytes.
fn sound(length: usize) -> Message {
    message(type_id::AUDIO, &[&[0xAF, 1][..], &vec![7; length]].concat())
}

/// What has no part in publishing.
fn junk(length: usize) -> Message {
    message(15, &vec![0; length])
}

/// One message of several tags.
fn together(messages: &[Message]) -> Message {
    let mut payload = Vec::new();
    for part in messages {
        payload.push(part.type_id);
        payload.extend(&(part.payload.len() as u32).to_be_bytes()[1..]);
        payload.extend([0; 7]);
        payload.extend(&part.payload);
        payload.extend((part.payload.len() as u32 + 11).to_be_bytes());
    }
    message(type_id::AGGREGATE, &payload)
}

/// What was made of a publisher's messages, in chunks of this size.
struct Outcome {
    sent: usize,
    kept: usize,
    /// Memory that is free again once nothing is kept.
    held: usize,
    ignored: usize,
    together: usize,
    /// The most memory that was in use at one time, beside what is kept.
    peak: usize,
}

/// Publishes the configuration of the sound, and then all these bytes.
fn publish_bytes(chunk_size: u32, bytes: &[u8]) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let keeper = Keeper::default();
    let shared = Shared {
        gate: Arc::new(keeper.clone()),
        settings: RtmpSettings::default(),
        tasks: TaskTracker::new(),
        shutdown: CancellationToken::new(),
    };
    let mut opening = encoder::opening("cam");
    opening.extend(encoder::media(type_id::AUDIO, 0, &[0xAF, 0, 0x12, 0x10][..]));
    opening.extend(control(type_id::SET_CHUNK_SIZE, &chunk_size.to_be_bytes()));
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        let serving = tokio::spawn(handle(server, "192.0.2.1:5000".parse().unwrap(), shared));
        let (mut answers, mut to_server) = tokio::io::split(&mut client);
        let sending = async {
            to_server.write_all(&opening).await.unwrap();
            to_server.write_all(bytes).await.unwrap();
            to_server.shutdown().await.unwrap();
        };
        let mut ignored = [0; 1024];
        let reading = async { while answers.read(&mut ignored).await.is_ok_and(|length| length > 0) {} };
        tokio::join!(sending, reading);
        serving.await.unwrap();
    });
    let peak = MEMORY.peak_usage().saturating_sub(before);
    drop(runtime);
    let mut state = keeper.0.lock().unwrap();
    let kept = state.data.iter().map(Bytes::len).sum();
    let with = MEMORY.current_usage();
    state.data.fill(Bytes::new());
    state.configs.clear();
    let held = with - MEMORY.current_usage();
    Outcome {
        sent: bytes.len(),
        kept,
        held,
        ignored: state.ignored,
        together: state.together,
        peak: peak.saturating_sub(held),
    }
}

fn publish(chunk_size: u32, messages: &[Message]) -> Outcome {
    let (mut writer, mut bytes) = (ChunkWriter::default(), BytesMut::new());
    writer.set_chunk_size(chunk_size as usize);
    for message in messages {
        writer.write(message, &mut bytes);
    }
    publish_bytes(chunk_size, &bytes)
}

/// What is kept holds little more than its own bytes, however it arrived.
fn check(what: &str, times: usize, messages: &[Message], count: usize) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let messages: Vec<Message> = std::iter::repeat_n(messages, times).flatten().cloned().collect();
    for chunk_size in [128, 4096, 1 << 20] {
        let Outcome { sent, kept, held, .. } = publish(chunk_size, &messages);
        println!("{what}, chunks of {chunk_size}: {sent} bytes sent, {kept} kept, {held} held");
        assert!(kept >= times * count, "{what}: {kept} of {} bytes kept", times * count);
        assert!(held <= 4 * kept + (1 << 20), "{what}: {held} bytes are held for {kept}");
    }
}

#[test]
fn sounds_and_pictures_as_encoders_send_them() {
    check("large and small", 200, &[sound(40_000), sound(300), sound(700)], 41_000);
}

#[test]
fn small_ones_between_what_is_ignored() {
    check("1 byte", 5000, &[sound(1), junk(4090)], 1);
    check(
        "1 byte and a malformed tag",
        5000,
        &[sound(1), message(type_id::VIDEO, &[0x17; 4]), junk(4000)],
        1,
    );
}

#[test]
fn large_ones_between_what_is_ignored() {
    check("4 KiB", 500, &[sound(4100), junk(60_000)], 4100);
    check("20 KiB", 500, &[sound(20_000), junk(100), junk(100_000)], 20_000);
}

#[test]
fn small_ones_in_large_messages() {
    check("aggregate", 50, &[together(&[sound(1), message(type_id::DATA_AMF0, &vec![0; 1 << 20])])], 1);
    check(
        "aggregate of large ones",
        50,
        &[together(&[sound(5000), message(type_id::DATA_AMF0, &vec![0; 1 << 20])])],
        5000,
    );
}

#[test]
fn configurations_that_change() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let configs = [[0xAF, 0, 0x12, 0x10], [0xAF, 0, 0x11, 0x90]].map(|body| message(type_id::AUDIO, &body));
    let messages: Vec<_> =
        (0..200).flat_map(|at| [configs[at % 2].clone(), sound(1), junk(60_000)]).collect();
    let Outcome { kept, held, .. } = publish(1 << 20, &messages);
    println!("{kept} bytes kept beside 200 configurations, {held} held");
    assert!(kept == 200 && held < 64 << 10, "{held} bytes are held for {kept}");
}

/// A byte for each: the header of a chunk that begins a message like the one before.
#[test]
fn nothing_at_all_many_times() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut bytes = BytesMut::new();
    ChunkWriter::default().write(&message(type_id::AUDIO, &[]), &mut bytes);
    bytes.resize(bytes.len() + (1 << 20), 0xC4);
    let Outcome { ignored, together, peak, .. } = publish_bytes(128, &bytes);
    println!("{ignored} ignored, at most {together} together, {peak} bytes at the peak");
    assert_eq!(ignored, 1 + (1 << 20));
    assert!(peak < 1 << 20, "{peak} bytes for what says nothing");
}
