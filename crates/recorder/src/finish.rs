//! Turns a recipe into a file's header and description, and into the step that completes an asset.

use mediahooks_database::{Asset, AssetChange, Change, Database, Recipe, Run, Segment};
use mediahooks_model::{AssetInput, AssetType, Metadata, Timestamp};
use mediahooks_timeline::index::SegmentIndex;
use mediahooks_timeline::movie::{self, BuiltMovie, MovieError, MovieSource, StoredSegment};

use crate::error::RecorderError;
use crate::state::Shared;

/// A file that is ready to be read.
pub(crate) struct PreparedFile {
    pub movie: BuiltMovie,
    /// The segments that the file's extents name by position.
    pub segments: Vec<Segment>,
}

/// Builds the file of a closed recipe.
pub(crate) async fn prepare(
    database: &Database,
    recipe: &Recipe,
    created: Timestamp,
) -> Result<PreparedFile, RecorderError> {
    let (run, segments) = load(database, recipe).await?;
    let recipe = recipe.clone();
    compute(move || build(run, segments, &recipe, created)).await
}

/// The step that completes `asset` with what `recipe`, which is closed, holds. An asset without
/// media that can be shown fails instead.
///
/// Errors: [`RecorderError`] when this should be tried again later.
pub(crate) async fn finish(shared: &Shared, asset: &Asset, recipe: Recipe) -> Result<Change, RecorderError> {
    match try_finish(shared, asset, recipe).await? {
        Some(step) => Ok(step),
        None => failed(shared, asset, "No media that can be played was received.").await,
    }
}

/// As [`finish`], but `None` when there is nothing to show.
pub(crate) async fn try_finish(
    shared: &Shared,
    asset: &Asset,
    recipe: Recipe,
) -> Result<Option<Change>, RecorderError> {
    let finished = match asset.asset_type {
        AssetType::Timeline => summarise(shared, &recipe).await.map(|metadata| (metadata, recipe)),
        _ => narrow(shared, &recipe, asset.created).await,
    };
    match finished {
        Ok((metadata, recipe)) => completed(shared, asset, metadata, recipe).await.map(Some),
        Err(RecorderError::Movie(MovieError::Empty)) => Ok(None),
        Err(RecorderError::SegmentsMissing) => {
            failed(shared, asset, "The media is no longer stored: its timeline expired.").await.map(Some)
        }
        Err(error @ (RecorderError::Index(_) | RecorderError::Movie(_) | RecorderError::Mux(_))) => {
            tracing::error!(asset = %asset.id, error = &error as &dyn std::error::Error, "an asset cannot be built");
            failed(shared, asset, "The media cannot be written as a file.").await.map(Some)
        }
        Err(error) => Err(error),
    }
}

/// Builds the file twice: to learn which segments it needs, and from just these, so that it will
/// come out the same whenever it is built again.
async fn narrow(
    shared: &Shared,
    recipe: &Recipe,
    created: Timestamp,
) -> Result<(Metadata, Recipe), RecorderError> {
    let (run, mut segments) = load(&shared.database, recipe).await?;
    let mut recipe = recipe.clone();
    compute(move || {
        let wide = build(run.clone(), segments.clone(), &recipe, created)?;
        let (first, last) = (wide.movie.first_segment, wide.movie.last_segment);
        if first == 0 && last + 1 == segments.len() {
            return Ok((wide.movie.metadata, recipe));
        }
        segments.truncate(last + 1);
        segments.drain(..first);
        (recipe.first, recipe.last) = (recipe.first + first as u64, Some(recipe.first + last as u64));
        let exact = build(run, segments, &recipe, created)?;
        Ok((exact.movie.metadata, recipe))
    })
    .await
}

/// Reads what a recipe names and checks that nothing of it is missing.
async fn load(database: &Database, recipe: &Recipe) -> Result<(Run, Vec<Segment>), RecorderError> {
    let last = recipe.last.ok_or(RecorderError::SegmentsMissing)?;
    let run = database.run(recipe.timeline, recipe.run).await?.ok_or(RecorderError::SegmentsMissing)?;
    let segments = database.segments(recipe.timeline, recipe.first, Some(last)).await?;
    let whole = (recipe.first..=last).eq(segments.iter().map(|segment| segment.sequence))
        && segments.iter().all(|segment| segment.run == recipe.run);
    if whole { Ok((run, segments)) } else { Err(RecorderError::SegmentsMissing) }
}

fn build(
    run: Run,
    segments: Vec<Segment>,
    recipe: &Recipe,
    created: Timestamp,
) -> Result<PreparedFile, RecorderError> {
    let stored = segments
        .iter()
        .map(|segment| {
            let index = SegmentIndex::decode(&segment.index)?;
            Ok(StoredSegment { wall_offset_us: segment.wall_offset_us, index })
        })
        .collect::<Result<Vec<_>, RecorderError>>()?;
    let source = MovieSource {
        tracks: run.tracks,
        segments: stored,
        start_us: recipe.start_us,
        stop_us: recipe.stop_us,
        created,
    };
    Ok(PreparedFile { movie: movie::build(source)?, segments })
}

/// Runs a computation over a long index where it holds nothing else up.
async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RecorderError> + Send + 'static,
) -> Result<T, RecorderError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(mediahooks_storage::StorageError::ShuttingDown.into()),
        },
    }
}

/// What a timeline is: nobody downloads it as a file, so its index is not read for this.
async fn summarise(shared: &Shared, recipe: &Recipe) -> Result<Metadata, RecorderError> {
    let segments = shared.database.segment_spans(recipe.timeline, recipe.first, recipe.last).await?;
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return Err(RecorderError::SegmentsMissing);
    };
    let duration_ms = u64::try_from((last.media_end_us - first.media_start_us) / 1000).unwrap_or(0);
    Ok(Metadata {
        format: "CMAF".into(),
        duration: (duration_ms + 500) / 1000,
        duration_ms: Some(duration_ms),
        start_time: Some(first.wall_start()),
        stop_time: Some(last.wall_end()),
        ..Metadata::default()
    })
}

async fn completed(
    shared: &Shared,
    asset: &Asset,
    metadata: Metadata,
    recipe: Recipe,
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

async fn failed(shared: &Shared, asset: &Asset, reason: &str) -> Result<Change, RecorderError> {
    // A failed recording is kept as long as one that succeeded.
    let rules = shared.database.expiration_rules().await?;
    let rule = rules.expiration(AssetType::Recording, shared.now());
    Ok(Change::StepAsset(Box::new(AssetChange {
        id: asset.id,
        input: AssetInput::Fail { reason: reason.to_owned() },
        recipe: None,
        stop_time: None,
        expiration: rule.filter(|_| asset.asset_type == AssetType::Recording),
    })))
}
