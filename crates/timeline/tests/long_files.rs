//! Files of many segments, of which most are known by their summaries: they hold the samples that were stored, and
//! come out the same however they are built and read.

mod common;

use common::player::{materialise, range, whole};
use common::{Publisher, audio_config, video_config};
use mediahooks_media::codec::CodecConfig;
use mediahooks_media::sample::{SampleInfo, TrackConfig};
use mediahooks_model::{CutMode, TargetFormat};
use mediahooks_timeline::movie::{MovieSource, build, narrow};
use mp4_atom::{Stbl, StszSamples};
use proptest::prelude::*;

/// 320x180 like [`video_config`], with another record.
fn other_config() -> TrackConfig {
    let avcc =
        "0164000dffe1001a6764000dacd941519e226c0440000003004000000f03c50a658001000668ebe3cb22c0fdf8f800";
    let bytes: Vec<u8> =
        (0..avcc.len()).step_by(2).map(|at| u8::from_str_radix(&avcc[at..at + 2], 16).unwrap()).collect();
    TrackConfig { codec: CodecConfig::h264(bytes.into()).unwrap(), ..video_config() }
}

/// How a synthetic broadcast is.
#[derive(Debug, Clone)]
struct Shape {
    seconds: i64,
    /// Pictures from one sync sample to the next.
    group: i64,
    /// By how many ms pictures come early or late, in turn.
    jitter: Vec<i64>,
    /// Composition offsets in ms, in turn.
    offsets: Vec<i64>,
    with_sound: bool,
    /// Every how many packets of sound one is missing.
    missing: i64,
}

fn shape() -> impl Strategy<Value = Shape> {
    let jitter = prop_oneof![Just(vec![0]), prop::collection::vec(-9..9i64, 1..9)];
    let offsets =
        prop_oneof![Just(vec![0]), Just(vec![40, 120, 0, 0]), prop::collection::vec(0..90i64, 1..5)];
    (2..90i64, 1..60i64, jitter, offsets, any::<bool>(), 2..100i64).prop_map(
        |(seconds, group, jitter, offsets, with_sound, missing)| Shape {
            seconds,
            group,
            jitter,
            offsets,
            with_sound,
            missing,
        },
    )
}

fn publish(publisher: &mut Publisher, from_ms: i64, shape: &Shape) {
    let mut sounds = 0;
    for picture in 0..shape.seconds * 25 {
        let in_turn = |list: &[i64]| list[picture as usize % list.len()];
        let dts_ms = from_ms + picture * 40 + in_turn(&shape.jitter).max(-from_ms - picture * 40);
        publisher.picture(dts_ms, in_turn(&shape.offsets), picture % shape.group == 0, dts_ms);
        while shape.with_sound && sounds * 1024 <= picture * 40 * 48 {
            sounds += 1;
            if sounds % shape.missing != 0 {
                publisher.sound(from_ms, sounds, dts_ms);
            }
        }
    }
    publisher.finish();
}

/// Two broadcasts and where their bytes are.
fn joined(first: &Shape, second: &Shape, hold_gaps: bool, cut: CutMode) -> (MovieSource, Vec<Vec<u8>>) {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publish(&mut publisher, 0, first);
    publisher.config(other_config());
    publish(&mut publisher, first.seconds * 1000 + 2000, second);
    let stretches = vec![publisher.stretch(0, 1), publisher.stretch(1, 2)];
    let stored = [publisher.stored(0), publisher.stored(1)].concat();
    (MovieSource { stretches, hold_gaps, cut, format: TargetFormat::Mp4, created: common::at(0) }, stored)
}

/// All samples that the tables of a track list.
fn listed(table: &Stbl) -> Vec<SampleInfo> {
    let sizes = match &table.stsz.samples {
        StszSamples::Different { sizes } => sizes.clone(),
        StszSamples::Identical { count, size } => vec![*size; *count as usize],
    };
    let durations = table.stts.entries.iter();
    let durations =
        durations.flat_map(|run| std::iter::repeat_n(run.sample_delta, run.sample_count as usize));
    let offsets = table.ctts.iter().flat_map(|ctts| &ctts.entries);
    let offsets = offsets.flat_map(|run| std::iter::repeat_n(run.sample_offset, run.sample_count as usize));
    let is_sync =
        |number: u32| table.stss.as_ref().is_none_or(|stss| stss.entries.binary_search(&number).is_ok());
    let samples = (1u32..).zip(sizes).zip(durations).zip(offsets.chain(std::iter::repeat(0)));
    let sample = |(((number, size), duration), offset): (((u32, u32), u32), i64)| SampleInfo {
        duration,
        size,
        cts_offset: offset as i32,
        is_sync: is_sync(number),
    };
    samples.map(sample).collect()
}

/// All samples of a track as they were stored, each until the next one.
fn stored_samples(publisher: &Publisher, track: u32) -> Vec<SampleInfo> {
    let segments = publisher.segments();
    let spans = segments.iter().flat_map(|segment| &segment.index.tracks).filter(|span| span.track == track);
    let timed: Vec<(i64, SampleInfo)> =
        spans.flat_map(|span| span.timed().map(|(dts, sample)| (dts.0, *sample))).collect();
    let mut samples: Vec<SampleInfo> = timed.iter().map(|(_, sample)| *sample).collect();
    for (sample, pair) in samples.iter_mut().zip(timed.windows(2)) {
        sample.duration = u32::try_from(pair[1].0 - pair[0].0).unwrap();
    }
    samples
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_clip_lists_the_samples_that_were_stored(
        shape in shape(),
        bounds in (0..100i64, 0..100i64),
    ) {
        let mut publisher = Publisher::new();
        publisher.config(video_config());
        publisher.config(audio_config(2));
        publish(&mut publisher, 0, &shape);
        let length_ms = shape.seconds * 1000;
        let (from, to) = (bounds.0.min(bounds.1) * length_ms / 100, bounds.0.max(bounds.1) * length_ms / 100 + 500);
        let source = range(publisher.source(0), from, to);
        let movie = build(&source).unwrap();
        let (moov, ..) = materialise(&movie, &publisher.stored(0));
        for (number, trak) in moov.trak.iter().enumerate() {
            let (got, all) = (listed(&trak.mdia.minf.stbl), stored_samples(&publisher, number as u32));
            // But for the times of a picture that is on screen when the range begins, and of the last one.
            let is_same = |part: &[SampleInfo]| {
                let moved = part.iter().zip(&got).filter(|(stored, got)| stored != got);
                let keeps = |(stored, got): (&SampleInfo, &SampleInfo)| {
                    (stored.size, stored.is_sync) == (got.size, got.is_sync)
                };
                moved.clone().count() <= 3 && moved.clone().all(keeps)
            };
            prop_assert!(all.windows(got.len()).any(is_same), "track {} of {:?}", number, shape);
        }
    }

    #[test]
    fn a_file_is_the_same_from_all_segments_it_needs_and_in_any_pieces(
        first in shape(),
        second in shape(),
        hold_gaps in any::<bool>(),
        at_keyframe in any::<bool>(),
        begin_ms in 0..20_000i64,
        ranges in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 20),
    ) {
        let cut = if at_keyframe { CutMode::Keyframe } else { CutMode::Frame };
        let (mut source, stored) = joined(&first, &second, hold_gaps, cut);
        let origin_us = mediahooks_timeline::segmenter::RUN_ORIGIN_US;
        source.stretches[0].start_us = Some(origin_us + begin_ms * 1000);
        source.stretches[1].stop_us = Some(origin_us + (second.seconds * 1000 - 700) * 1000);
        let firsts = [0, source.stretches[0].segments.len()];
        let kept = narrow(&mut source).unwrap();
        let stored: Vec<Vec<u8>> = kept
            .needed
            .iter()
            .flat_map(|needed| {
                let first = firsts[needed.stretch];
                stored[first + needed.first_segment..=first + needed.last_segment].to_vec()
            })
            .collect();
        let movie = kept.build(&source).unwrap();
        let bytes = whole(movie.file.as_ref(), &stored);
        prop_assert_eq!(movie.metadata.sizes["mp4"], bytes.len() as u64);
        let again = build(&source).unwrap();
        prop_assert_eq!(&again.metadata, &movie.metadata);
        prop_assert!(whole(again.file.as_ref(), &stored) == bytes, "built again");
        materialise(&movie, &stored);
        for (from, to) in ranges {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let wanted = from.min(to) as u64..from.max(to) as u64 + 1;
            let part = common::player::part(movie.file.as_ref(), wanted.clone(), &stored);
            prop_assert!(part == bytes[wanted.start as usize..wanted.end as usize], "{:?}", wanted);
        }
    }
}
