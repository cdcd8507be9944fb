//! Files over several runs: what is shown when, and what their gaps are.

mod common;

use common::player::{Player, materialise, range, shown, shown_of, whole};
use common::{Publisher, audio_config, larger, video_config};
use mediahooks_model::{CutMode, GapReason, TargetFormat};
use mediahooks_timeline::movie::{
    Edits, MovieSource, break_between, build, build_fragments, can_join, narrow,
};
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

/// Two publishers at one name, of whom the second comes `overlap_ms` before the first, who sends for 4 s, is gone: a
/// clip of both from `from_ms` on, as the planner asks for it.
fn overlapping(
    (group, overlap_ms, from_ms): (i64, i64, i64),
    reorder: (bool, bool),
    with_sound: bool,
) -> (MovieSource, Vec<Vec<u8>>) {
    let publish = |at_ms, reorder| {
        let mut publisher = Publisher::new();
        publisher.config(video_config());
        if with_sound {
            publisher.config(audio_config(2));
        }
        publisher.broadcast(at_ms, 4, group, reorder, with_sound);
        publisher.finish();
        publisher
    };
    let (first, second) = (publish(0, reorder.0), publish(4000 - overlap_ms, reorder.1));
    // Without sound a run begins with its first picture, which reordering shows later.
    let shown_ms = if reorder.1 && !with_sound { 40 } else { 0 };
    let mut source = range(first.source(0), from_ms, 4000 - overlap_ms + shown_ms);
    source.stretches.push(second.stretch(0, 2));
    (source, [first.stored(0), second.stored(0)].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Where a second publisher takes over from one who is still sending, no two pictures are shown at one time, none
    /// twice, and nothing of the first from the moment on at which the second one's media begins, which is what the
    /// metadata tells. Of the first, no more is missing than has to be decoded with a picture from then on.
    #[test]
    fn a_takeover_shows_one_picture_at_a_time(
        group in prop::sample::select(vec![4i64, 10, 25, 50, 100]),
        overlap_ms in 0i64..400,
        from_ms in prop_oneof![Just(0i64), 0i64..3500],
        reorder in any::<(bool, bool)>(),
        with_sound in any::<bool>(),
        hold in any::<bool>(),
        cut in prop::sample::select(vec![CutMode::Frame, CutMode::Keyframe]),
    ) {
        let (mut source, stored) = overlapping((group, overlap_ms, from_ms), reorder, with_sound);
        (source.hold_gaps, source.cut) = (hold, cut);
        let movie = build(&source).unwrap();
        let frames = shown(&movie, &stored);
        for pair in frames.windows(2) {
            prop_assert!(pair[0].0 < pair[1].0, "{:?}", pair);
        }
        // Both publishers may have one of the same name.
        let second = frames.len() - 100;
        let of_publisher = |(place, (_, text)): (usize, &(i64, String))| (place >= second, text.clone());
        let mut pictures: Vec<_> = frames.iter().enumerate().map(of_publisher).collect();
        pictures.sort_unstable();
        pictures.dedup();
        prop_assert_eq!(pictures.len(), frames.len());
        let [gap] = movie.metadata.gaps.as_slice() else { panic!("{:?}", movie.metadata) };
        let (stretch, stop_us) = (&source.stretches[0], source.stretches[0].stop_us.unwrap());
        let offset_us = stretch.segments.last().unwrap().wall_offset_us;
        let off_us = gap.start_time.as_micros() - stop_us - offset_us;
        prop_assert!(off_us.abs() < 5_000, "{}", off_us);
        prop_assert!(frames[second].1.ends_with(&format!("picture {}", 4000 - overlap_ms)), "{:?}", frames);
        for pair in frames[second..].windows(2) {
            prop_assert_eq!(pair[1].0 - pair[0].0, 40);
        }
        let wanted = frames[..second].len() as i64 * 40;
        let range_ms = gap.start_time.micros_since(movie.metadata.start_time.unwrap()) / 1000;
        let missing_ms = range_ms - wanted;
        prop_assert!((-40..=120).contains(&missing_ms), "{} of {}", missing_ms, range_ms);
        // It is the same file when nothing is left but what it needs.
        let mut narrowed = source.clone();
        let needs = narrow(&mut narrowed).unwrap();
        let begins = [0, source.stretches[0].segments.len()];
        let left = needs.needed.iter().flat_map(|needed| {
            let begin = begins[needed.stretch];
            stored[begin + needed.first_segment..=begin + needed.last_segment].to_vec()
        });
        let left: Vec<Vec<u8>> = left.collect();
        let again = build(&narrowed).unwrap();
        prop_assert_eq!(&again.metadata, &movie.metadata);
        prop_assert!(whole(again.file.as_ref(), &left) == whole(movie.file.as_ref(), &stored));
        let all = match cut {
            CutMode::Frame => &[Edits::Hiding][..],
            CutMode::Keyframe => &[Edits::Whole, Edits::Absent],
        };
        for &edits in all {
            let built = build_fragments(&source, edits).unwrap();
            for player in [Player::Exact, Player::Ffmpeg] {
                let frames = shown_of(&built, &stored, player);
                prop_assert_eq!(frames.len(), pictures.len(), "{:?} {:?}", edits, player);
                for pair in frames.windows(2) {
                    prop_assert!(pair[0].0 < pair[1].0, "{:?} {:?}: {:?}", edits, player, pair);
                }
            }
        }
    }

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
