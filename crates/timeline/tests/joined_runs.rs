//! Files over several runs: what is shown when, and what their gaps are.

mod common;

use common::player::{materialise, shown};
use common::{Publisher, audio_config, larger, video_config};
use mediahooks_model::{CutMode, GapReason, TargetFormat};
use mediahooks_timeline::movie::{MovieSource, break_between, build, can_join};
use proptest::prelude::*;

/// Two broadcasts of `seconds` each; the second one begins `gap_ms` after the end of the first.
fn two_runs(group: i64, reorder: (bool, bool), gap_ms: i64, with_sound: bool) -> Publisher {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    if with_sound {
        publisher.config(audio_config(2));
    }
    publisher.broadcast(0, 4, group, reorder.0, with_sound);
    publisher.finish();
    // Another feed numbers its runs anew; here another configuration does as well.
    publisher.config(larger());
    publisher.broadcast(4000 + gap_ms, 4, group, reorder.1, with_sound);
    publisher.finish();
    publisher
}

fn joined(publisher: &Publisher, hold_gaps: bool) -> (MovieSource, Vec<Vec<u8>>) {
    let stretches = vec![publisher.stretch(0, 1), publisher.stretch(1, 2)];
    let stored = [publisher.stored(0), publisher.stored(1)].concat();
    (
        MovieSource {
            stretches,
            hold_gaps,
            cut: CutMode::Frame,
            format: TargetFormat::Mp4,
            created: common::at(0),
        },
        stored,
    )
}

#[test]
fn a_gap_is_left_out_or_held_and_told() {
    let publisher = two_runs(25, (false, false), 3000, true);
    for (hold, begins_ms) in [(false, 4000), (true, 7000)] {
        let (source, stored) = joined(&publisher, hold);
        let movie = build(&source).unwrap();
        let frames = shown(&movie, &stored);
        assert_eq!(frames.len(), 200);
        assert_eq!(frames[99], (3960, "picture 3960".into()));
        // After the parameter sets of its configuration.
        assert!(frames[100].0 == begins_ms && frames[100].1.ends_with("picture 7000"), "{:?}", frames[100]);
        assert!(frames[199].0 == begins_ms + 3960 && frames[199].1.ends_with("picture 10960"));
        let metadata = &movie.metadata;
        assert!(metadata.duration_ms.unwrap().abs_diff(begins_ms as u64 + 4000) < 25, "{metadata:?}");
        let [gap] = metadata.gaps.as_slice() else { panic!("{metadata:?}") };
        assert_eq!(gap.reason, GapReason::Reconnect);
        assert!(gap.duration_ms.abs_diff(3000) < 25, "{gap:?}");
        assert!((gap.start_time.as_micros() - common::at(4_000_000).as_micros()).abs() < 25_000, "{gap:?}");
        assert_eq!(metadata.stop_time.unwrap().micros_since(metadata.start_time.unwrap()) / 100_000, 110);
    }
}

#[test]
fn each_run_is_decoded_with_its_own_record() {
    let publisher = two_runs(25, (false, false), 1000, false);
    let (source, stored) = joined(&publisher, false);
    let (moov, ..) = materialise(&build(&source).unwrap(), &stored);
    let table = &moov.trak[0].mdia.minf.stbl;
    assert_eq!(table.stsd.codecs.len(), 2);
    let used: Vec<u32> = table.stsc.entries.iter().map(|entry| entry.sample_description_index).collect();
    assert_eq!((used.first(), used.last()), (Some(&1), Some(&2)));
}

#[test]
fn sound_stays_in_time_with_the_picture_over_a_gap() {
    let publisher = two_runs(25, (false, true), 3000, true);
    for hold in [false, true] {
        let (source, stored) = joined(&publisher, hold);
        let movie = build(&source).unwrap();
        let picture = shown(&movie, &stored)[100].0;
        let (moov, ..) = materialise(&movie, &stored);
        let table = &moov.trak[1].mdia.minf.stbl;
        let starts = table
            .stts
            .entries
            .iter()
            .flat_map(|entry| std::iter::repeat_n(i64::from(entry.sample_delta), entry.sample_count as usize))
            .scan(0, |dts, duration| {
                let this = *dts;
                *dts += duration;
                Some(this)
            });
        let starts: Vec<i64> = starts.collect();
        // The second broadcast's first sound is the 188th: 4 s are 187.5 of them.
        let late = starts[188] / 48 - picture;
        assert!((0..10).contains(&late), "{late} ms after its picture");
    }
}

#[test]
fn what_cannot_be_decoded_by_one_decoder_is_not_joined() {
    let video = vec![video_config()];
    let both = vec![video_config(), audio_config(2)];
    assert!(can_join(&video, &both));
    assert!(can_join(&both, &[larger(), audio_config(2)]));
    assert!(!can_join(&both, &[video_config(), audio_config(1)]));
    let id = |number| mediahooks_model::TimelineId(uuid::Uuid::from_u128(number));
    assert_eq!(break_between((id(1), &video), (id(2), &video)), GapReason::Reconnect);
    assert_eq!(break_between((id(1), &video), (id(1), &[larger()])), GapReason::Configuration);
    assert_eq!(break_between((id(1), &video), (id(1), &video)), GapReason::TimestampJump);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever reorders its pictures: all are shown once, in order, each as long after the first of its
    /// run as it was captured, and what is decoded later has a later time.
    #[test]
    fn pictures_keep_their_times_and_order(
        group in prop::sample::select(vec![1i64, 4, 5, 10, 20, 25, 50, 100]),
        reorder in any::<(bool, bool)>(),
        gap_ms in 0i64..5000,
        hold in any::<bool>(),
    ) {
        let publisher = two_runs(group, reorder, gap_ms, false);
        let (source, stored) = joined(&publisher, hold);
        let movie = build(&source).unwrap();
        let frames = shown(&movie, &stored);
        prop_assert_eq!(frames.len(), 200);
        let second = frames[100].0;
        for (number, (pts, _)) in frames.iter().enumerate() {
            let number = number as i64;
            let expected = if number < 100 { number * 40 } else { second + (number - 100) * 40 };
            prop_assert_eq!(*pts, expected);
        }
        prop_assert!(second >= 4000);
        let (moov, ..) = materialise(&movie, &stored);
        let durations = &moov.trak[0].mdia.minf.stbl.stts.entries;
        prop_assert!(durations.iter().all(|entry| entry.sample_delta > 0));
    }
}
