//! Clips that are cut on sync samples: nothing hidden, nothing missing.

mod common;

use common::player::{boxes, heard, materialise, range, shown, whole as bytes};
use common::{Publisher, audio_config, video_config};
use mediahooks_media::cmaf::{ParsedTrack, parse_fragment};
use mediahooks_model::CutMode;
use mediahooks_timeline::movie::{BuiltFragments, Edits, MovieSource, build, build_fragments, narrow};
use proptest::prelude::*;

fn broadcast(group: i64, reorder: bool) -> Publisher {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publisher.broadcast(0, 8, group, reorder, true);
    publisher.finish();
    publisher
}

fn at_sync(publisher: &Publisher, from_ms: i64, to_ms: i64) -> MovieSource {
    MovieSource { cut: CutMode::Keyframe, ..range(publisher.source(0), from_ms, to_ms) }
}

#[test]
fn a_clip_begins_with_the_sync_sample_before_its_range() {
    let publisher = broadcast(50, false);
    let movie = build(&at_sync(&publisher, 2620, 5100)).unwrap();
    let frames = shown(&movie, &publisher.stored(0));
    assert_eq!(frames[0].1, "picture 2000");
    assert_eq!(movie.metadata.pre_roll_ms, Some(0));
    // With the sound that is heard when the picture appears.
    assert_eq!(common::at(2_000_000).micros_since(movie.metadata.start_time.unwrap()) / 22_000, 0);
}

#[test]
fn a_range_without_a_sync_sample_before_it_begins_with_the_first_in_it() {
    let publisher = broadcast(25, false);
    let movie = build(&at_sync(&publisher, -3000, 1500)).unwrap();
    assert_eq!(shown(&movie, &publisher.stored(0))[0].1, "picture 0");
}

#[test]
fn a_second_without_a_sync_sample_shows_the_group_it_lies_in() {
    let publisher = broadcast(200, false);
    let movie = build(&at_sync(&publisher, 6000, 7000)).unwrap();
    let frames = shown(&movie, &publisher.stored(0));
    assert_eq!((frames.len(), frames[0].1.as_str()), (175, "picture 0"));
}

/// When the first picture and the first sound of a fragmented file are shown, in microseconds of its clock.
fn starts_us(built: &BuiltFragments, stored: &[Vec<u8>]) -> [i64; 2] {
    let (moov, _, file) = materialise(&built.movie, stored);
    let fragments = boxes(&file, *b"moof").into_iter().map(|(at, _)| parse_fragment(&file[at..]).unwrap());
    let fragments: Vec<ParsedTrack> = fragments.flat_map(|fragment| fragment.tracks).collect();
    [0, 1].map(|track| {
        let trak = &moov.trak[track];
        let timescale = i64::from(trak.mdia.mdhd.timescale);
        let found = fragments.iter().find(|found| found.track_id == trak.tkhd.track_id).unwrap();
        let mut ticks = found.base_dts.0 + i64::from(found.samples[0].cts_offset);
        for entry in trak.edts.iter().flat_map(|edts| &edts.elst).flat_map(|list| &list.entries) {
            let empty = entry.segment_duration as i64 * timescale / i64::from(moov.mvhd.timescale);
            ticks += entry.media_time.map_or(empty, |media_time| -(media_time as i64));
        }
        ticks * 1_000_000 / timescale
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// No edit list; from the sync sample at or before the start to the end of the range every picture is
    /// shown, evenly, and the sound begins with them or up to 10 ms before. It is in time with them from its second frame
    /// on, and from its first where that begins before them.
    #[test]
    fn nothing_is_hidden_and_nothing_missing(
        // Others would end among pictures whose successors never came.
        group in prop::sample::select(vec![1i64, 4, 5, 8, 10, 20, 25, 40, 50, 100]),
        reorder in any::<bool>(),
        from_ms in 0i64..7000,
        length_ms in 45i64..4000,
    ) {
        let publisher = broadcast(group, reorder);
        let movie = build(&at_sync(&publisher, from_ms, from_ms + length_ms)).unwrap();
        let stored = publisher.stored(0);
        let (moov, ..) = materialise(&movie, &stored);
        for trak in &moov.trak {
            prop_assert!(trak.edts.is_none(), "{:?}", trak.edts);
        }
        let frames = shown(&movie, &stored);
        prop_assert!((0..=10).contains(&frames[0].0), "{:?}", frames[0]);
        // Pictures are sent at the time that they are numbered with, in ms, and reordered ones shown 40 ms later.
        let sent_ms = |name: &str| name.split(' ').nth(1).unwrap().parse::<i64>().unwrap();
        let shown_ms = sent_ms(&frames[0].1) + if reorder { 40 } else { 0 };
        for (number, (at_ms, name)) in heard(&movie, &stored).iter().enumerate() {
            let late = at_ms - frames[0].0 - (sent_ms(name) * 1024 / 48 - shown_ms);
            let most = if number == 0 { 12 } else { 1 };
            prop_assert!((-most..=1).contains(&late), "{} of {}: {} ms late", number, name, late);
        }
        for pair in frames.windows(2) {
            prop_assert_eq!(pair[1].0 - pair[0].0, 40);
        }
        let sounds = heard(&movie, &stored);
        let first_sound = sounds[0].1.as_str();
        for edits in [Edits::Whole, Edits::Absent] {
            let source = at_sync(&publisher, from_ms, from_ms + length_ms);
            let starts = starts_us(&build_fragments(&source, edits).unwrap(), &stored);
            let late_us = starts[1] - starts[0] - (sent_ms(first_sound) * 64_000 / 3 - shown_ms * 1000);
            prop_assert!(late_us.abs() <= 100, "{:?}: sound begins {} µs late", edits, late_us);
        }
        // It is the same file when nothing is left but what it needs.
        let mut narrowed = at_sync(&publisher, from_ms, from_ms + length_ms);
        let needed = narrow(&mut narrowed).unwrap().needed[0];
        let left = &stored[needed.first_segment..=needed.last_segment];
        let again = build(&narrowed).unwrap();
        prop_assert!(bytes(again.file.as_ref(), left) == bytes(movie.file.as_ref(), &stored));
        let whole = shown(&build(&publisher.source(0)).unwrap(), &stored);
        let first = whole.iter().position(|(_, name)| *name == frames[0].1).unwrap() as i64;
        // The first picture is shown after 40 ms where pictures are reordered.
        let start = from_ms - whole[0].0;
        prop_assert_eq!(first % group, 0);
        prop_assert!(first * 40 <= start.max(0), "{first}");
        prop_assert!((first + group) * 40 > start.min(7960));
        let last = (first + frames.len() as i64) * 40;
        prop_assert!(last >= (from_ms + length_ms).min(8000) - 40, "{last}");
        prop_assert!(last <= from_ms + length_ms + 160, "{last}");
    }
}
