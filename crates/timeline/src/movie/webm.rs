//! Lays out a WebM file: a cluster per segment, and which samples it holds.
//!
//! Fed with pieces that were cut on key frames, because a WebM shows all it holds. What always holds: a cluster
//! has the same blocks whenever they are asked for, worked out from the stored sample table alone; those of
//! one track follow one another in time.

use std::ops::Range;
use std::sync::Arc;

use mediahooks_media::mp4::Column;
use mediahooks_media::sample::{SampleInfo, TrackKind};
use mediahooks_media::virtual_file::{Extent, PieceError};
use mediahooks_media::webm::{self, Block, CLUSTER_MS_MAX, Cluster, Clusters, Cue, VirtualWebm, WebmInfo};

use super::cut::{self, TrackCut};
use super::join::Joined;
use super::table::{self, Span, Tables};
use super::{MovieError, MovieSource, Stretch};
use crate::index::{IndexError, StoredIndex, TrackSummary};

/// Lays out the file of `joined`. Samples are read only of segments that the file has a part of, or that last
/// longer than a cluster may.
///
/// Errors: those of [`webm::layout`]; [`MovieError::Index`].
pub(super) fn layout(
    source: &MovieSource,
    tables: &[Tables],
    joined: &Joined,
    info: WebmInfo,
) -> Result<VirtualWebm, MovieError> {
    let mut plan = Plan::default();
    let mut segment = 0;
    for (number, (stretch, tables)) in source.stretches.iter().zip(tables).enumerate() {
        let parts: Arc<[Part]> = parts(joined, number, stretch).into();
        let mut spans: Vec<&[Span]> = parts.iter().map(|part| spans_of(tables, part)).collect();
        for (position, stored) in stretch.segments.iter().enumerate() {
            let index = stored.index.clone();
            let table = Table { parts: Arc::clone(&parts), position, segment, index };
            let found: Vec<Option<&Span>> = spans.iter_mut().map(|spans| next_at(spans, position)).collect();
            plan.push(table, &found)?;
            segment += 1;
        }
    }
    let tracks: Vec<&[_]> = joined.tracks.iter().map(|track| track.configs.as_slice()).collect();
    Ok(webm::layout(info, &tracks, &plan.numbers, Arc::new(plan.stored))?)
}

/// What a track of the file has of one stretch.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Position of the track in the file.
    track: usize,
    kind: TrackKind,
    cut: TrackCut,
    timescale: u32,
    /// When the first sample held is shown, in microseconds of the file's clock.
    at_us: i64,
}

impl Part {
    /// When a sample is shown, in milliseconds of the file's clock.
    fn ms(&self, pts: i64) -> u64 {
        let timescale = self.timescale.max(1);
        let ticks = i128::from(pts) - i128::from(self.cut.shown_start_pts);
        // This is asked for every sample, and dividing 128 bits costs several times as much.
        let shown_us = match i64::try_from(ticks * 1_000_000) {
            Ok(short) => i128::from(short / i64::from(timescale)),
            Err(_) => ticks * 1_000_000 / i128::from(timescale),
        };
        let us = i128::from(self.at_us) + shown_us + 500;
        let ms = i64::try_from(us).map_or_else(|_| us.div_euclid(1000), |us| us.div_euclid(1000).into());
        u64::try_from(ms).unwrap_or(0)
    }

    /// Position of the track in the run, as indexes have it.
    fn run_track(&self) -> u32 {
        table::run_track(self.cut.track)
    }
}

/// What the tracks of the file have of stretch `number`.
fn parts(joined: &Joined, number: usize, stretch: &Stretch) -> Vec<Part> {
    let mut parts = Vec::new();
    for (track, of_file) in joined.tracks.iter().enumerate() {
        let Some(part) = of_file.parts.iter().find(|part| part.stretch == number) else { continue };
        let Some(config) = stretch.tracks.get(part.cut.track) else { continue };
        parts.push(Part {
            track,
            kind: config.kind,
            cut: part.cut,
            timescale: config.timescale,
            at_us: cut::to_us(part.at).saturating_add(webm::codec_delay_us(&config.codec)),
        });
    }
    parts
}

fn spans_of<'a>(tables: &'a Tables, part: &Part) -> &'a [Span] {
    tables.tracks.get(part.cut.track).map_or(&[], Vec::as_slice)
}

/// Takes what comes before `position` off the front and returns what is there.
fn next_at<'a>(spans: &mut &'a [Span], position: usize) -> Option<&'a Span> {
    while let Some((first, rest)) = spans.split_first().filter(|(first, _)| first.segment <= position) {
        *spans = rest;
        if first.segment == position {
            return Some(first);
        }
    }
    None
}

/// A stored segment, and what the file has of it.
#[derive(Debug)]
struct Table {
    parts: Arc<[Part]>,
    /// Position in its stretch.
    position: usize,
    /// Position among the segments of all stretches.
    segment: u32,
    index: StoredIndex,
}

impl Table {
    /// The samples that the file has, in the order in which they are shown.
    fn blocks(&self) -> Result<Vec<Block>, IndexError> {
        let mut blocks = Vec::new();
        let mut summaries = Vec::with_capacity(self.parts.len());
        self.index.summaries(|summary| summaries.push(summary))?;
        for part in self.parts.iter() {
            let Some(summary) = summaries.iter().find(|summary| summary.track == part.run_track()) else {
                continue;
            };
            let samples = self.index.samples(summary.track)?;
            let Some(kept) = part.cut.kept(self.position, samples.len()) else { continue };
            self.append(&mut blocks, part, summary, &samples, kept);
        }
        blocks.sort_by_key(|block| block.time_ms);
        Ok(blocks)
    }

    fn append(
        &self,
        blocks: &mut Vec<Block>,
        part: &Part,
        summary: &TrackSummary,
        samples: &[SampleInfo],
        kept: Range<usize>,
    ) {
        let (mut offset, mut shown_ms) = (u64::from(summary.data_offset), 0);
        let mut dts = summary.base_dts.0;
        for (number, sample) in samples.iter().enumerate() {
            let len = u64::from(sample.size);
            if kept.contains(&number) {
                // None of these codecs is stored out of order.
                shown_ms = part.ms(dts.saturating_add(sample.cts_offset.into())).max(shown_ms);
                blocks.push(Block {
                    track: part.track,
                    time_ms: shown_ms,
                    is_sync: sample.is_sync,
                    sample: Extent { source: self.segment, offset, len },
                });
            }
            offset += len;
            dts = dts.saturating_add(sample.duration.into());
        }
    }

    /// The cluster of a segment of which the file has every sample, from the summaries of its tracks alone.
    /// `None` where more has to be known.
    fn whole(&self, spans: &[Option<&Span>]) -> Result<Option<Cluster>, IndexError> {
        let mut cluster = Cluster { time_ms: u64::MAX, blocks: 0, bytes: 0, cue: None };
        let mut ends_ms = 0;
        for (part, span) in self.parts.iter().zip(spans) {
            let Some(span) = span else { continue };
            let count = span.samples as usize;
            match part.cut.kept(self.position, count) {
                None => continue,
                Some(kept) if kept == (0..count) && !span.is_changed() => {}
                Some(_) => return Ok(None),
            }
            let begins_ms = part.ms(span.pts_min());
            cluster.time_ms = cluster.time_ms.min(begins_ms);
            cluster.blocks += u64::from(span.samples);
            cluster.bytes += span.bytes;
            ends_ms = ends_ms.max(part.ms(span.pts_max()));
            if self.opens(part) && self.begins_with_sync(part, span)? {
                cluster.cue = Some(Cue { track: part.track, time_ms: begins_ms });
            }
        }
        let fits = cluster.blocks > 0 && ends_ms.saturating_sub(cluster.time_ms) <= CLUSTER_MS_MAX;
        Ok(fits.then_some(cluster))
    }

    /// Whether players begin in a cluster by this track: by the pictures, where this part of the file has any.
    fn opens(&self, part: &Part) -> bool {
        part.kind == TrackKind::Video || self.parts.iter().all(|part| part.kind != TrackKind::Video)
    }

    /// Where players may begin in a cluster: on its first picture, or without pictures on its first sound, if
    /// that can be decoded alone.
    fn cue(&self, blocks: &[Block]) -> Option<Cue> {
        let opening = self.parts.iter().find(|part| self.opens(part))?;
        let first = blocks.iter().find(|block| block.track == opening.track)?;
        first.is_sync.then_some(Cue { track: first.track, time_ms: first.time_ms })
    }

    fn begins_with_sync(&self, part: &Part, span: &Span) -> Result<bool, IndexError> {
        if !span.has_sync() || span.sync_samples == span.samples {
            return Ok(span.has_sync());
        }
        let mut flags = Vec::new();
        self.index.column(part.run_track(), Column::Sync, &mut flags)?;
        Ok(flags.first() == Some(&1))
    }
}

/// What a file is laid out from.
#[derive(Debug, Default)]
struct Plan {
    numbers: Vec<Cluster>,
    stored: Stored,
}

impl Plan {
    /// Adds the clusters of a segment: one, but for a segment that lasts longer than a cluster may. `spans`: what
    /// is known of each part's samples in it.
    fn push(&mut self, table: Table, spans: &[Option<&Span>]) -> Result<(), IndexError> {
        let number = self.stored.tables.len();
        let before = self.numbers.len();
        if let Some(cluster) = table.whole(spans)? {
            self.stored.clusters.push((number, 0..usize::MAX));
            self.numbers.push(cluster);
        } else {
            let blocks = table.blocks()?;
            let mut from = 0;
            while let Some(first) = blocks.get(from) {
                let late = |block: &Block| block.time_ms - first.time_ms > CLUSTER_MS_MAX;
                let to = blocks[from..].iter().position(late).map_or(blocks.len(), |held| from + held);
                let held = &blocks[from..to];
                self.numbers.push(Cluster {
                    time_ms: first.time_ms,
                    blocks: held.len() as u64,
                    bytes: held.iter().map(|block| block.sample.len).sum(),
                    cue: table.cue(held),
                });
                self.stored.clusters.push((number, from..to));
                from = to;
            }
        }
        if self.numbers.len() > before {
            self.stored.weight += table.index.0.len() + size_of::<Table>();
            self.stored.tables.push(table);
        }
        Ok(())
    }
}

/// The sample tables that a file's clusters are made of, as they are stored.
#[derive(Debug, Default)]
struct Stored {
    tables: Vec<Table>,
    /// Of each cluster: its segment, by position in `tables`, and which of the blocks of that.
    clusters: Vec<(usize, Range<usize>)>,
    /// Bytes of the tables.
    weight: usize,
}

impl Clusters for Stored {
    fn blocks(&self, cluster: usize) -> Result<Vec<Block>, PieceError> {
        let damaged = |reason: String| PieceError { reason };
        let missing = || damaged(format!("the file has no cluster {cluster}"));
        let (table, range) = self.clusters.get(cluster).ok_or_else(missing)?;
        let table = self.tables.get(*table).ok_or_else(missing)?;
        let mut blocks = table.blocks().map_err(|error| damaged(error.to_string()))?;
        blocks.truncate(range.end);
        blocks.drain(..range.start.min(blocks.len()));
        Ok(blocks)
    }

    fn weight(&self) -> usize {
        self.weight + self.clusters.len() * size_of::<(usize, Range<usize>)>()
    }
}
