//! Turns a recipe into a file's header and description, and into the step that completes an asset.

use std::sync::Arc;

use mediahooks_database::{
    Asset, AssetChange, Change, Database, RecipePart, Run, Segment, SegmentReader, SegmentSpan,
};
use mediahooks_media::error::MuxError;
use mediahooks_media::sample::TrackConfig;
use mediahooks_media::webm;
use mediahooks_model::{
    AssetInput, AssetState, AssetType, CutMode, GapMode, Metadata, TargetFormat, TimelineId, Timestamp, chain,
};
use mediahooks_timeline::hindsight::{self, Hindsight};
use mediahooks_timeline::index::StoredIndex;
use mediahooks_timeline::movie::{
    self, BuiltFragments, BuiltMovie, Edits, Guide, MovieError, MovieSource, Narrowed, Needed, StoredSegment,
    Stretch,
};
use mediahooks_timeline::plan::Span;
use sha2::{Digest, Sha256};

use crate::error::RecorderError;
use crate::screen;
use crate::state::{Shared, Turn};

/// A file that is ready to be read.
pub(crate) struct PreparedFile {
    /// What file it is.
    pub format: TargetFormat,
    pub movie: BuiltMovie,
    /// How its playlist leads through it; of a file that has one.
    pub guide: Option<Arc<Guide>>,
    /// Where the segments are that the file's extents name by position.
    pub places: Vec<SegmentPlace>,
    /// A strong entity tag, in its quotes.
    pub etag: String,
}

impl PreparedFile {
    /// `source` is made of `loaded`; `narrowed`, where that is known, tells more of it.
    fn build(
        source: &MovieSource,
        narrowed: Option<Narrowed>,
        style: Style,
        loaded: &[LoadedPart],
    ) -> Result<Self, RecorderError> {
        let format = style.format(loaded);
        let mut places = Vec::with_capacity(loaded.iter().map(|loaded| loaded.places.len()).sum());
        loaded.iter().for_each(|loaded| places.extend_from_slice(&loaded.places));
        let etag = entity_tag(format, style, loaded);
        let (movie, guide) = match (format, narrowed) {
            (TargetFormat::Hls | TargetFormat::Fmp4, _) => {
                let BuiltFragments { mut movie, guide } = movie::build_fragments(source, style.edits())?;
                movie.metadata.format =
                    if format == TargetFormat::Hls { "HLS" } else { "Fragmented MPEG-4" }.into();
                movie.metadata.sizes = [(format.to_string(), movie.file.len())].into();
                // Only a playlist is led by it.
                (movie, (format == TargetFormat::Hls).then_some(guide))
            }
            (_, Some(narrowed)) => (narrowed.build(source)?, None),
            (_, None) => (movie::build(source)?, None),
        };
        Ok(Self { format, movie, guide, places, etag })
    }
}

/// Names the bytes by what they are made of, and by how: [`movie::LAYOUT`] is raised when other bytes are made
/// of the same.
fn entity_tag(format: TargetFormat, style: Style, loaded: &[LoadedPart]) -> String {
    let Style { gaps, cut, created, .. } = style;
    let (gaps, cut, created) = (gaps.as_str(), cut.as_str(), created.as_seconds());
    let mut digest = Sha256::new();
    digest.update(format!("{format} {} {gaps} {cut} {created}", movie::LAYOUT));
    for LoadedPart { part, .. } in loaded {
        let RecipePart { timeline, run, first, last, start_us, stop_us, late_us } = part;
        digest.update(format!("\n{timeline} {run} {first} {last:?} {start_us:?} {stop_us:?} {late_us}"));
    }
    format!("\"{}\"", hex::encode(&digest.finalize()[..16]))
}

/// Where a stored segment is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentPlace {
    pub timeline: TimelineId,
    pub chunk: u32,
    /// Where in the chunk file it begins, in bytes.
    pub offset: u64,
}

/// How a file is made of its media.
#[derive(Debug, Clone, Copy)]
struct Style {
    gaps: GapMode,
    cut: CutMode,
    /// Absent: what suits the codecs.
    format: Option<TargetFormat>,
    created: Timestamp,
}

impl Style {
    /// Where the file is cut. A playlist begins where decoding can: players do not hide what comes before.
    fn cut(&self) -> CutMode {
        if shows_all(self.cut, self.format) { CutMode::Keyframe } else { self.cut }
    }

    /// What a fragmented file hides of what it holds.
    fn edits(&self) -> Edits {
        match (self.format, self.cut) {
            (Some(TargetFormat::Hls), _) => Edits::Absent,
            (_, CutMode::Frame) => Edits::Hiding,
            (_, CutMode::Keyframe) => Edits::Whole,
        }
    }

    /// What file it becomes of `loaded`.
    fn format(&self, loaded: &[LoadedPart]) -> TargetFormat {
        let tracks = loaded.iter().flat_map(|loaded| loaded.tracks());
        let suited = || if webm::suits(tracks) { TargetFormat::Webm } else { TargetFormat::Mp4 };
        self.format.unwrap_or_else(suited)
    }
}

/// Whether a file shows all that it holds: also pictures that are stored before the last one of its range and shown after
/// it, and so those in between.
pub(crate) fn shows_all(cut: CutMode, format: Option<TargetFormat>) -> bool {
    cut == CutMode::Keyframe || format == Some(TargetFormat::Hls)
}

/// A part of a recipe with what is kept of the segments that it names.
struct LoadedPart {
    part: RecipePart,
    run: Run,
    /// Until a source is made of them.
    segments: Vec<StoredSegment>,
    places: Vec<SegmentPlace>,
}

impl LoadedPart {
    /// The run's tracks as they were known when the last of the segments was stored: what becomes known later
    /// changes no file.
    fn tracks(&self) -> &[TrackConfig] {
        self.run.tracks_at(self.part.last.unwrap_or(u64::MAX))
    }
}

/// Builds the file of an asset whose recipe is closed.
pub(crate) async fn prepare(
    database: &Database,
    asset: &Asset,
    turn: Turn,
) -> Result<PreparedFile, RecorderError> {
    let style = style(asset);
    with_loaded(database, &asset.recipe, turn, move |mut loaded| {
        PreparedFile::build(&source(&mut loaded, style), None, style, &loaded)
    })
    .await
}

fn style(asset: &Asset) -> Style {
    // What is complete stays the file that it is: a track that came later may have codecs of its own.
    let kept = match &asset.state {
        AssetState::Complete { metadata } => metadata.file_format(),
        _ => None,
    };
    Style { gaps: asset.gaps, cut: asset.cut, format: kept.or(asset.target_format), created: asset.created }
}

/// The step that completes `asset` with what `recipe`, which is closed, holds. An asset without
/// media that can be shown fails instead.
///
/// Errors: [`RecorderError`] when this should be tried again later.
pub(crate) async fn finish(
    shared: &Shared,
    asset: &Asset,
    recipe: Vec<RecipePart>,
) -> Result<Change, RecorderError> {
    match try_finish(shared, asset, recipe).await? {
        Some(step) => Ok(step),
        None => failed(shared, asset, "No media that can be played was received.").await,
    }
}

/// Why an asset fails of whose segments something cannot be read any more.
pub(crate) const DAMAGED: &str = "The media cannot be found any more: what the server has noted of it is damaged. Its operator can run `mediahooks check`.";

/// As [`finish`], but `None` when there is nothing to show.
pub(crate) async fn try_finish(
    shared: &Shared,
    asset: &Asset,
    recipe: Vec<RecipePart>,
) -> Result<Option<Change>, RecorderError> {
    if recipe.is_empty() {
        return Ok(None);
    }
    let finished = match asset.asset_type {
        AssetType::Timeline => summarise(shared, &recipe).await.map(|metadata| (metadata, recipe)),
        _ => narrow(shared, &recipe, style(asset)).await.map(|(prepared, recipe)| {
            let metadata = prepared.movie.metadata.clone();
            if asset.asset_type == AssetType::Clip {
                // Who asked for it fetches it next.
                shared.files.keep(asset.id, Arc::new(prepared));
            }
            (metadata, recipe)
        }),
    };
    match finished {
        Ok((metadata, recipe)) => completed(shared, asset, metadata, recipe).await.map(Some),
        Err(RecorderError::Movie(MovieError::Empty)) => Ok(None),
        Err(RecorderError::SegmentsMissing) => {
            failed(shared, asset, "The media is no longer stored: its timeline expired.").await.map(Some)
        }
        Err(error) if error.is_damage() => {
            tracing::error!(asset = %asset.id, error = chain(&error), "an asset cannot be built; run `mediahooks check`");
            failed(shared, asset, DAMAGED).await.map(Some)
        }
        Err(RecorderError::Movie(MovieError::Mux(error @ MuxError::NotInWebm { .. }))) => {
            failed(shared, asset, &format!("The clip was asked for as WebM. {error}.")).await.map(Some)
        }
        Err(error @ (RecorderError::Index(_) | RecorderError::Movie(_) | RecorderError::Mux(_))) => {
            tracing::error!(asset = %asset.id, error = chain(&error), "an asset cannot be built");
            failed(shared, asset, "The media cannot be written as a file.").await.map(Some)
        }
        Err(error) => Err(error),
    }
}

/// Builds the file from just those segments that it needs, so that it will come out the same whenever it is
/// built again.
async fn narrow(
    shared: &Shared,
    recipe: &[RecipePart],
    style: Style,
) -> Result<(PreparedFile, Vec<RecipePart>), RecorderError> {
    let turn = shared.finishing.take(segments(recipe)).await;
    with_loaded(&shared.database, recipe, turn, move |mut loaded| {
        let mut source = source(&mut loaded, style);
        let narrowed = movie::narrow(&mut source)?;
        loaded = trim(loaded, &narrowed.needed);
        for (stretch, loaded) in source.stretches.iter().zip(&mut loaded) {
            loaded.part.late_us = stretch.late_us;
        }
        // Without its last segments less may be known of a run's tracks.
        let mut is_known_less = false;
        for (stretch, loaded) in source.stretches.iter_mut().zip(&loaded) {
            if stretch.tracks != loaded.tracks() {
                stretch.tracks = loaded.tracks().to_vec();
                is_known_less = true;
            }
        }
        let narrowed = Some(narrowed).filter(|_| !is_known_less);
        let prepared = PreparedFile::build(&source, narrowed, style, &loaded)?;
        Ok((prepared, loaded.into_iter().map(|loaded| loaded.part).collect()))
    })
    .await
}

/// Takes out what is not needed.
fn trim(loaded: Vec<LoadedPart>, needed: &[Needed]) -> Vec<LoadedPart> {
    let mut kept = Vec::with_capacity(needed.len());
    for (number, mut loaded) in loaded.into_iter().enumerate() {
        let Some(needed) = needed.iter().find(|needed| needed.stretch == number) else { continue };
        let (first, last) = (needed.first_segment, needed.last_segment);
        loaded.places.truncate(last + 1);
        loaded.places.drain(..first);
        let from = loaded.part.first;
        (loaded.part.first, loaded.part.last) = (from + first as u64, Some(from + last as u64));
        kept.push(loaded);
    }
    kept
}

/// How many segments a recipe names.
pub(crate) fn segments(recipe: &[RecipePart]) -> u64 {
    let of_part =
        |part: &RecipePart| part.last.map_or(0, |last| last.saturating_sub(part.first).saturating_add(1));
    recipe.iter().map(of_part).fold(0, u64::saturating_add)
}

/// Reads what a recipe names, and computes something of it.
async fn with_loaded<T: Send + 'static>(
    database: &Database,
    recipe: &[RecipePart],
    turn: Turn,
    work: impl FnOnce(Vec<LoadedPart>) -> Result<T, RecorderError> + Send + 'static,
) -> Result<T, RecorderError> {
    let mut parts = Vec::with_capacity(recipe.len());
    for part in recipe {
        let run = database.run(part.timeline, part.run).await?.ok_or(RecorderError::SegmentsMissing)?;
        parts.push((part.clone(), run));
    }
    let reader = database.segment_reader().await?;
    compute(turn, move || {
        let loaded = load(&reader, parts)?;
        drop(reader);
        work(loaded)
    })
    .await
}

/// Reads what a recipe names and checks that nothing of it is missing.
fn load(reader: &SegmentReader, parts: Vec<(RecipePart, Run)>) -> Result<Vec<LoadedPart>, RecorderError> {
    let mut loaded = Vec::with_capacity(parts.len());
    for (part, run) in parts {
        let (first, last) = (part.first, part.last.ok_or(RecorderError::SegmentsMissing)?);
        let mut found = Loading { next: first, ..Loading::default() };
        reader.each(part.timeline, (first, last), |segment| found.add(part.run, segment))?;
        found.look_back(part.run, &behind(reader, part.timeline, last)?);
        let Loading { begin, next, has_hole, segments, places, .. } = found;
        let reaches = begin == Some(first) && next == last.saturating_add(1);
        match (reaches, has_hole) {
            (true, false) => loaded.push(LoadedPart { part, run, segments, places }),
            // What expires goes from an end.
            (true, true) => return Err(RecorderError::SegmentsLost),
            (false, _) => return Err(RecorderError::SegmentsMissing),
        }
    }
    if loaded.is_empty() { Err(RecorderError::SegmentsMissing) } else { Ok(loaded) }
}

/// How many segments are read at a time of those behind a part: of a minute and a half, mostly.
const BEHIND: u64 = 128;

/// The segments behind segment `last` that may tell of its times.
fn behind(
    reader: &SegmentReader,
    timeline: TimelineId,
    last: u64,
) -> Result<Vec<SegmentSpan>, RecorderError> {
    let mut behind: Vec<SegmentSpan> = Vec::new();
    loop {
        let after = behind.last().map_or(last, |last| last.sequence);
        let range = (after.saturating_add(1), after.saturating_add(BEHIND));
        let found = reader.readable_spans(timeline, range)?;
        let is_all = (found.len() as u64) < BEHIND;
        behind.extend(found);
        let reaches = |(first, last): (&SegmentSpan, &SegmentSpan)| {
            last.run != first.run
                || last.media_end_us.saturating_sub(first.media_start_us) >= hindsight::REACH_US
        };
        if is_all || behind.first().zip(behind.last()).is_some_and(reaches) {
            return Ok(behind);
        }
    }
}

/// What was read of the segments of a part.
#[derive(Default)]
struct Loading {
    /// Number of the first one.
    begin: Option<u64>,
    /// What the next one should be.
    next: u64,
    /// Whether one is missing, or is of another run.
    has_hole: bool,
    segments: Vec<StoredSegment>,
    places: Vec<SegmentPlace>,
    /// Of each segment, when it begins and ends, in microseconds of the run's media clock.
    times_us: Vec<(i64, i64)>,
}

impl Loading {
    fn add(&mut self, run: u32, segment: Segment) {
        let Segment { timeline, sequence, chunk, offset, wall_offset_us, index, .. } = segment;
        let Segment { media_start_us, media_end_us, .. } = segment;
        self.has_hole |= sequence != self.next || segment.run != run;
        self.begin.get_or_insert(sequence);
        self.next = sequence.saturating_add(1);
        self.times_us.push((media_start_us, media_end_us));
        self.segments.push(StoredSegment { wall_offset_us, late_us: 0, index: StoredIndex(index) });
        self.places.push(SegmentPlace { timeline, chunk, offset });
    }

    /// Notes by how much the times of the segments, which are of `run`, are late, as they show themselves and those
    /// `behind` them do.
    fn look_back(&mut self, run: u32, behind: &[SegmentSpan]) {
        let mut hindsight = Hindsight::default();
        for segment in behind.iter().rev() {
            hindsight.late_us(&screen::span_of(segment));
        }
        let numbers = (0..self.next).rev();
        for ((segment, times_us), sequence) in self.segments.iter_mut().zip(&self.times_us).rev().zip(numbers)
        {
            let ((media_start_us, media_end_us), wall_offset_us) = (*times_us, segment.wall_offset_us);
            segment.late_us =
                hindsight.late_us(&Span { sequence, run, media_start_us, media_end_us, wall_offset_us });
        }
    }
}

/// Makes the source of what was loaded, and takes the sample tables from there.
fn source(loaded: &mut [LoadedPart], style: Style) -> MovieSource {
    let format = style.format(loaded);
    let stretch = |loaded: &mut LoadedPart| Stretch {
        timeline: loaded.part.timeline,
        tracks: loaded.tracks().to_vec(),
        segments: std::mem::take(&mut loaded.segments),
        start_us: loaded.part.start_us,
        stop_us: loaded.part.stop_us,
        late_us: loaded.part.late_us,
    };
    MovieSource {
        stretches: loaded.iter_mut().map(stretch).collect(),
        hold_gaps: style.gaps == GapMode::Hold,
        cut: style.cut(),
        format,
        created: style.created,
    }
}

/// Runs a computation over a long index where it holds nothing else up. It goes on where nobody waits for it any
/// more, and so does its turn.
pub(crate) async fn compute<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> Result<T, RecorderError> + Send + 'static,
) -> Result<T, RecorderError> {
    match turn.spawn(work).await {
        Ok(result) => result,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(mediahooks_storage::StorageError::ShuttingDown.into()),
        },
    }
}

/// What a timeline is: nobody downloads it as a file, so its index is not read for this.
async fn summarise(shared: &Shared, recipe: &[RecipePart]) -> Result<Metadata, RecorderError> {
    let recipe = recipe.first().ok_or(RecorderError::SegmentsMissing)?;
    let mut segments = shared.database.segment_spans(recipe.timeline, recipe.first, recipe.last).await?;
    screen::correct(&mut segments);
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return Err(RecorderError::SegmentsMissing);
    };
    let end_us = recipe.stop_us.unwrap_or(last.media_end_us);
    let duration_ms = u64::try_from((end_us - first.media_start_us) / 1000).unwrap_or(0);
    Ok(Metadata {
        format: "CMAF".into(),
        duration: (duration_ms + 500) / 1000,
        duration_ms: Some(duration_ms),
        start_time: Some(first.wall_start()),
        stop_time: Some(Timestamp::from_micros(end_us.saturating_add(last.wall_offset_us))),
        ..Metadata::default()
    })
}

async fn completed(
    shared: &Shared,
    asset: &Asset,
    metadata: Metadata,
    recipe: Vec<RecipePart>,
) -> Result<Change, RecorderError> {
    // A clip shows the range that was asked for; its metadata tells the exact one.
    let stop_time = if asset.asset_type == AssetType::Clip { None } else { metadata.stop_time };
    let expiration = match (asset.asset_type, stop_time) {
        (AssetType::Recording, Some(stopped)) => {
            shared.database.expiration_rules().await?.expiration(AssetType::Recording, stopped)
        }
        _ => None,
    };
    Ok(Change::StepAsset(Box::new(AssetChange {
        id: asset.id,
        input: AssetInput::Finish { metadata: Box::new(metadata) },
        recipe: Some(recipe),
        stop_time,
        expiration,
    })))
}

/// The step with which an asset fails, for a reason that its user reads.
pub(crate) async fn failed(shared: &Shared, asset: &Asset, reason: &str) -> Result<Change, RecorderError> {
    // A failed recording is kept as long as one that succeeded.
    let rules = shared.database.expiration_rules().await?;
    let rule = rules.expiration(AssetType::Recording, shared.now());
    // A clip that failed is never read, and in no list that people look at: it holds no media. What is damaged is left to
    // who repairs it.
    let holds_none = asset.asset_type == AssetType::Clip && reason != DAMAGED;
    Ok(Change::StepAsset(Box::new(AssetChange {
        id: asset.id,
        input: AssetInput::Fail { reason: reason.to_owned() },
        recipe: holds_none.then(Vec::new),
        stop_time: None,
        expiration: rule.filter(|_| asset.asset_type == AssetType::Recording),
    })))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::state::Turns;

    #[tokio::test]
    async fn a_computation_that_nobody_waits_for_keeps_its_turn() {
        let turns = Turns::new(1);
        let (begun, begins) = mpsc::channel();
        let (stop, stops) = mpsc::channel::<()>();
        let work = move || {
            begun.send(()).unwrap();
            let _ = stops.recv();
            Ok(())
        };
        let waiting = tokio::spawn(compute(turns.take_short().await, work));
        tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(turns.left(), 0);
        drop(stop);
        turns.take_short().await;
    }
}
