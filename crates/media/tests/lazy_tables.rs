//! The sample tables of a file are written when they are read, from summaries and a part of the samples. They are
//! what a writer that has all samples makes, and any range of the file has the bytes that the whole file has
//! there.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use mediahooks_media::{
    codec::CodecConfig,
    error::MuxError,
    mp4::{ChunkRef, ChunkSummary, Column, Edit, MovieBuilder, MovieTrack, SampleSource},
    sample::{SampleInfo, TrackConfig},
    virtual_file::{PIECE_MAX, Piece, PieceError, VirtualFile},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use support::{
    header,
    memory::{Chunk, InMemory, Movie, layout, tables},
};

const LARGE: &str =
    "0164000dffe1001a6764000dacd941519e226c0440000003004000000f03c50a658001000668ebe3cb22c0fdf8f800";
const SMALL: &str = "014d400dffe10019674d400deca0a0cfcf8088000003000800000301e078a14cb001000568ebe3cb20";

fn video(avcc: &str) -> TrackConfig {
    let codec = CodecConfig::h264(hex::decode(avcc).expect("hexadecimal").into()).expect("a record");
    TrackConfig::new(90_000, codec)
}

fn audio() -> TrackConfig {
    let codec = CodecConfig::aac(Bytes::from_static(&[0x11, 0x90])).expect("a record");
    TrackConfig::new(48_000, codec)
}

const WHOLE: Edit = Edit { empty: 0, media_time: 0, duration: u64::MAX };

/// A box of the `number`th track, by its type: its payload.
fn table<'a>(header: &'a [u8], number: usize, box_type: &[u8; 4]) -> Option<&'a [u8]> {
    let mut traks = header.windows(4).enumerate().filter(|(_, window)| window == b"trak");
    let (trak, _) = traks.nth(number).expect("a track");
    let size = |at: usize| u32::from_be_bytes(header[at - 4..at].try_into().expect("a size")) as usize;
    let end = trak - 4 + size(trak);
    let stbl = trak + header[trak..end].windows(4).position(|window| window == b"stbl").expect("a stbl");
    let mut at = stbl + 8;
    while at < stbl - 4 + size(stbl) {
        if &header[at..at + 4] == box_type {
            return Some(&header[at + 4..at - 4 + size(at)]);
        }
        at += size(at);
    }
    None
}

/// Samples as encoders make them, few different values so that runs are long.
fn sample() -> impl Strategy<Value = SampleInfo> {
    let duration = prop_oneof![8 => Just(3000u32), 1 => Just(3001u32)];
    let offset = prop_oneof![8 => Just(0i32), 1 => -3000..3000i32];
    let is_sync = prop_oneof![5 => Just(false), 1 => Just(true)];
    let size = prop_oneof![1 => Just(7u32), 1 => 0..40u32];
    (duration, size, offset, is_sync).prop_map(|(duration, size, cts_offset, is_sync)| SampleInfo {
        duration,
        size,
        cts_offset,
        is_sync,
    })
}

/// Chunks of (track, configuration, samples); sound is always a sync sample.
fn chunks() -> impl Strategy<Value = Vec<(usize, usize, Vec<SampleInfo>)>> {
    let usual = vec(Just(SampleInfo { duration: 3000, size: 7, cts_offset: 0, is_sync: true }), 1..4);
    let samples = prop_oneof![2 => vec(sample(), 0..6), 1 => usual];
    let config = prop_oneof![9 => Just(0usize), 1 => Just(1usize)];
    let chunk = (0..2usize, config, samples).prop_map(|(track, config, mut samples)| {
        samples.iter_mut().for_each(|sample| sample.is_sync |= track == 1);
        (track, if track == 0 { config } else { 0 }, samples)
    });
    vec(chunk, 1..260)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn tables_are_those_of_a_writer_that_has_all_samples(
        list in chunks(),
        is_changing in any::<bool>(),
        ranges in vec((any::<Index>(), any::<Index>()), 30),
    ) {
        let pictures = if is_changing { vec![video(LARGE), video(SMALL)] } else { vec![video(LARGE)] };
        let sound = [audio()];
        let movie_tracks =
            [MovieTrack { configs: &pictures, edit: WHOLE }, MovieTrack { configs: &sound, edit: WHOLE }];
        let mut offset = 0;
        let mut chunks = Vec::new();
        for (number, (track, config, samples)) in list.iter().enumerate() {
            let config = if is_changing { *config } else { 0 };
            chunks.push(Chunk { track: *track, config, source: number as u32 / 2, offset, samples });
            offset += samples.iter().map(|sample| u64::from(sample.size)).sum::<u64>();
        }
        let movie = Movie { tracks: &movie_tracks, chunks: &chunks, created_unix_s: 0 };
        let Ok(file) = layout(movie) else {
            let has = |track| chunks.iter().any(|chunk| chunk.track == track && !chunk.samples.is_empty());
            prop_assert!(!has(0) || !has(1), "only a track without samples is refused");
            return Ok(());
        };
        let sources = vec![(0..offset).map(|at| at as u8).collect::<Vec<u8>>(); list.len()];
        let whole = support::materialise(&file, 0..file.len(), &sources);
        let stored: u64 = chunks.iter().flat_map(|chunk| chunk.samples).map(|sample| u64::from(sample.size)).sum();
        let at = whole.windows(4).position(|window| window == b"mdat").expect("media") as u64 + 4;
        let is_changed = chunks.iter().any(|chunk| chunk.config > 0 && !chunk.samples.is_empty());
        let sets: usize = match is_changed {
            true => pictures.iter().map(|config| config.codec.parameter_sets().len()).sum(),
            false => 0,
        };
        let kept: Vec<Chunk<'_>> = chunks.iter().filter(|chunk| !chunk.samples.is_empty()).copied().collect();
        let movie = Movie { chunks: &kept, ..movie };
        prop_assert!(file.len() - at - sets as u64 >= stored);
        for track in 0..2 {
            for (box_type, expected) in tables(&movie, track, at + sets as u64) {
                let name = String::from_utf8_lossy(&box_type).into_owned();
                prop_assert_eq!(table(&whole, track, &box_type), Some(&expected[..]), "{} of {}", name, track);
            }
        }
        for (from, to) in ranges {
            let (from, to) = (from.index(whole.len()), to.index(whole.len() + 1));
            let range = from.min(to)..from.max(to).max(from.min(to) + 1);
            let part = support::materialise(&file, range.start as u64..range.end as u64, &sources);
            prop_assert_eq!(&part[..], &whole[range]);
        }
    }
}

/// An hour of pictures of which every second is the same, without memory for them.
#[derive(Debug)]
struct Repeated;

fn repeated(number: u32) -> SampleInfo {
    SampleInfo {
        duration: 1500,
        size: 9000 + number * 7919 % 4000,
        cts_offset: [1500, 6000, 1500, 0][number as usize % 4],
        is_sync: number == 0,
    }
}

impl SampleSource for Repeated {
    fn read(&self, _: ChunkRef, column: Column, out: &mut Vec<u32>) -> Result<(), PieceError> {
        out.extend((0..60).map(|number| column.of(&repeated(number))));
        Ok(())
    }

    fn weight(&self) -> usize {
        0
    }
}

#[test]
fn generated_pieces_are_bounded_and_the_file_weighs_little() {
    let config = video(LARGE);
    let tracks = [MovieTrack { configs: std::slice::from_ref(&config), edit: WHOLE }];
    let mut builder = MovieBuilder::new(&tracks, 0, Repeated).expect("a movie");
    let second: Vec<SampleInfo> = (0..60).map(repeated).collect();
    let samples = ChunkSummary::of(&second);
    for source in 0..3600 {
        let chunk = mediahooks_media::mp4::Chunk { track: 0, config: 0, source, offset: 0, samples };
        builder.push(&chunk).expect("a chunk");
    }
    let file = builder.finish().expect("a movie");
    let header = header(&file);
    assert!(header.len() > 1 << 20, "{} bytes", header.len());
    assert!(file.weight() < 200_000, "{} bytes", file.weight());
    let mut at = 0;
    while let Piece::Bytes(bytes) = file.piece(at..file.len()).expect("a piece") {
        assert!(!bytes.is_empty() && bytes.len() <= PIECE_MAX);
        at += bytes.len() as u64;
    }
    assert_eq!(at, header.len() as u64);
}

#[test]
fn samples_that_are_not_those_of_the_plan_are_an_error() {
    let config = video(LARGE);
    let tracks = [MovieTrack { configs: std::slice::from_ref(&config), edit: WHOLE }];
    let sample = |size| SampleInfo { duration: 3000, size, cts_offset: 5, is_sync: false };
    let samples = [7, 8, 9].map(sample);
    let mut builder = MovieBuilder::new(&tracks, 0, InMemory(vec![samples[..2].to_vec()])).expect("a movie");
    let samples = ChunkSummary::of(&samples);
    let chunk = mediahooks_media::mp4::Chunk { track: 0, config: 0, source: 0, offset: 0, samples };
    builder.push(&chunk).expect("a chunk");
    let file = builder.finish().expect("a movie");
    assert!(file.piece(0..file.len()).is_err());
}

/// Chunks of fifty thousand samples, of which one is a sync sample. Counts the samples that are read.
#[derive(Debug, Clone, Default)]
struct Huge(Arc<AtomicU64>);

const HUGE: u32 = 50_000;

fn huge(number: u32) -> SampleInfo {
    SampleInfo { duration: 1, size: number % 3, cts_offset: 0, is_sync: number == HUGE / 2 }
}

impl SampleSource for Huge {
    fn read(&self, _: ChunkRef, column: Column, out: &mut Vec<u32>) -> Result<(), PieceError> {
        self.0.fetch_add(HUGE.into(), Ordering::Relaxed);
        out.extend((0..HUGE).map(|number| column.of(&huge(number))));
        Ok(())
    }

    fn weight(&self) -> usize {
        0
    }
}

#[test]
fn a_piece_is_made_of_few_samples_even_where_chunks_are_huge() {
    let config = video(LARGE);
    let tracks = [MovieTrack { configs: std::slice::from_ref(&config), edit: WHOLE }];
    let reads = Huge::default();
    let mut builder = MovieBuilder::new(&tracks, 0, reads.clone()).expect("a movie");
    let samples: Vec<SampleInfo> = (0..HUGE).map(huge).collect();
    let samples = ChunkSummary::of(&samples);
    for source in 0..20 {
        let chunk = mediahooks_media::mp4::Chunk { track: 0, config: 0, source, offset: 0, samples };
        builder.push(&chunk).expect("a chunk");
    }
    let file = builder.finish().expect("a movie");
    let mut at = 0;
    let mut most = 0;
    while at < file.len() {
        let before = reads.0.load(Ordering::Relaxed);
        let Piece::Bytes(bytes) = file.piece(at..file.len()).expect("a piece") else { break };
        most = most.max(reads.0.load(Ordering::Relaxed) - before);
        at += bytes.len() as u64;
    }
    assert!(most <= 4 * u64::from(HUGE), "{most} samples for one piece");
}

#[test]
fn a_chunk_of_more_bytes_than_there_can_be_is_refused() {
    let config = video(LARGE);
    let tracks = [MovieTrack { configs: std::slice::from_ref(&config), edit: WHOLE }];
    let sample = SampleInfo { duration: 3000, size: 7, cts_offset: 0, is_sync: true };
    let usual = ChunkSummary::of(&[sample]);
    let damaged = ChunkSummary { bytes: u64::MAX, ..usual };
    for (offset, samples) in [(0, damaged), (u64::MAX, usual)] {
        let source = InMemory(vec![vec![sample]; 2]);
        let mut builder = MovieBuilder::new(&tracks, 0, source).expect("a movie");
        let chunk =
            mediahooks_media::mp4::Chunk { track: 0, config: 0, source: 0, offset: 0, samples: usual };
        builder.push(&chunk).expect("a chunk");
        let refused = builder.push(&mediahooks_media::mp4::Chunk { offset, samples, ..chunk });
        assert!(matches!(refused, Err(MuxError::Overflow { .. })), "{refused:?}");
    }
}

/// Samples that are all sync samples. Counts those that are read.
#[derive(Debug, Clone, Default)]
struct AllSync(Arc<AtomicU64>);

impl SampleSource for AllSync {
    fn read(&self, _: ChunkRef, column: Column, out: &mut Vec<u32>) -> Result<(), PieceError> {
        self.0.fetch_add(1000, Ordering::Relaxed);
        let sample = SampleInfo { duration: 90, size: 7, cts_offset: 0, is_sync: true };
        out.extend(std::iter::repeat_n(column.of(&sample), 1000));
        Ok(())
    }

    fn weight(&self) -> usize {
        0
    }
}

#[test]
fn media_with_parameter_sets_before_every_sample_is_read_in_one_go() {
    let configs = [video(LARGE), video(SMALL)];
    let tracks = [MovieTrack { configs: &configs, edit: WHOLE }];
    let reads = AllSync::default();
    let mut builder = MovieBuilder::new(&tracks, 0, reads.clone()).expect("a movie");
    let sample = SampleInfo { duration: 90, size: 7, cts_offset: 0, is_sync: true };
    let samples = ChunkSummary::of(&vec![sample; 1000]);
    for source in 0..3 {
        let chunk = mediahooks_media::mp4::Chunk { track: 0, config: 1, source, offset: 0, samples };
        builder.push(&chunk).expect("a chunk");
    }
    let file = builder.finish().expect("a movie");
    let (header, before) = (header(&file).len() as u64, reads.0.load(Ordering::Relaxed));
    let (mut at, mut extents) = (header, 0);
    while at < file.len() {
        let piece = file.piece(at..file.len()).expect("a piece");
        extents += usize::from(matches!(piece, Piece::Extent(_)));
        at += piece.len();
    }
    assert_eq!(extents, 3000);
    let read = reads.0.load(Ordering::Relaxed) - before;
    assert!(read <= 3 * 2 * 1000, "{read}: more than sizes and flags of each chunk");
}
