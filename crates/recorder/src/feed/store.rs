//! Stores the segments of one feed: bytes first, then the row, then word to who waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mediahooks_database::{Change, EarlierTracks, Run, Segment, Timeline};
use mediahooks_media::cmaf::{InitTrack, encode_init};
use mediahooks_media::sample::{TrackConfig, TrackKind};
use mediahooks_model::{TimelineId, Timestamp, chain};
use mediahooks_storage::{Appended, ChunkWriter, StorageError};
use mediahooks_timeline::segmenter::{ClosedSegment, Held, Received};

use super::NewFeed;
use super::assets::FeedAssets;
use crate::counted;
use crate::error::RecorderError;
use crate::state::Shared;

/// A chunk file is followed by another one from this size on. Small enough that expiry gives room
/// back soon, large enough that a day of a stream is not many files.
const CHUNK_BYTES: u64 = 64 << 20;

/// See the module.
pub(super) struct SegmentStore {
    shared: Arc<Shared>,
    timeline: TimelineId,
    assets: FeedAssets,
    tracks: Vec<TrackConfig>,
    /// The run that they are of, and what they were known as before in it.
    run: u32,
    earlier: Vec<EarlierTracks>,
    writer: Option<ChunkWriter>,
    next_chunk: u32,
    next_sequence: u64,
    bytes: u64,
    stored_until: Option<Timestamp>,
    /// A segment could not be stored. Nothing may follow it: the hole would be shown as a frame that
    /// lasts, and what refers to the missing samples as garbage.
    broken: bool,
}

/// For how long, in waits, a database that fails for a moment is tried again. Meanwhile the
/// publisher's socket waits.
const COMMIT_RETRIES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(800),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// Whether somebody waits for a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// A clip that needs it.
    Yes,
    /// Nobody: its row may wait for those of other feeds and share a transaction with them, while there are many.
    No,
}

impl SegmentStore {
    pub(super) fn new(shared: Arc<Shared>, new: NewFeed, timeline: TimelineId) -> Self {
        Self {
            assets: FeedAssets::new(Arc::clone(&shared), new, timeline),
            shared,
            timeline,
            tracks: Vec::new(),
            run: 0,
            earlier: Vec::new(),
            writer: None,
            next_chunk: 0,
            next_sequence: 0,
            bytes: 0,
            stored_until: None,
            broken: false,
        }
    }

    /// Number of segments stored.
    pub(super) fn segments(&self) -> u64 {
        self.next_sequence
    }

    /// Bytes stored.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Wall clock up to which everything captured is stored. It goes back with the clock: the latest segment's is the one
    /// that clips are asked for by.
    pub(super) fn stored_until(&self) -> Option<Timestamp> {
        self.stored_until
    }

    /// Takes note that everything that was `received` up to a moment is stored.
    pub(super) fn holds_all(&mut self, received: Option<Received>) {
        self.stored_until = received.map(|received| received.until).or(self.stored_until);
    }

    /// Stores a segment and moves the feed's assets along. After a failure nothing is stored any more.
    pub(super) async fn put(
        &mut self,
        segment: ClosedSegment,
        awaited: Awaited,
    ) -> Result<(), RecorderError> {
        if self.broken {
            return Ok(());
        }
        let stored = self.try_put(segment, awaited).await;
        self.broken = stored.is_err();
        stored
    }

    async fn try_put(&mut self, mut segment: ClosedSegment, awaited: Awaited) -> Result<(), RecorderError> {
        let mut changes = self.assets.before(&segment, self.next_sequence).await?;
        if self.next_sequence == 0 {
            let timeline =
                Timeline { id: self.timeline, feed: self.assets.feed().id, created: self.shared.now() };
            changes.push(Change::OpenTimeline(timeline));
        }
        if let Some(tracks) = &segment.tracks {
            changes.push(Change::PutRun(self.run_with(segment.run, tracks)));
            self.writer = None;
        }
        let mut parts = Vec::with_capacity(1 + segment.payload.len());
        parts.push(Bytes::from(std::mem::take(&mut segment.head)));
        parts.append(&mut segment.payload);
        let (chunk, appended) = self.append(parts).await?;
        let stored_until = captured_until(&segment, &self.tracks);
        changes.push(Change::AddSegment(Segment {
            timeline: self.timeline,
            sequence: self.next_sequence,
            run: segment.run,
            chunk,
            offset: appended.offset,
            len: appended.len,
            media_start_us: segment.media_start_us,
            media_end_us: segment.media_end_us,
            wall_offset_us: segment.wall_offset_us,
            starts_with_sync: segment.starts_with_sync,
            index: segment.index.encode().into(),
        }));
        changes.extend(self.assets.begin(&segment, self.next_sequence).await?);
        self.commit(changes, awaited).await?;
        self.assets.committed(&segment, self.next_sequence);
        self.shared.live.stored(self.assets.feed().id);
        self.next_sequence += 1;
        self.bytes += appended.len;
        counted::stored(appended.len);
        self.stored_until = stored_until.or(self.stored_until);
        Ok(())
    }

    /// What there is to store of a run of which `tracks` are known from the next segment on.
    fn run_with(&mut self, number: u32, tracks: &[TrackConfig]) -> Run {
        let before = std::mem::replace(&mut self.tracks, tracks.to_vec());
        if number != self.run || before.is_empty() {
            (self.run, self.earlier) = (number, Vec::new());
        } else {
            self.earlier.push(EarlierTracks { until: self.next_sequence, tracks: before });
        }
        let (tracks, earlier) = (self.tracks.clone(), self.earlier.clone());
        Run { timeline: self.timeline, number, tracks, earlier }
    }

    async fn commit(&self, changes: Vec<Change>, awaited: Awaited) -> Result<(), RecorderError> {
        let mut waits = COMMIT_RETRIES.iter();
        loop {
            let (database, now) = (&self.shared.database, self.shared.now());
            let committed = match awaited {
                Awaited::Yes => database.commit(changes.clone(), now).await,
                Awaited::No => database.commit_patiently(changes.clone(), now).await,
            };
            match committed {
                Ok(_) => return Ok(()),
                Err(error) if error.is_transient() => match waits.next() {
                    Some(wait) => {
                        tracing::warn!(timeline = %self.timeline, error = chain(&error), "a segment's row could not be written; trying again");
                        tokio::time::sleep(*wait).await;
                    }
                    None => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes durable that the latest picture is on screen still: a crash costs what is seen of it as little as any other
    /// media.
    pub(super) async fn note_held(&self, held: Option<Held>) {
        let changes = self.assets.hold(held.filter(|_| !self.broken));
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.shared.database.commit_patiently(changes, self.shared.now()).await {
            tracing::warn!(timeline = %self.timeline, error = chain(&error), "it could not be noted how long a picture stays; trying again");
        }
    }

    /// The steps that finish the feed's assets with what is stored. `held`: of its latest picture.
    pub(super) async fn finish_assets(&mut self, held: Option<Held>) -> Result<Vec<Change>, RecorderError> {
        self.assets.finish_all(self.next_sequence, held).await
    }

    /// Appends to the current chunk file, or to a new one when there is none, when it is large enough
    /// or when it takes no more.
    async fn append(&mut self, parts: Vec<Bytes>) -> Result<(u32, Appended), RecorderError> {
        if let Some(writer) = self.writer.as_mut().filter(|writer| writer.len() < CHUNK_BYTES) {
            match writer.append(parts.clone()).await {
                Ok(appended) => return Ok((writer.chunk(), appended)),
                // The bytes are still here: what one file lost another one gets.
                Err(error) => {
                    counted::write_failed();
                    tracing::error!(
                        timeline = %self.timeline, chunk = writer.chunk(),
                        error = chain(&error), "a chunk file failed; trying another one"
                    );
                }
            }
        }
        let mut writer = self.next_writer().await?;
        let appended = writer.append(parts).await?;
        let chunk = writer.chunk();
        self.writer = Some(writer);
        Ok((chunk, appended))
    }

    async fn next_writer(&mut self) -> Result<ChunkWriter, RecorderError> {
        let tracks: Vec<InitTrack<'_>> =
            (1u32..).zip(&self.tracks).map(|(track_id, config)| InitTrack { track_id, config }).collect();
        let init = encode_init(&tracks)?;
        let chunk = self.next_chunk;
        // Also when this fails: a file of that name may be there.
        self.next_chunk += 1;
        let created: Result<ChunkWriter, StorageError> =
            self.shared.storage.create_chunk(self.timeline, chunk, init).await;
        Ok(created?)
    }
}

/// Wall clock before which no frame that is still to come was captured, as far as the segment alone tells; see
/// [`Received`].
fn captured_until(segment: &ClosedSegment, tracks: &[TrackConfig]) -> Option<Timestamp> {
    let kind_of = |track: u32| tracks.get(track as usize).map(|config| config.kind);
    let mut spans = segment.index.tracks.iter();
    let is_seen = tracks.iter().any(|config| config.kind == TrackKind::Video);
    // Sound alone does not tell of late pictures.
    let span = spans.find(|span| !is_seen || kind_of(span.track) == Some(TrackKind::Video))?;
    let timescale = tracks.get(span.track as usize)?.timescale;
    let (last_dts, _) = span.timed().last()?;
    Some(Timestamp::from_micros(last_dts.to_micros(timescale).saturating_add(segment.wall_offset_us)))
}
