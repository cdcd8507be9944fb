//! Timelines as playlists of HTTP Live Streaming, while they are received and later: for preview, and to look back.
//!
//! Media is served as it was stored, straight from the chunk files; what is made here is text, once for all who ask for
//! it at a time. A playlist covers all runs of a feed from the asset's first segment on, with a break between two of
//! them. What always holds: a segment has the same number in every playlist of an asset; what a playlist says about all
//! of its segments never changes; nobody waits without a bound.

mod resource;
mod text;
mod variants;
mod view;

use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{RecipePart, SegmentSpan};
use mediahooks_model::{AssetState, AssetType, MediaAssetId, Timestamp};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

pub(crate) use self::resource::open;
pub use self::text::PlaylistText;
use self::text::{MARK, Template};
use self::view::{Divider, View};
use crate::error::{PreviewError, RecorderError};
use crate::finish;
use crate::state::Shared;

/// How far back a playlist reaches if nobody says.
const WINDOW: Duration = Duration::from_secs(120);

/// How far back it reaches at most: some 14 000 segments, 4 MB of text.
const WINDOW_MAX: Duration = Duration::from_secs(4 * 3600);

/// Stored segments that one playlist looks at, at most.
const SEGMENTS_MAX: u64 = 16_384;

/// For how long a request for what is still to come is held.
const WAIT_MAX: Duration = Duration::from_secs(9);

/// How many such requests there are at a time. A further one is answered at once.
const WAITING_MAX: usize = 256;

/// Bytes of texts that are kept for who asks for the same.
const TEXT_BYTES: u64 = 32 << 20;

/// Stored segments by which it is told what a timeline takes to be played.
const RATED: u64 = 60;

/// Stored segments that the first group is looked for in.
const FIRST_MAX: u64 = 64;

/// Rows that counting reads at a time.
const COUNTED_AT_ONCE: u64 = 4096;

/// Stored segments after which it is kept how many segments of the playlist there are.
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
    pub text: PlaylistText,
    /// Whether there will be more.
    pub is_live: bool,
    /// When it last changed.
    pub last_modified: Timestamp,
}

/// What is known of playlists, and who waits for them.
pub(crate) struct Previews {
    /// See [`view::pace`].
    paces: Cache<MediaAssetId, u64>,
    /// How far segments have come before every [`BLOCK`]th stored one of an asset.
    dividers: Cache<(MediaAssetId, u64), Divider>,
    texts: Cache<TextKey, Arc<Template>, TextBytes>,
    waiting: Semaphore,
}

/// What the text of a playlist comes of: nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TextKey {
    id: MediaAssetId,
    window: Duration,
    /// Number of the newest stored segment.
    newest: u64,
    is_live: bool,
}

#[derive(Clone)]
struct TextBytes;

impl Weighter<TextKey, Arc<Template>> for TextBytes {
    fn weight(&self, _: &TextKey, text: &Arc<Template>) -> u64 {
        text.weight() as u64
    }
}

impl Default for Previews {
    fn default() -> Self {
        const ASSETS: usize = 4096;
        const BLOCKS: usize = 65_536;
        // So few keep the cache in one shard: hours of text would be more than the share of one of several.
        const TEXTS_EXPECTED: usize = 32;
        Self {
            paces: Cache::new(ASSETS),
            dividers: Cache::new(BLOCKS),
            texts: Cache::with_weighter(TEXTS_EXPECTED, TEXT_BYTES, TextBytes),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }
}

/// One who may wait for what is still to come: not for longer than [`WAIT_MAX`], and not beside too many others.
struct Patience<'a> {
    waiting: &'a Semaphore,
    place: Option<SemaphorePermit<'a>>,
    until: Instant,
    is_over: bool,
}

impl<'a> Patience<'a> {
    fn new(shared: &'a Shared) -> Self {
        let waiting = &shared.previews.waiting;
        Self { waiting, place: None, until: Instant::now() + WAIT_MAX, is_over: false }
    }

    /// Waits until there is more of what is followed, or no more will come. Tells whether that is so; else there is no
    /// use in waiting.
    async fn wait(&mut self, stored: Option<&mut watch::Receiver<()>>) -> bool {
        let Some(stored) = stored else { return false };
        if self.place.is_none() {
            self.place = self.waiting.try_acquire().ok();
        }
        let waits = self.place.is_some() && !self.is_over;
        self.is_over = !waits || tokio::time::timeout_at(self.until, stored.changed()).await.is_err();
        !self.is_over
    }
}

/// See [`crate::Recorder::preview`].
pub(crate) async fn playlist(
    shared: &Shared,
    id: MediaAssetId,
    request: PreviewRequest,
) -> Result<Preview, PreviewError> {
    let part = readable(shared, id).await?;
    let asset = Previewed { shared, id, part };
    let mut patience = Patience::new(shared);
    loop {
        // Before the look, so that what is stored during it wakes.
        let mut stored = shared.live.follow(asset.part.timeline);
        let is_live = stored.is_some();
        let newest = asset.newest().await?;
        let Some(pace_s) = asset.pace(is_live).await? else {
            if patience.wait(stored.as_mut()).await {
                continue;
            }
            return Err(PreviewError::NotYet);
        };
        if let Some((number, within)) = request.wait_for.filter(|_| !patience.is_over) {
            // All who wait look whenever a segment is stored: at the newest group, not at hours of them.
            let view = asset.look(newest, Duration::ZERO, pace_s, is_live).await?;
            if number > view.open_number().saturating_add(2) {
                return Err(PreviewError::TooFarAhead);
            }
            if !view.has(number, within) {
                patience.wait(stored.as_mut()).await;
                continue;
            }
        }
        let window = match request.window {
            Some(window) => window.min(WINDOW_MAX),
            None if is_live => WINDOW,
            None => WINDOW_MAX,
        };
        let key = TextKey { id, window, newest, is_live };
        let make = async {
            let turn = shared.planning.take_short().await;
            let view = asset.look(newest, window, pace_s, is_live).await?;
            let last_modified = view.spans.last().map_or(Timestamp::EPOCH, SegmentSpan::wall_end);
            let make = move || Ok(Arc::new(Template::of(&view.playlist(MARK), last_modified)));
            Ok::<_, PreviewError>(finish::compute(turn, make).await?)
        };
        let template = shared.previews.texts.get_or_insert_async(&key, make).await?;
        let last_modified = template.last_modified;
        return Ok(Preview { text: PlaylistText::new(template, &request.suffix), is_live, last_modified });
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

/// A timeline that is looked at.
struct Previewed<'a> {
    shared: &'a Shared,
    id: MediaAssetId,
    part: RecipePart,
}

impl Previewed<'_> {
    /// Number of the newest stored segment.
    async fn newest(&self) -> Result<u64, PreviewError> {
        let newest = self.shared.database.last_segment(self.part.timeline).await?;
        newest.map(|newest| newest.sequence).ok_or(PreviewError::NotFound)
    }

    async fn spans(&self, first: u64, last: u64) -> Result<Vec<SegmentSpan>, PreviewError> {
        Ok(self.shared.database.segment_spans(self.part.timeline, first, Some(last)).await?)
    }

    /// See [`view::pace`].
    async fn pace(&self, is_live: bool) -> Result<Option<u64>, PreviewError> {
        let paces = &self.shared.previews.paces;
        if let Some(pace_s) = paces.get(&self.id) {
            return Ok(Some(pace_s));
        }
        let first = self.spans(self.part.first, self.part.first.saturating_add(FIRST_MAX)).await?;
        let is_growing = is_live && (first.len() as u64) <= FIRST_MAX;
        let pace_s = view::pace(&first, is_growing);
        if let Some(pace_s) = pace_s {
            paces.insert(self.id, pace_s);
        }
        Ok(pace_s)
    }

    /// Looks at what is stored up to the `newest` segment.
    async fn look(
        &self,
        newest: u64,
        window: Duration,
        pace_s: u64,
        is_live: bool,
    ) -> Result<View, PreviewError> {
        // Most stored segments are about a second long.
        let count = window.as_secs().saturating_mul(2).saturating_add(64).min(SEGMENTS_MAX);
        let from = self.part.first.max((newest + 1).saturating_sub(count));
        // What is open there began before it.
        let before = self.divided(pace_s, from).await?;
        let begin = before.begin().unwrap_or(from);
        let runs = self.shared.database.runs(self.part.timeline).await?;
        let mut view = View {
            spans: self.spans(begin, newest).await?,
            number: before.begun.saturating_sub(1),
            pace_s,
            tracks: runs.into_iter().map(|run| (run.number, run.tracks.len())).collect(),
            is_live,
        };
        if view.spans.is_empty() {
            return Err(PreviewError::NotFound);
        }
        view.keep_last(window);
        Ok(view)
    }

    /// How far segments have come before the stored one at `sequence`. Once a timeline was looked at this reads a block at
    /// most, however long it is and whichever segment is asked for.
    async fn divided(&self, pace_s: u64, sequence: u64) -> Result<Divider, PreviewError> {
        let dividers = &self.shared.previews.dividers;
        let (first, mut at) = (self.part.first, sequence);
        at -= (at - first) % BLOCK;
        let mut divider = Divider::new(pace_s);
        while at > first {
            if let Some(known) = dividers.get(&(self.id, at)) {
                divider = known;
                break;
            }
            at -= BLOCK;
        }
        while at < sequence {
            let to = (at + COUNTED_AT_ONCE).min(sequence);
            for span in self.spans(at, to - 1).await? {
                if span.sequence > first && (span.sequence - first).is_multiple_of(BLOCK) {
                    dividers.insert((self.id, span.sequence), divider);
                }
                divider.begins(&span);
            }
            at = to;
        }
        Ok(divider)
    }
}

/// See [`crate::Recorder::preview_variants`].
pub(crate) async fn multivariant(
    shared: &Shared,
    id: MediaAssetId,
    uri: &str,
) -> Result<String, PreviewError> {
    let part = readable(shared, id).await?;
    let asset = Previewed { shared, id, part };
    let (newest, timeline) = (asset.newest().await?, asset.part.timeline);
    let first = asset.part.first.max((newest + 1).saturating_sub(RATED));
    let segments = shared.database.segments(timeline, first, Some(newest)).await?;
    let runs = shared.database.runs(timeline).await?;
    let playlist = variants::multivariant(&runs, &segments, uri).map_err(RecorderError::from)?;
    Ok(playlist.to_text())
}
