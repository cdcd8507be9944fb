//! The offline verifier: does every row point at bytes that are there and are what the row says?
//!
//! Reads only. Run it on the data directory of a stopped server, or on a copy.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mediahooks_database::{Database, RecipePart, Segment};
use mediahooks_media::cmaf::parse_fragment;
use mediahooks_model::{AssetState, AssetType, MediaAssetId, TimelineId, chain};
use mediahooks_storage::{ChunkReader, DiskStorage};
use mediahooks_timeline::index::SegmentIndex;

use crate::error::RecorderError;
use crate::finish;
use crate::state::Turns;

/// Rows read at a time.
const PAGE: u32 = 500;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// Segments whose bytes were read and parsed.
    pub segments: u64,
    /// Bytes of these segments.
    pub bytes: u64,
    /// Complete recordings and clips whose files were laid out.
    pub files: u64,
    /// What is wrong, one sentence each.
    pub problems: Vec<String>,
    /// What is worth knowing but wrong with nothing: it is tidied when the server starts.
    pub notes: Vec<String>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_well(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks a database against the storage that belongs to it. `progress` is told how many of how many
/// segments have been read.
///
/// Errors: [`RecorderError`] when the database itself cannot be read.
pub async fn check(
    database: &Database,
    storage: &DiskStorage,
    progress: impl FnMut(u64, u64),
) -> Result<CheckReport, RecorderError> {
    let mut check = Check { database, storage, report: CheckReport::default(), open: None };
    check.report.problems = database.check_index().await?;
    let recipes = check.recipes().await?;
    check.segments(&recipes, progress).await?;
    check.files(&recipes).await?;
    check.chunk_files().await?;
    Ok(check.report)
}

type Recipes = HashMap<TimelineId, Vec<(MediaAssetId, RecipePart)>>;

struct Check<'a> {
    database: &'a Database,
    storage: &'a DiskStorage,
    report: CheckReport,
    open: Option<(TimelineId, u32, ChunkReader)>,
}

impl Check<'_> {
    fn problem(&mut self, what: impl Into<String>) {
        self.report.problems.push(what.into());
    }

    async fn recipes(&self) -> Result<Recipes, RecorderError> {
        let mut recipes = Recipes::new();
        let mut after = None;
        loop {
            let page = self.database.recipe_parts_after(after, PAGE).await?;
            let Some((last, number, _)) = page.last() else { return Ok(recipes) };
            after = Some((*last, *number));
            for (asset, _, part) in page {
                recipes.entry(part.timeline).or_default().push((asset, part));
            }
        }
    }

    async fn segments(
        &mut self,
        recipes: &Recipes,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(), RecorderError> {
        let total = self.database.segment_count().await?;
        let held: HashMap<TimelineId, Vec<(u64, u64)>> =
            recipes.iter().map(|(timeline, parts)| (*timeline, held_by(parts))).collect();
        let mut after = None;
        loop {
            let page = self.database.segments_after(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some((last.timeline, last.sequence));
            for segment in &page {
                self.segment(segment).await;
                if !is_referred_to(segment, &held) {
                    let (timeline, sequence) = (segment.timeline, segment.sequence);
                    self.problem(format!(
                        "segment {sequence} of timeline {timeline} is referred to by no asset"
                    ));
                }
            }
            progress(self.report.segments, total);
        }
    }

    async fn segment(&mut self, segment: &Segment) {
        let name = format!("segment {} of timeline {}", segment.sequence, segment.timeline);
        self.report.segments += 1;
        self.report.bytes += segment.len;
        match self.read(segment).await {
            Err(error) => self.problem(format!("{name} cannot be read: {}", chain(&error))),
            Ok(bytes) => {
                if let Err(reason) = compare(segment, &bytes) {
                    self.problem(format!("{name} is not what its row says: {reason}"));
                }
            }
        }
    }

    async fn read(&mut self, segment: &Segment) -> Result<bytes::Bytes, RecorderError> {
        let (timeline, chunk) = (segment.timeline, segment.chunk);
        let reader = match &self.open {
            Some((of, number, reader)) if (*of, *number) == (timeline, chunk) => reader.clone(),
            _ => self.storage.open_chunk(timeline, chunk).await?,
        };
        self.open = Some((timeline, chunk, reader.clone()));
        let len = usize::try_from(segment.len).map_err(|_| RecorderError::SegmentsMissing)?;
        Ok(reader.read(segment.offset, len).await?)
    }

    async fn files(&mut self, recipes: &Recipes) -> Result<(), RecorderError> {
        let ordered: BTreeSet<MediaAssetId> = recipes.values().flatten().map(|(asset, _)| *asset).collect();
        let turns = Turns::new(1);
        for id in ordered {
            let Some(asset) = self.database.asset(id).await? else {
                self.problem(format!("a recipe belongs to asset {id}, which does not exist"));
                continue;
            };
            let is_file = matches!(asset.asset_type, AssetType::Recording | AssetType::Clip);
            let AssetState::Complete { metadata } = &asset.state else { continue };
            if !is_file {
                continue;
            }
            self.report.files += 1;
            match finish::prepare(self.database, &asset, turns.take_short().await).await {
                Err(error) => {
                    self.problem(format!("the file of asset {id} cannot be built: {}", chain(&error)))
                }
                Ok(prepared)
                    if metadata.sizes.get(prepared.format.as_str()) != Some(&prepared.movie.file.len()) =>
                {
                    let len = prepared.movie.file.len();
                    self.problem(format!(
                        "the file of asset {id} has {len} bytes, its metadata says otherwise"
                    ));
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    async fn chunk_files(&mut self) -> Result<(), RecorderError> {
        let extents = self.database.chunk_extents().await?;
        let mut ends: BTreeMap<(TimelineId, u32), u64> =
            extents.into_iter().map(|extent| ((extent.timeline, extent.chunk), extent.end)).collect();
        for file in self.storage.chunk_files().await? {
            let name = self.storage.chunk_path(file.timeline, file.chunk);
            match ends.remove(&(file.timeline, file.chunk)) {
                None => self.report.notes.push(format!("{} is known to no row", name.display())),
                Some(end) if file.bytes_behind(end) > 0 => {
                    let more = file.bytes_behind(end);
                    self.report
                        .notes
                        .push(format!("{} has {more} bytes behind its last row", name.display()));
                }
                Some(_) => {}
            }
        }
        for ((timeline, chunk), _) in ends {
            let name = self.storage.chunk_path(timeline, chunk);
            self.problem(format!("{} is missing", name.display()));
        }
        Ok(())
    }
}

/// The segments that any of the parts holds, as ranges that do not touch, in order.
fn held_by(parts: &[(MediaAssetId, RecipePart)]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> =
        parts.iter().map(|(_, part)| (part.first, part.last.unwrap_or(u64::MAX))).collect();
    ranges.sort_unstable();
    let mut held: Vec<(u64, u64)> = Vec::new();
    for (first, last) in ranges {
        match held.last_mut() {
            Some((_, until)) if first <= until.saturating_add(1) => *until = last.max(*until),
            _ => held.push((first, last)),
        }
    }
    held
}

fn is_referred_to(segment: &Segment, held: &HashMap<TimelineId, Vec<(u64, u64)>>) -> bool {
    let sequence = segment.sequence;
    held.get(&segment.timeline).is_some_and(|ranges| {
        let next = ranges.partition_point(|(first, _)| *first <= sequence);
        ranges[..next].last().is_some_and(|(_, last)| sequence <= *last)
    })
}

/// Compares the bytes of a segment with its sample table.
fn compare(segment: &Segment, bytes: &[u8]) -> Result<(), String> {
    let index = SegmentIndex::decode(&segment.index).map_err(|error| error.to_string())?;
    let parsed = parse_fragment(bytes).map_err(|error| error.to_string())?;
    if index.tracks.len() != parsed.tracks.len() {
        return Err(format!("{} tracks instead of {}", parsed.tracks.len(), index.tracks.len()));
    }
    for (row, stored) in index.tracks.iter().zip(&parsed.tracks) {
        let same = row.track + 1 == stored.track_id
            && row.base_dts == stored.base_dts
            && u64::from(row.data_offset) == stored.data_offset
            && row.samples == stored.samples;
        if !same {
            return Err(format!("the samples of track {} differ", stored.track_id));
        }
    }
    Ok(())
}
