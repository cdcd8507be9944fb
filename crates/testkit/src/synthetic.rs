//! A publisher that can send whatever breaks recorders, the same every time.
//!
//! A broadcast is a list of FLV [`Tag`]s with the moment each is sent, which a test may bend at will:
//! [`Source`] makes regular ones, [`recorded`] those of a real encoder. [`Simulated`] hands them to a sink on a
//! [`SimulatedClock`], hours in a moment; [`send`] sends them over RTMP. Either way they pass through the
//! product's own demuxer.

mod source;
mod vp8;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use mediahooks_ingest::gate::{FeedEnded, FeedInput, FeedSink};
use mediahooks_ingest::rtmp::publisher::{PublishError, Publisher};
use mediahooks_media::dropped::DropReason;
use mediahooks_media::flv::file::FlvFile;
use mediahooks_media::flv::{FlvDemuxer, FlvEvent, TAG_AUDIO, TAG_VIDEO};
use mediahooks_media::sample::TrackKind;

use crate::ffmpeg::Broadcast;

pub use source::Source;
pub use vp8::{VP8_RECORD, Vp8Broadcast, vp8_and_opus, vp8_tags};

/// One tag of a broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// When it is sent, in microseconds after the broadcast's start.
    pub sent_us: i64,
    /// 8 audio, 9 video, 18 script data.
    pub tag_type: u8,
    /// Its stamp in milliseconds, wrapping.
    pub timestamp_ms: u32,
    /// Its body.
    pub body: Bytes,
}

impl Tag {
    /// Video or audio.
    pub fn kind(&self) -> TrackKind {
        if self.tag_type == TAG_VIDEO { TrackKind::Video } else { TrackKind::Audio }
    }

    /// Whether it is a decoder configuration of one of the legacy codecs.
    pub fn is_header(&self) -> bool {
        matches!(
            (self.tag_type, self.body.as_ref()),
            (TAG_VIDEO, [0x17, 0, ..]) | (TAG_AUDIO, [0xA0..=0xAF, 0, ..])
        )
    }

    /// Whether it is a key frame of a legacy codec.
    pub fn is_key(&self) -> bool {
        self.tag_type == TAG_VIDEO && matches!(self.body.as_ref(), [0x17, 1, ..])
    }

    /// Stamped `ms` later, wrapping.
    #[must_use]
    pub fn stamped_later(mut self, ms: i64) -> Self {
        self.timestamp_ms = i64::from(self.timestamp_ms).wrapping_add(ms).rem_euclid(1 << 32) as u32;
        self
    }

    /// Sent `us` later.
    #[must_use]
    pub fn sent_later(mut self, us: i64) -> Self {
        self.sent_us += us;
        self
    }
}

/// In the order of sending; of two at one moment the order stays.
pub fn in_order(mut tags: Vec<Tag>) -> Vec<Tag> {
    tags.sort_by_key(|tag| tag.sent_us);
    tags
}

/// An RTMP message that carries several tags, as some relays send them (Adobe RTMP 1.0 §7.1.6). The tags' own
/// times begin at `first_stamp_ms`; the message has that of the first one.
pub fn aggregate(tags: &[Tag], first_stamp_ms: u32) -> Tag {
    let first = tags.first().expect("at least one tag");
    let mut body = Vec::new();
    for tag in tags {
        let length = u32::try_from(tag.body.len()).expect("it is small");
        let own_ms = tag.timestamp_ms.wrapping_sub(first.timestamp_ms).wrapping_add(first_stamp_ms);
        let [t3, t2, t1, t0] = own_ms.to_be_bytes();
        body.push(tag.tag_type);
        body.extend(&length.to_be_bytes()[1..]);
        body.extend([t2, t1, t0, t3, 0, 0, 0]);
        body.extend(&tag.body);
        body.extend((length + 11).to_be_bytes());
    }
    Tag { tag_type: 22, body: body.into(), ..first.clone() }
}

/// What `broadcast` is when the real encoder `program` makes it: encoded once and kept below the target
/// directory as `name`. Sent in real time.
pub fn recorded(name: &str, program: &Path, broadcast: &Broadcast) -> Vec<Tag> {
    let path = kept(&format!("{name}.flv"), |path| broadcast.encode(program, path));
    read_tags(&path)
}

/// A file below the target directory, made unless it is there.
fn kept(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/synthetic");
    std::fs::create_dir_all(&directory).expect("the target directory can be written");
    let path = directory.join(name);
    if !path.exists() {
        // Tests run side by side: each writes its own and the last one stays.
        let own = directory.join(format!("{}.{name}", std::process::id()));
        make(&own);
        std::fs::rename(&own, &path).expect("a file can be renamed");
    }
    path
}

/// The media of an FLV file, sent in real time.
pub fn read_tags(path: &Path) -> Vec<Tag> {
    let file = Bytes::from(std::fs::read(path).expect("it can be read"));
    audio_and_video(FlvFile::new(file).expect("it is FLV"))
}

/// Its media, sent in real time.
fn audio_and_video(file: FlvFile) -> Vec<Tag> {
    let tags = file.map(|tag| tag.expect("it is whole"));
    let media = tags.filter(|tag| [TAG_AUDIO, TAG_VIDEO].contains(&tag.tag_type));
    media
        .map(|tag| Tag {
            sent_us: i64::from(tag.timestamp_ms) * 1000,
            tag_type: tag.tag_type,
            timestamp_ms: tag.timestamp_ms,
            body: tag.body,
        })
        .collect()
}

/// The numbers of the pictures of a [`Source`] that lie in a file, in order.
pub fn pictures(file: &[u8]) -> Vec<u32> {
    source::numbers(file, "picture")
}

/// The numbers of its audio frames, likewise.
pub fn sounds(file: &[u8]) -> Vec<u32> {
    source::numbers(file, "sound")
}

/// A wall clock and a steady one that a test moves.
#[derive(Default)]
pub struct SimulatedClock {
    /// Microseconds: the wall clock since 1970, the steady one since the clock was made.
    times: Mutex<(i64, i64)>,
}

impl SimulatedClock {
    /// Shows 2023-11-14T22:13:20Z.
    pub fn new() -> Self {
        Self { times: Mutex::new((1_700_000_000_000_000, 0)) }
    }

    /// The wall clock, in microseconds since 1970.
    pub fn wall_us(&self) -> i64 {
        self.lock().0
    }

    /// The steady clock.
    pub fn steady(&self) -> Duration {
        Duration::from_micros(self.lock().1.unsigned_abs())
    }

    /// Lets time pass until the steady clock shows `us`; does nothing when it is past that.
    pub fn pass_until(&self, us: i64) {
        let mut times = self.lock();
        let passed = (us - times.1).max(0);
        *times = (times.0 + passed, times.1 + passed);
    }

    /// Sets the wall clock by `us`, as NTP or an administrator does.
    pub fn set_wall(&self, by_us: i64) {
        self.lock().0 += by_us;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (i64, i64)> {
        self.times.lock().expect("nothing panics while it holds this lock")
    }
}

impl fmt::Debug for SimulatedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimulatedClock").field(&*self.lock()).finish()
    }
}

/// A publisher on a simulated clock, with no network in between.
pub struct Simulated {
    /// Where its media goes.
    pub sink: Box<dyn FeedSink>,
    demuxer: FlvDemuxer,
    started_us: i64,
}

impl Simulated {
    /// Begins now.
    pub fn new(sink: Box<dyn FeedSink>, clock: &SimulatedClock) -> Self {
        let started_us = i64::try_from(clock.steady().as_micros()).expect("tests are short");
        Self { sink, demuxer: FlvDemuxer::new(), started_us }
    }

    /// Sends tags, each when its time has come.
    ///
    /// # Errors
    /// When the feed was ended from the other side.
    pub async fn push(&mut self, clock: &SimulatedClock, tags: &[Tag]) -> Result<(), FeedEnded> {
        for tag in tags {
            clock.pass_until(self.started_us + tag.sent_us);
            // As the RTMP connection does.
            let events = self.demuxer.push(tag.tag_type, tag.timestamp_ms, tag.body.clone());
            let malformed =
                |_| vec![FlvEvent::Ignored { kind: tag.kind(), reason: DropReason::MalformedTag }];
            let inputs = events.unwrap_or_else(malformed).into_iter().filter_map(FeedInput::from_flv);
            self.sink.push(&mut inputs.collect())?;
            self.sink.ready().await;
        }
        Ok(())
    }
}

/// Sends tags over RTMP to a server, as fast as it takes them, and ends the stream.
///
/// # Errors
/// [`PublishError`], also when the server ended the stream.
pub async fn send(url: &str, tags: &[Tag]) -> Result<(), PublishError> {
    let mut publisher = Publisher::connect(url).await?;
    for tag in tags {
        publisher.send_tag(tag.tag_type, tag.timestamp_ms, &tag.body).await?;
    }
    publisher.finish().await
}
