//! The sample tables of one track, kept in the form in which the file holds them.
//!
//! Fed sample by sample by [`super::MovieBuilder`]. Tables of runs grow by one entry per change, the others
//! by at most four bytes per sample, so eight hours at 60 frames per second stay near 40 MB at worst.

use crate::{
    boxes::{full_box, overflow},
    error::MuxError,
    sample::SampleInfo,
};

/// The tables of a track, and what can be told from them.
#[derive(Debug, Default)]
pub(super) struct SampleTables {
    count: u32,
    durations: Runs,
    offsets: Runs,
    any_negative_offset: bool,
    any_offset: bool,
    sizes: Vec<u8>,
    first_size: u32,
    sizes_differ: bool,
    /// `None` while all samples are sync samples.
    sync_samples: Option<Vec<u8>>,
    chunks: ChunkTable,
    media_duration: u64,
    composition_end: i64,
}

/// Where the chunk offsets of a track lie in the header, to be filled in once its length is known.
#[derive(Debug)]
pub(super) struct ChunkOffsets {
    position: usize,
    /// From the first byte of media in the file.
    offsets: Vec<u64>,
    wide: bool,
}

impl SampleTables {
    /// Adds the samples of one chunk, which begins at `offset` in the media of the file and is decoded
    /// with the track's `config`th configuration.
    pub(super) fn push_chunk(
        &mut self,
        offset: u64,
        config: usize,
        samples: &[SampleInfo],
    ) -> Result<(), MuxError> {
        let count = u64::from(self.count) + samples.len() as u64;
        let too_many = || overflow("sample count", count, u64::from(u32::MAX));
        u32::try_from(count).map_err(|_| too_many())?;
        let description = u32::try_from(config).unwrap_or(u32::MAX).saturating_add(1);
        self.chunks.push(offset, u32::try_from(samples.len()).map_err(|_| too_many())?, description);
        for sample in samples {
            self.push(sample);
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of samples.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Sum of all durations, in ticks of the track.
    pub(super) fn media_duration(&self) -> u64 {
        self.media_duration
    }

    /// The latest time at which a sample ends on screen, in ticks of the track.
    pub(super) fn composition_end(&self) -> i64 {
        self.composition_end
    }

    /// Average duration of a sample, in ticks of the track.
    pub(super) fn usual_duration(&self) -> u64 {
        self.media_duration / u64::from(self.count.max(1))
    }

    /// Bytes of the tables in the file, or a little more.
    pub(super) fn len_at_most(&self) -> usize {
        const BOX_HEADERS: usize = 7 * 20;
        let run = 8;
        BOX_HEADERS
            + self.durations.entries.len()
            + self.offsets.entries.len()
            + 2 * run
            + self.sizes.len()
            + self.sync_samples.as_ref().map_or(0, Vec::len)
            + self.chunks.runs.len()
            + self.chunks.offsets.len() * 8
    }

    /// Appends the tables to a `stbl`. `wide`: chunk offsets do not fit 32 bits.
    pub(super) fn append(mut self, out: &mut Vec<u8>, wide: bool) -> Result<ChunkOffsets, MuxError> {
        append_table(out, *b"stts", 0, &self.durations.finish()?)?;
        if self.any_offset {
            // §8.6.1.3: version 0 has unsigned offsets, and is what the oldest players know.
            append_table(out, *b"ctts", u8::from(self.any_negative_offset), &self.offsets.finish()?)?;
        }
        if let Some(sync_samples) = self.sync_samples.take() {
            append_table(
                out,
                *b"stss",
                0,
                &Table { count: (sync_samples.len() / 4) as u64, entries: sync_samples },
            )?;
        }
        let chunk_runs = Table { count: (self.chunks.runs.len() / 12) as u64, entries: self.chunks.runs };
        append_table(out, *b"stsc", 0, &chunk_runs)?;
        full_box(out, *b"stsz", 0, |out| {
            out.extend(if self.sizes_differ { 0 } else { self.first_size }.to_be_bytes());
            out.extend(self.count.to_be_bytes());
            if self.sizes_differ {
                out.extend(&self.sizes);
            }
            Ok(())
        })?;
        append_chunk_offsets(out, self.chunks.offsets, wide)
    }

    fn push(&mut self, sample: &SampleInfo) {
        self.count += 1;
        self.durations.push(sample.duration);
        self.push_sync(sample.is_sync);
        self.push_size(sample.size);
        self.any_offset |= sample.cts_offset != 0;
        self.any_negative_offset |= sample.cts_offset < 0;
        self.offsets.push(u32::from_be_bytes(sample.cts_offset.to_be_bytes()));
        let dts = i64::try_from(self.media_duration).unwrap_or(i64::MAX);
        let end = dts.saturating_add(i64::from(sample.cts_offset)).saturating_add(i64::from(sample.duration));
        self.composition_end = self.composition_end.max(end);
        self.media_duration = self.media_duration.saturating_add(u64::from(sample.duration));
    }

    fn push_size(&mut self, size: u32) {
        if self.count == 1 {
            self.first_size = size;
        }
        self.sizes_differ |= size != self.first_size;
        // A common size of 0 announces a list (§8.7.3.2), so empty samples are always listed.
        self.sizes_differ |= size == 0;
        self.sizes.extend(size.to_be_bytes());
    }

    /// The list begins with the first sample that is not in it.
    fn push_sync(&mut self, is_sync: bool) {
        let number = self.count;
        match (&mut self.sync_samples, is_sync) {
            (None, true) | (Some(_), false) => {}
            (Some(numbers), true) => numbers.extend(number.to_be_bytes()),
            (None, false) => self.sync_samples = Some((1..number).flat_map(u32::to_be_bytes).collect()),
        }
    }
}

impl ChunkOffsets {
    /// Fills in the offsets of a file whose media begins at `media_start`.
    pub(super) fn fill_in(self, header: &mut [u8], media_start: u64) -> Result<(), MuxError> {
        let width = if self.wide { 8 } else { 4 };
        let fields =
            header.get_mut(self.position..).into_iter().flat_map(|rest| rest.chunks_exact_mut(width));
        for (field, offset) in fields.zip(self.offsets) {
            let offset = media_start + offset;
            if self.wide {
                field.copy_from_slice(&offset.to_be_bytes());
            } else {
                let max = u64::from(u32::MAX);
                let offset = u32::try_from(offset).map_err(|_| overflow("stco chunk_offset", offset, max))?;
                field.copy_from_slice(&offset.to_be_bytes());
            }
        }
        Ok(())
    }
}

/// Entries of (number of samples, value), as `stts` and `ctts` have them.
#[derive(Debug, Default)]
struct Runs {
    entries: Vec<u8>,
    run_len: u32,
    value: u32,
}

impl Runs {
    fn push(&mut self, value: u32) {
        if value != self.value {
            self.end_run();
            self.value = value;
        }
        self.run_len += 1;
    }

    fn end_run(&mut self) {
        if self.run_len > 0 {
            self.entries.extend(self.run_len.to_be_bytes());
            self.entries.extend(self.value.to_be_bytes());
            self.run_len = 0;
        }
    }

    fn finish(&mut self) -> Result<Table, MuxError> {
        self.end_run();
        let entries = std::mem::take(&mut self.entries);
        Ok(Table { count: (entries.len() / 8) as u64, entries })
    }
}

/// Where chunks begin and how many samples each has.
#[derive(Debug, Default)]
struct ChunkTable {
    /// Entries of `stsc`: first chunk, samples per chunk, sample description.
    runs: Vec<u8>,
    /// Samples per chunk and sample description of the latest entry.
    latest: (u32, u32),
    offsets: Vec<u64>,
}

impl ChunkTable {
    fn push(&mut self, offset: u64, samples: u32, description: u32) {
        self.offsets.push(offset);
        if (samples, description) != self.latest {
            self.latest = (samples, description);
            // Chunks are fewer than samples, whose number was checked.
            let number = u32::try_from(self.offsets.len()).unwrap_or(u32::MAX);
            self.runs.extend([number, samples, description].into_iter().flat_map(u32::to_be_bytes));
        }
    }
}

/// Encoded entries and their number.
struct Table {
    count: u64,
    entries: Vec<u8>,
}

fn append_table(out: &mut Vec<u8>, box_type: [u8; 4], version: u8, table: &Table) -> Result<(), MuxError> {
    let count =
        u32::try_from(table.count).map_err(|_| overflow("entry_count", table.count, u64::from(u32::MAX)))?;
    full_box(out, box_type, version, |out| {
        out.extend(count.to_be_bytes());
        out.extend(&table.entries);
        Ok(())
    })
}

fn append_chunk_offsets(out: &mut Vec<u8>, offsets: Vec<u64>, wide: bool) -> Result<ChunkOffsets, MuxError> {
    let (box_type, width) = if wide { (*b"co64", 8) } else { (*b"stco", 4) };
    let table = Table { count: offsets.len() as u64, entries: vec![0; offsets.len() * width] };
    append_table(out, box_type, 0, &table)?;
    Ok(ChunkOffsets { position: out.len() - table.entries.len(), offsets, wide })
}
