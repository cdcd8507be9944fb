//! A movie whose samples are all in memory, and its sample tables written the simple way.

use mediahooks_media::{
    error::MuxError,
    mp4::{self, ChunkRef, ChunkSummary, Column, MovieBuilder, MovieTrack, SampleSource},
    sample::SampleInfo,
    virtual_file::PieceError,
};

/// A file whose samples are in memory.
pub type VirtualMp4 = mp4::VirtualMp4<InMemory>;

/// Samples by chunk.
#[derive(Debug, Default)]
pub struct InMemory(pub Vec<Vec<SampleInfo>>);

impl SampleSource for InMemory {
    fn read(&self, chunk: ChunkRef, column: Column, out: &mut Vec<u32>) -> Result<(), PieceError> {
        let samples = self.0.get(chunk.number);
        out.extend(samples.into_iter().flatten().map(|sample| column.of(sample)));
        Ok(())
    }

    fn weight(&self) -> usize {
        self.0.iter().map(|samples| size_of_val(samples.as_slice())).sum()
    }
}

/// Samples that lie one after another in a source.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    pub track: usize,
    pub config: usize,
    pub source: u32,
    pub offset: u64,
    pub samples: &'a [SampleInfo],
}

#[derive(Debug, Clone, Copy)]
pub struct Movie<'a> {
    pub tracks: &'a [MovieTrack<'a>],
    pub chunks: &'a [Chunk<'a>],
    pub created_unix_s: u64,
}

/// Lays out a whole movie at once.
pub fn layout(movie: Movie<'_>) -> Result<VirtualMp4, MuxError> {
    let mut builder = MovieBuilder::new(movie.tracks, movie.created_unix_s, InMemory::default())?;
    for chunk in movie.chunks {
        push(&mut builder, chunk)?;
    }
    builder.finish()
}

/// Pushes a chunk with its samples.
pub fn push(builder: &mut MovieBuilder<'_, InMemory>, chunk: &Chunk<'_>) -> Result<(), MuxError> {
    if !chunk.samples.is_empty() {
        builder.samples().0.push(chunk.samples.to_vec());
    }
    let Chunk { track, config, source, offset, samples } = *chunk;
    builder.push(&mp4::Chunk { track, config, source, offset, samples: ChunkSummary::of(samples) })
}

/// The payloads of the sample tables of a track, written sample by sample, for media that begins at
/// `media_start` in the file, with 32-bit offsets.
pub fn tables(movie: &Movie<'_>, track: usize, media_start: u64) -> Vec<([u8; 4], Vec<u8>)> {
    // Every sample with the number of its chunk in the file; of every chunk its offset and configuration.
    let mut samples: Vec<(SampleInfo, usize)> = Vec::new();
    let mut chunks: Vec<(u64, usize)> = Vec::new();
    let mut at = media_start;
    let mut changed = vec![false; movie.tracks.len()];
    for chunk in movie.chunks {
        changed[chunk.track] |= chunk.config > 0;
        let of_its_track = movie.tracks[chunk.track].configs;
        let inserted = if changed[chunk.track] && of_its_track.len() > 1 {
            of_its_track[chunk.config].codec.parameter_sets().len() as u32
        } else {
            0
        };
        for (place, sample) in chunk.samples.iter().enumerate() {
            let grows = if sample.is_sync { inserted } else { 0 };
            let size = sample.size + grows;
            if chunk.track == track {
                if place == 0 || grows > 0 {
                    chunks.push((at, chunk.config));
                }
                samples.push((SampleInfo { size, ..*sample }, chunks.len()));
            }
            at += u64::from(size);
        }
    }
    let word = |out: &mut Vec<u8>, value: u32| out.extend(value.to_be_bytes());
    let counted = |entries: usize| {
        let mut table = vec![0; 4];
        table.extend((entries as u32).to_be_bytes());
        table
    };
    let runs = |values: Vec<u32>| {
        let runs: Vec<_> = values.chunk_by(|a, b| a == b).collect();
        let mut table = counted(runs.len());
        for run in runs {
            word(&mut table, run.len() as u32);
            word(&mut table, run[0]);
        }
        table
    };
    let mut tables = vec![(*b"stts", runs(samples.iter().map(|(sample, _)| sample.duration).collect()))];
    if samples.iter().any(|(sample, _)| sample.cts_offset != 0) {
        let mut table = runs(samples.iter().map(|(sample, _)| sample.cts_offset as u32).collect());
        table[0] = u8::from(samples.iter().any(|(sample, _)| sample.cts_offset < 0));
        tables.push((*b"ctts", table));
    }
    if samples.iter().any(|(sample, _)| !sample.is_sync) {
        let syncs: Vec<u32> =
            (1..).zip(&samples).filter(|(_, (sample, _))| sample.is_sync).map(|(number, _)| number).collect();
        let mut table = counted(syncs.len());
        syncs.into_iter().for_each(|number| word(&mut table, number));
        tables.push((*b"stss", table));
    }
    let of_chunk = |number: usize| samples.iter().filter(|(_, chunk)| *chunk == number).count() as u32;
    let described: Vec<(u32, u32)> =
        (1..).zip(&chunks).map(|(number, (_, config))| (of_chunk(number), *config as u32 + 1)).collect();
    let mut entries = Vec::new();
    for (number, chunk) in (1u32..).zip(&described) {
        if entries.last().is_none_or(|(_, last)| last != chunk) {
            entries.push((number, *chunk));
        }
    }
    let mut table = counted(entries.len());
    for (number, (count, description)) in entries {
        [number, count, description].iter().for_each(|field| word(&mut table, *field));
    }
    tables.push((*b"stsc", table));
    let first = samples[0].0.size;
    let is_common = first > 0 && samples.iter().all(|(sample, _)| sample.size == first);
    let mut table = vec![0; 4];
    word(&mut table, if is_common { first } else { 0 });
    word(&mut table, samples.len() as u32);
    if !is_common {
        samples.iter().for_each(|(sample, _)| word(&mut table, sample.size));
    }
    tables.push((*b"stsz", table));
    let mut table = counted(chunks.len());
    chunks.iter().for_each(|(offset, _)| word(&mut table, *offset as u32));
    tables.push((*b"stco", table));
    tables
}
