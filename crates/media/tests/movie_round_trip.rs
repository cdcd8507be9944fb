//! A movie laid out by reference is, once its pieces are put together, a file in which two independent
//! parsers find every sample as it was.

mod support;

use bytes::Bytes;
use mediahooks_media::{
    codec::CodecConfig,
    error::MuxError,
    mp4::{Edit, MOVIE_TIMESCALE, MovieBuilder, MovieTrack},
    sample::{SampleInfo, TrackConfig},
    virtual_file::VirtualFile,
};
use mp4_atom::{Atom, Decode};
use proptest::{collection::vec, prelude::*};
use support::{
    box_payload, extents, header, materialise,
    memory::{Chunk, InMemory, Movie, VirtualMp4, layout, push},
    read_mp4,
};

const AVCC: &str =
    "0164000dffe1001a6764000dacd941519e226c0440000003004000000f03c50a658001000668ebe3cb22c0fdf8f800";

fn video() -> TrackConfig {
    let codec = CodecConfig::h264(hex::decode(AVCC).expect("hexadecimal").into()).expect("a record");
    TrackConfig::new(90_000, codec)
}

fn audio() -> TrackConfig {
    let codec = CodecConfig::aac(Bytes::from_static(&[0x11, 0x90])).expect("a record");
    TrackConfig::new(48_000, codec)
}

const WHOLE: Edit = Edit { empty: 0, media_time: 0, duration: u64::MAX };

fn frame(duration: u32, size: u32, cts_offset: i32, is_sync: bool) -> SampleInfo {
    SampleInfo { duration, size, cts_offset, is_sync }
}

/// A movie of one track and one chunk.
fn single(config: &TrackConfig, edit: Edit, samples: &[SampleInfo]) -> VirtualMp4 {
    let chunks = [Chunk { track: 0, config: 0, source: 0, offset: 0, samples }];
    let tracks = [MovieTrack { configs: std::slice::from_ref(config), edit }];
    layout(Movie { tracks: &tracks, chunks: &chunks, created_unix_s: 0 }).expect("a movie")
}

fn moov(movie: &VirtualMp4) -> mp4_atom::Moov {
    let header = header(movie);
    let at = header.windows(4).position(|window| window == b"moov").expect("a moov");
    mp4_atom::Moov::decode(&mut &header[at - 4..]).expect("a readable moov")
}

fn samples() -> impl Strategy<Value = Vec<SampleInfo>> {
    let sample = (1..5000u32, 0..40u32, -3000..3000i32, any::<bool>());
    vec(sample, 0..12).prop_map(|list| list.into_iter().map(|(d, s, c, k)| frame(d, s, c, k)).collect())
}

/// All samples of a track as `mp4_atom` sees them, with the offset of each in the file.
fn samples_by_oracle(stbl: &mp4_atom::Stbl) -> Vec<(SampleInfo, u64)> {
    let durations = stbl.stts.entries.iter();
    let durations =
        durations.flat_map(|run| std::iter::repeat_n(run.sample_delta, run.sample_count as usize));
    let offsets: Vec<i64> = stbl
        .ctts
        .iter()
        .flat_map(|ctts| &ctts.entries)
        .flat_map(|run| std::iter::repeat_n(run.sample_offset, run.sample_count as usize))
        .collect();
    let sizes = match &stbl.stsz.samples {
        mp4_atom::StszSamples::Identical { count, size } => vec![*size; *count as usize],
        mp4_atom::StszSamples::Different { sizes } => sizes.clone(),
    };
    let chunk_offsets: Vec<u64> = match (&stbl.stco, &stbl.co64) {
        (Some(stco), None) => stco.entries.iter().map(|offset| u64::from(*offset)).collect(),
        (None, Some(co64)) => co64.entries.clone(),
        other => panic!("one kind of chunk offsets: {other:?}"),
    };
    let mut places = Vec::new();
    for (number, offset) in (1..).zip(chunk_offsets) {
        let run = stbl.stsc.entries.iter().rev().find(|run| run.first_chunk <= number).expect("a run");
        let mut at = offset;
        for _ in 0..run.samples_per_chunk {
            places.push(at);
            at += u64::from(sizes[places.len() - 1]);
        }
    }
    assert_eq!(places.len(), sizes.len());
    let infos = durations.zip(&sizes).enumerate().map(|(index, (duration, size))| SampleInfo {
        duration,
        size: *size,
        cts_offset: i32::try_from(offsets.get(index).copied().unwrap_or(0)).expect("32 bits"),
        is_sync: stbl
            .stss
            .as_ref()
            .is_none_or(|stss| stss.entries.contains(&(u32::try_from(index).expect("few") + 1))),
    });
    infos.zip(places).collect()
}

proptest! {
    #[test]
    fn every_sample_is_found_again(
        segments in vec((samples(), samples(), 0..50usize), 1..8),
        range in (0..4000u64, 0..4000u64),
    ) {
        let configs = [video(), audio()];
        let mut expected = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
        // Each source holds some bytes of no interest, then the samples, each filled with its own number.
        let mut sources = Vec::new();
        let mut fill = 0u8;
        for (video, audio, skipped) in &segments {
            let mut source = vec![0xee; *skipped];
            for (track, samples) in [video, audio].into_iter().enumerate() {
                for sample in samples {
                    fill = fill.wrapping_add(1);
                    let data = vec![fill; sample.size as usize];
                    source.extend(&data);
                    expected[track].0.push(*sample);
                    expected[track].1.push(data);
                }
            }
            sources.push(source);
        }
        let mut chunks = Vec::new();
        for (source, (video, audio, skipped)) in (0..).zip(&segments) {
            let media: u64 = video.iter().map(|sample| u64::from(sample.size)).sum();
            let offset = *skipped as u64;
            chunks.push(Chunk { track: 0, config: 0, source, offset, samples: video });
            chunks.push(Chunk { track: 1, config: 0, source, offset: offset + media, samples: audio });
        }
        let tracks = configs.each_ref().map(|config| MovieTrack { configs: std::slice::from_ref(config), edit: WHOLE });
        let result = layout(Movie { tracks: &tracks, chunks: &chunks, created_unix_s: 0 });
        if expected.iter().any(|(samples, _)| samples.is_empty()) {
            prop_assert!(matches!(result, Err(MuxError::Empty { .. })), "a track without samples is refused");
            return Ok(());
        }
        let movie = result.expect("a movie");
        let bytes = materialise(&movie, 0..movie.len(), &sources);
        prop_assert_eq!(bytes.len() as u64, movie.len());
        let end = range.1.min(movie.len());
        let part = materialise(&movie, range.0..end, &sources);
        prop_assert_eq!(&part[..], bytes.get(range.0 as usize..end as usize).unwrap_or_default());

        let moov = moov(&movie);
        for (track, (infos, data)) in expected.iter().enumerate() {
            let read = samples_by_oracle(&moov.trak[track].mdia.minf.stbl);
            prop_assert_eq!(read.iter().map(|(info, _)| *info).collect::<Vec<_>>(), infos.clone());
            for ((info, at), data) in read.iter().zip(data) {
                let at = *at as usize;
                prop_assert_eq!(&bytes[at..at + info.size as usize], &data[..]);
            }
        }
        let read = read_mp4(&bytes);
        for (read, (infos, data)) in read.iter().zip(&expected) {
            prop_assert_eq!(&read.infos, infos);
            prop_assert!(read.samples.iter().map(|sample| &sample.data[..]).eq(data.iter().map(|data| &data[..])));
        }
    }
}

#[test]
fn the_same_movie_has_the_same_bytes() {
    let samples: Vec<_> = (0..100).map(|i| frame(3000 + i % 2, 100 + i, 3000, i % 30 == 0)).collect();
    let movie = || single(&video(), Edit { empty: 9, media_time: 3000, duration: 90_000 }, &samples);
    assert_eq!(header(&movie()), header(&movie()));
}

#[test]
fn boxes_that_would_say_nothing_are_left_out() {
    let plain = moov(&single(&audio(), WHOLE, &[frame(1024, 300, 0, true); 10]));
    let track = &plain.trak[0];
    assert!(track.edts.is_none());
    assert!(track.mdia.minf.stbl.ctts.is_none());
    assert!(track.mdia.minf.stbl.stss.is_none());
    assert_eq!(track.mdia.minf.stbl.stts.entries.len(), 1);
    assert_eq!(track.mdia.minf.stbl.stsz.samples, mp4_atom::StszSamples::Identical { count: 10, size: 300 });
    // 10 × 1024 at 48 kHz are 213.3 ms.
    assert_eq!((plain.mvhd.timescale, plain.mvhd.duration), (MOVIE_TIMESCALE, 19_200));
    assert_eq!((track.tkhd.duration, track.mdia.mdhd.duration), (19_200, 10_240));
}

#[test]
fn an_edit_names_the_gap_the_start_and_the_length() {
    let samples = vec![frame(3000, 10, 0, true); 100];
    let moov = moov(&single(&video(), Edit { empty: 45_000, media_time: 6000, duration: 90_000 }, &samples));
    let edits = moov.trak[0].edts.as_ref().and_then(|edts| edts.elst.as_ref()).expect("an edit list");
    let entries: Vec<_> =
        edits.entries.iter().map(|entry| (entry.segment_duration, entry.media_time)).collect();
    assert_eq!(entries, [(45_000, None), (90_000, Some(6000))]);
    assert_eq!((moov.trak[0].tkhd.duration, moov.mvhd.duration), (135_000, 135_000));
    assert_eq!(moov.trak[0].mdia.mdhd.duration, 300_000);
}

#[test]
fn an_edit_that_only_cuts_the_end_is_kept() {
    let samples = vec![frame(3000, 10, 0, true); 100];
    let shown = |duration| moov(&single(&video(), Edit { empty: 0, media_time: 0, duration }, &samples));
    assert!(shown(299_999).trak[0].edts.is_some());
    assert!(shown(300_000).trak[0].edts.is_none());
}

#[test]
fn audio_asks_for_its_pre_roll() {
    let movie = single(&audio(), WHOLE, &[frame(1024, 300, 0, true); 10]);
    let moov = moov(&movie);
    let stbl = &moov.trak[0].mdia.minf.stbl;
    assert_eq!((stbl.sgpd.len(), stbl.sbgp.len()), (1, 1));
    assert_eq!(
        box_payload(&header(&movie), b"sgpd"),
        Some(&b"\x01\0\0\0roll\0\0\0\x02\0\0\0\x01\xff\xff"[..])
    );
    assert_eq!(
        box_payload(&header(&movie), b"sbgp"),
        Some(&b"\0\0\0\0roll\0\0\0\x01\0\0\0\x0a\0\0\0\x01"[..])
    );
    let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
    let codec = CodecConfig::opus_from_id_header(head).expect("a record");
    let opus = TrackConfig::new(48_000, codec);
    // 80 ms are four packets of 20 ms.
    let movie = single(&opus, WHOLE, &[frame(960, 300, 0, true); 10]);
    assert!(
        box_payload(&header(&movie), b"sgpd")
            .is_some_and(|payload| payload.ends_with(&(-4i16).to_be_bytes()))
    );
}

#[test]
fn long_movies_use_wide_fields() {
    // Forty hours in six samples: past 2^32 ticks at 90 kHz, and so is each part of them.
    let samples = [frame(20 * 1200 * 90_000, 10, 0, true); 6];
    let whole = moov(&single(&video(), WHOLE, &samples));
    let duration = 40 * 3600 * 90_000;
    assert_eq!((whole.mvhd.duration, whole.trak[0].mdia.mdhd.duration), (duration, duration));
    let part = duration - 5_000_000_000;
    let edit = |duration| Edit { empty: 0, media_time: 5_000_000_000, duration };
    let cut = moov(&single(&video(), edit(part - 1), &samples));
    let edits = cut.trak[0].edts.as_ref().and_then(|edts| edts.elst.as_ref()).expect("an edit list");
    let entries: Vec<_> =
        edits.entries.iter().map(|entry| (entry.segment_duration, entry.media_time)).collect();
    assert_eq!(entries, [(part - 1, Some(5_000_000_000))]);
    assert_eq!(cut.trak[0].tkhd.duration, part - 1);
    // It shows no more than there is.
    assert_eq!(moov(&single(&video(), edit(part + 90), &samples)).trak[0].tkhd.duration, part);
}

#[test]
fn big_movies_use_wide_offsets_and_a_wide_mdat() {
    const GIB: u32 = 1 << 30;
    let config = video();
    let tracks = [MovieTrack { configs: std::slice::from_ref(&config), edit: WHOLE }];
    let samples = [frame(3000, GIB, 0, true)];
    let movie = |count: u32| {
        let mut builder = MovieBuilder::new(&tracks, 0, InMemory::default()).expect("a movie");
        for source in 0..count {
            let chunk = Chunk { track: 0, config: 0, source, offset: 16, samples: &samples };
            push(&mut builder, &chunk).expect("a chunk");
        }
        builder.finish().expect("a movie")
    };
    let (small, big) = (movie(3), movie(5));
    assert!(moov(&small).trak[0].mdia.minf.stbl.stco.is_some());
    let co64 = moov(&big).trak[0].mdia.minf.stbl.co64.clone().expect("wide offsets");
    let header_len = header(&big).len() as u64;
    assert_eq!(co64.entries, [0, 1, 2, 3, 4].map(|gib| header_len + gib * u64::from(GIB)));
    assert_eq!(big.len(), header_len + 5 * u64::from(GIB));
    let wide_header =
        [&1u32.to_be_bytes()[..], mp4_atom::Mdat::KIND.as_ref(), &(16 + 5 * u64::from(GIB)).to_be_bytes()];
    assert!(header(&big).ends_with(&wide_header.concat()));
    assert!(header(&small).ends_with(&[&(8 + 3 * GIB).to_be_bytes()[..], b"mdat"].concat()));
}

#[test]
fn chunks_that_continue_each_other_are_one_extent() {
    let config = video();
    let tracks = [MovieTrack { configs: std::slice::from_ref(&config), edit: WHOLE }];
    let samples = [frame(3000, 100, 0, true), frame(3000, 50, 0, false)];
    let chunk = |source, offset| Chunk { track: 0, config: 0, source, offset, samples: &samples };
    let chunks = [chunk(1, 0), chunk(1, 150), chunk(1, 301), chunk(2, 451)];
    let movie = layout(Movie { tracks: &tracks, chunks: &chunks, created_unix_s: 0 }).expect("a movie");
    let extents: Vec<_> =
        extents(&movie).iter().map(|extent| (extent.source, extent.offset, extent.len)).collect();
    assert_eq!(extents, [(1, 0, 300), (1, 301, 150), (2, 451, 150)]);
}

#[test]
fn a_configuration_that_changes_on_the_way_is_another_sample_entry() {
    let smaller = "014d400dffe10019674d400deca0a0cfcf8088000003000800000301e078a14cb001000568ebe3cb20";
    let codec = CodecConfig::h264(hex::decode(smaller).expect("hexadecimal").into()).expect("a record");
    let configs = [TrackConfig { codec, ..video() }, video()];
    let tracks = [MovieTrack { configs: &configs, edit: WHOLE }];
    let samples = [frame(3000, 100, 0, true), frame(3000, 50, 0, false)];
    let chunk = |config, source| Chunk { track: 0, config, source, offset: 0, samples: &samples };
    let chunks = [chunk(0, 0), chunk(0, 1), chunk(1, 2), chunk(1, 3), chunk(0, 4)];
    let movie = layout(Movie { tracks: &tracks, chunks: &chunks, created_unix_s: 0 }).expect("a movie");
    let moov = moov(&movie);
    let stbl = &moov.trak[0].mdia.minf.stbl;
    let sizes: Vec<_> = stbl
        .stsd
        .codecs
        .iter()
        .map(|codec| match codec {
            mp4_atom::Codec::Avc1(avc1) => (avc1.visual.width, avc1.visual.height),
            other => panic!("{other:?}"),
        })
        .collect();
    let entries: Vec<_> = stbl
        .stsc
        .entries
        .iter()
        .map(|entry| (entry.first_chunk, entry.samples_per_chunk, entry.sample_description_index))
        .collect();
    assert_eq!(entries, [(1, 2, 1), (3, 2, 2), (5, 2, 1)]);
    // From the change on, each sync sample brings the parameter sets of its own configuration along.
    let [first, second] = configs.each_ref().map(|config| config.codec.parameter_sets());
    let read = samples_by_oracle(stbl);
    let sizes_of =
        |samples: &[(SampleInfo, u64)]| samples.iter().map(|(info, _)| info.size).collect::<Vec<_>>();
    let grown = |sets: &[u8]| 100 + u32::try_from(sets.len()).expect("few");
    assert_eq!(sizes_of(&read[..4]), [100, 50, 100, 50]);
    assert_eq!(sizes_of(&read[4..8]), [grown(&second), 50, grown(&second), 50]);
    assert_eq!(sizes_of(&read[8..]), [grown(&first), 50]);
    let sources: Vec<Vec<u8>> = (0..5).map(|fill| vec![fill; 150]).collect();
    let file = materialise(&movie, 0..movie.len(), &sources);
    assert_eq!(file.len() as u64, movie.len());
    let sample = |number: usize| &file[read[number].1 as usize..][..read[number].0.size as usize];
    assert_eq!(sample(4), [&second[..], &[2; 100]].concat());
    assert_eq!(sample(5), [2; 50]);
    assert_eq!(sample(8), [&first[..], &[4; 100]].concat());
    let mut parts = Vec::new();
    for at in (0..movie.len()).step_by(37) {
        parts.extend(materialise(&movie, at..movie.len().min(at + 37), &sources));
    }
    assert_eq!(parts, file);
    let dimensions = configs.map(|config| config.codec.dimensions().expect("a size"));
    assert_eq!(sizes, dimensions.map(|(width, height)| (width as u16, height as u16)));
    // The track is as large as the largest of its pictures.
    let largest = dimensions.into_iter().max().expect("two");
    assert_eq!(u32::from(moov.trak[0].tkhd.width.integer()), largest.0);
}

#[test]
fn what_cannot_be_a_movie_is_refused() {
    let config = video();
    let edit = |media_time| {
        [MovieTrack {
            configs: std::slice::from_ref(&config),
            edit: Edit { empty: 0, media_time, duration: 1 },
        }]
    };
    let new = |tracks: &[MovieTrack<'_>]| MovieBuilder::new(tracks, 0, InMemory::default()).map(drop);
    assert!(matches!(new(&[]), Err(MuxError::Empty { .. })));
    assert!(matches!(new(&edit(-1)), Err(MuxError::NegativeTime { .. })));
    let tracks = edit(0);
    let mut builder = MovieBuilder::new(&tracks, 0, InMemory::default()).expect("a movie");
    let stray = Chunk { track: 1, config: 0, source: 0, offset: 0, samples: &[] };
    assert_eq!(push(&mut builder, &stray), Err(MuxError::NoSuchTrack { track: 1, tracks: 1 }));
    let stray = Chunk { track: 0, config: 1, source: 0, offset: 0, samples: &[] };
    assert_eq!(push(&mut builder, &stray), Err(MuxError::NoSuchConfig { config: 1, configs: 1 }));
    let bare = [MovieTrack { configs: &[], edit: WHOLE }];
    assert!(matches!(new(&bare), Err(MuxError::Empty { .. })));
    assert!(matches!(builder.finish(), Err(MuxError::Empty { .. })));
}
