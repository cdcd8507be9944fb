//! Timelines as playlists of HTTP Live Streaming, while they are received and later: for preview, and to look back.
//!
//! Media is served as it was stored, straight from the chunk files; what is made here is text. A playlist covers all
//! runs of a feed from the asset's first segment on, with a break between two of them. What always holds: a segment
//! has the same number in whichever playlist it is; nobody waits without a bound.

mod view;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mediahooks_database::{RecipePart, Segment, SegmentSpan};
use mediahooks_media::cmaf::{InitTrack, encode_init};
use mediahooks_media::virtual_file::{Extent, PIECE_MAX, Piece, PieceError, VirtualFile};
use mediahooks_model::{AssetState, AssetType, MediaAssetId, Metadata, TargetFormat, TimelineId, Timestamp};
use mediahooks_timeline::movie::BuiltMovie;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use self::view::View;
use crate::download::Download;
use crate::error::{PreviewError, RecorderError};
use crate::finish::{self, PreparedFile, SegmentPlace};
use crate::state::Shared;

/// How far back a playlist reaches if nobody says.
const WINDOW: Duration = Duration::from_secs(120);

/// How far back it reaches at most: some 14 000 segments, 4 MB of text.
const WINDOW_MAX: Duration = Duration::from_secs(4 * 3600);

/// Stored segments that one playlist looks at, at most.
const SEGMENTS_MAX: u64 = 16_384;

/// For how long a request for what is still to come is held.
const WAIT_MAX: Duration = Duration::from_secs(9);

/// Stored segments in one piece of media, at most.
const SEGMENTS_AT_ONCE_MAX: u64 = 1024;

/// Rows that counting reads at a time.
const COUNTED_AT_ONCE: u64 = 4096;

/// Segments whose number of groups is kept as one.
const BLOCK: u64 = 256;

/// What is asked of a playlist.
#[derive(Debug, Clone, Default)]
pub struct PreviewRequest {
    /// How far back it shall reach.
    pub window: Option<Duration>,
    /// Answer only once it has this segment, and of it this part (`_HLS_msn` and `_HLS_part`).
    pub wait_for: Option<(u64, Option<u64>)>,
    /// Appended to every address in it, such as a query.
    pub suffix: String,
}

/// A playlist.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Its text.
    pub text: String,
    /// Whether there will be more.
    pub is_live: bool,
    /// When it last changed.
    pub last_modified: Timestamp,
}

/// How many segments begin with a sync sample of each whole block of a timeline: what numbers come of. A block is
/// [`BLOCK`] segments, and is named by its first one.
pub(crate) struct GroupCounts(Cache<(TimelineId, u64), u64>);

impl Default for GroupCounts {
    fn default() -> Self {
        const BLOCKS: usize = 65_536;
        Self(Cache::new(BLOCKS))
    }
}

/// See [`crate::Recorder::preview`].
pub(crate) async fn playlist(
    shared: &Shared,
    id: MediaAssetId,
    request: PreviewRequest,
) -> Result<Preview, PreviewError> {
    let part = readable(shared, id).await?;
    let until = Instant::now() + WAIT_MAX;
    let mut is_waiting = true;
    loop {
        // Before the look, so that what is stored during it wakes.
        let mut stored = shared.live.follow(part.timeline);
        if let Some((number, within)) = request.wait_for.filter(|_| is_waiting) {
            // All who wait look whenever a segment is stored: at the newest group, not at hours of them.
            let newest = look(shared, &part, Some(Duration::ZERO), stored.is_some()).await?;
            if number > newest.open_number().saturating_add(2) {
                return Err(PreviewError::TooFarAhead);
            }
            if let Some(stored) = stored.as_mut().filter(|_| !newest.has(number, within)) {
                is_waiting = tokio::time::timeout_at(until, stored.changed()).await.is_ok();
                continue;
            }
        }
        let view = look(shared, &part, request.window, stored.is_some()).await?;
        let last_modified = view.spans.last().map_or(Timestamp::EPOCH, SegmentSpan::wall_end);
        let (is_live, suffix) = (view.is_live, request.suffix);
        let text =
            finish::compute(shared.planning.take().await, move || Ok(view.playlist(&suffix).to_text()))
                .await?;
        return Ok(Preview { text, is_live, last_modified });
    }
}

/// The part that an asset shows which can be previewed.
async fn readable(shared: &Shared, id: MediaAssetId) -> Result<RecipePart, PreviewError> {
    let asset = shared.database.asset(id).await?.ok_or(PreviewError::NotFound)?;
    match (asset.asset_type, &asset.state) {
        (AssetType::Timeline, AssetState::Processing | AssetState::Complete { .. }) => {}
        (AssetType::Timeline, AssetState::Deleting { .. } | AssetState::Deleted { .. }) => {
            return Err(PreviewError::Gone);
        }
        _ => return Err(PreviewError::NotFound),
    }
    asset.recipe.into_iter().next().ok_or(PreviewError::NotFound)
}

/// Looks at what is stored by now.
async fn look(
    shared: &Shared,
    part: &RecipePart,
    window: Option<Duration>,
    is_live: bool,
) -> Result<View, PreviewError> {
    let (database, timeline) = (&shared.database, part.timeline);
    let newest = database.last_segment(timeline).await?.ok_or(PreviewError::NotFound)?;
    let window = match window {
        Some(window) => window.min(WINDOW_MAX),
        None if is_live => WINDOW,
        None => WINDOW_MAX,
    };
    // Most segments are about a second long. The newest group may have begun before the window.
    let count = window.max(WINDOW).as_secs().saturating_mul(2).saturating_add(64).min(SEGMENTS_MAX);
    let from = part.first.max((newest.sequence + 1).saturating_sub(count));
    let mut spans = database.segment_spans(timeline, from, Some(newest.sequence)).await?;
    let is_whole = view::keep_last(&mut spans, window) && from == part.first;
    let first = spans.first().ok_or(PreviewError::NotFound)?;
    let number = groups_before(shared, timeline, first.sequence).await?;
    let runs = database.runs(timeline).await?;
    let tracks: BTreeMap<u32, usize> = runs.into_iter().map(|run| (run.number, run.tracks.len())).collect();
    Ok(View { spans, number, tracks, is_live, is_whole })
}

/// The number of the group that begins with a segment. Once a timeline was counted this reads a block at most, however
/// long it is and whichever segment is asked for.
async fn groups_before(shared: &Shared, timeline: TimelineId, sequence: u64) -> Result<u64, PreviewError> {
    let (mut at, mut groups) = (0, 0);
    while at < sequence {
        if let Some(known) = shared.groups.0.get(&(timeline, at)).filter(|_| at + BLOCK <= sequence) {
            (at, groups) = (at + BLOCK, groups + known);
            continue;
        }
        let to = (at + COUNTED_AT_ONCE).min(sequence);
        let spans = shared.database.segment_spans(timeline, at, Some(to - 1)).await?;
        for (block, count) in group_counts(&spans, at..to) {
            groups += count;
            if block.end - block.start == BLOCK {
                shared.groups.0.insert((timeline, block.start), count);
            }
        }
        at = to;
    }
    Ok(groups)
}

/// How many of the segments in each block of `range`, which begins with one, begin with a sync sample.
fn group_counts(spans: &[SegmentSpan], range: Range<u64>) -> impl Iterator<Item = (Range<u64>, u64)> {
    let blocks = (range.start..range.end).step_by(BLOCK as usize);
    blocks.map(move |start| {
        let block = start..(start + BLOCK).min(range.end);
        let from = spans.partition_point(|span| span.sequence < block.start);
        let to = spans.partition_point(|span| span.sequence < block.end);
        let of_block = spans.get(from..to).unwrap_or(&[]);
        (block, of_block.iter().filter(|span| span.starts_with_sync).count() as u64)
    })
}

/// A resource that a playlist names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    /// What has to be read before the segments of a run: the first so many of its tracks.
    Init { run: u32, tracks: usize },
    /// Stored segments, both included.
    Media { first: u64, last: u64 },
}

impl Resource {
    /// Reads the last part of an address that [`View::playlist`] made.
    fn parse(name: &str) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.')?;
        let pair = |text: &str| {
            let (a, b) = text.split_once('-')?;
            Some((a.parse::<u64>().ok()?, b.parse::<u64>().ok()?))
        };
        match extension {
            "mp4" => {
                let (run, tracks) = pair(stem.strip_prefix("init-")?)?;
                Some(Self::Init { run: u32::try_from(run).ok()?, tracks: usize::try_from(tracks).ok()? })
            }
            "m4s" => {
                let (first, last) = pair(stem)?;
                let is_bounded = first <= last && last - first < SEGMENTS_AT_ONCE_MAX;
                is_bounded.then_some(Self::Media { first, last })
            }
            _ => None,
        }
    }
}

/// See [`crate::Recorder::open_preview`].
pub(crate) async fn open(
    shared: &Arc<Shared>,
    id: MediaAssetId,
    name: &str,
) -> Result<Download, PreviewError> {
    // Before the look at its state: what is not removed by then is not freed from then on.
    let reading = shared.readers.enter(id);
    let part = readable(shared, id).await?;
    let resource = Resource::parse(name).ok_or(PreviewError::NotFound)?;
    let (file, places, modified) = match resource {
        Resource::Init { run, tracks } => (init(shared, part.timeline, run, tracks).await?, Vec::new(), None),
        Resource::Media { first, last } => {
            let first = first.max(part.first);
            let segments = shared.database.segments(part.timeline, first, Some(last)).await?;
            if segments.is_empty() || !(first..=last).eq(segments.iter().map(|segment| segment.sequence)) {
                return Err(PreviewError::NotFound);
            }
            let modified = segments.last().map(Segment::wall_end);
            let extents = segments
                .iter()
                .zip(0..)
                .map(|(segment, source)| Piece::Extent(Extent { source, offset: 0, len: segment.len }));
            let places = segments.iter().map(|segment| SegmentPlace {
                timeline: segment.timeline,
                chunk: segment.chunk,
                offset: segment.offset,
            });
            (Assembled::of(extents), places.collect(), modified)
        }
    };
    let named = Sha256::digest(format!("{} {name}", part.timeline));
    let prepared = PreparedFile {
        format: TargetFormat::Fmp4,
        movie: BuiltMovie { file: Arc::new(file), metadata: Metadata::default() },
        guide: None,
        places,
        etag: format!("\"{}\"", hex::encode(&named[..16])),
    };
    let modified = modified.unwrap_or(Timestamp::EPOCH);
    Ok(Download::new(shared, id, Arc::new(prepared), reading, name.to_owned(), modified))
}

async fn init(
    shared: &Shared,
    timeline: TimelineId,
    run: u32,
    tracks: usize,
) -> Result<Assembled, PreviewError> {
    let run = shared.database.run(timeline, run).await?.ok_or(PreviewError::NotFound)?;
    // A track is never changed, nor removed; later ones come at the end.
    let configs = run.tracks.get(..tracks).ok_or(PreviewError::NotFound)?;
    let tracks: Vec<InitTrack<'_>> =
        (1..).zip(configs).map(|(track_id, config)| InitTrack { track_id, config }).collect();
    let bytes = encode_init(&tracks).map_err(RecorderError::from)?;
    Ok(Assembled::of([Piece::Bytes(Bytes::from(bytes))]))
}

/// Pieces one behind the other.
#[derive(Debug)]
struct Assembled {
    /// Each with the offset at which it begins.
    pieces: Vec<(u64, Piece)>,
    len: u64,
}

impl Assembled {
    fn of(pieces: impl IntoIterator<Item = Piece>) -> Self {
        let mut len = 0;
        let pieces = pieces.into_iter().map(|piece| {
            let start = len;
            len += piece.len();
            (start, piece)
        });
        let pieces = pieces.collect();
        Self { pieces, len }
    }
}

impl VirtualFile for Assembled {
    fn len(&self) -> u64 {
        self.len
    }

    fn piece(&self, range: Range<u64>) -> Result<Piece, PieceError> {
        let nothing = || PieceError { reason: "the file ends before it".to_owned() };
        let number = self.pieces.partition_point(|(start, _)| *start <= range.start).checked_sub(1);
        let (start, piece) = number.and_then(|number| self.pieces.get(number)).ok_or_else(nothing)?;
        let skipped = range.start - start;
        let len = piece.len().saturating_sub(skipped).min(range.end.saturating_sub(range.start));
        if len == 0 {
            return Err(nothing());
        }
        Ok(match piece {
            Piece::Extent(extent) => {
                Piece::Extent(Extent { offset: extent.offset + skipped, len, ..*extent })
            }
            Piece::Bytes(bytes) => {
                let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(bytes.len());
                let len = usize::try_from(len).unwrap_or(PIECE_MAX).min(PIECE_MAX);
                Piece::Bytes(bytes.slice(skipped..(skipped + len).min(bytes.len())))
            }
        })
    }

    fn weight(&self) -> usize {
        self.pieces.len() * size_of::<(u64, Piece)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_count_what_they_hold() {
        // Groups of three segments; the first 100 were removed.
        let span = |sequence| SegmentSpan {
            timeline: TimelineId(uuid::Uuid::nil()),
            sequence,
            run: 0,
            media_start_us: 0,
            media_end_us: 0,
            wall_offset_us: 0,
            starts_with_sync: sequence % 3 == 0,
        };
        let spans: Vec<_> = (100..1000).map(span).collect();
        let counts: Vec<_> = group_counts(&spans, 0..900).collect();
        let expected = |range: Range<u64>| range.filter(|sequence| sequence % 3 == 0).count() as u64;
        assert_eq!(
            counts,
            [
                (0..256, expected(100..256)),
                (256..512, expected(256..512)),
                (512..768, expected(512..768)),
                (768..900, expected(768..900)),
            ]
        );
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        assert_eq!(Resource::parse("init-3-2.mp4"), Some(Resource::Init { run: 3, tracks: 2 }));
        assert_eq!(Resource::parse("7-9.m4s"), Some(Resource::Media { first: 7, last: 9 }));
        for wrong in
            ["", "9-7.m4s", "0-1024.m4s", "init-1.mp4", "a-b.m4s", "1-2.mp4", "init--1-2.mp4", "7-9.M4S"]
        {
            assert_eq!(Resource::parse(wrong), None, "{wrong}");
        }
    }
}
