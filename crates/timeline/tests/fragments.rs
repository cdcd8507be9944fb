//! Fragmented files show what the other files of the same source show.

mod common;

use common::player::{Player, boxes, range, shown, shown_of, whole};
use common::{Publisher, audio_config, video_config};
use mediahooks_media::cmaf::parse_fragment;
use mediahooks_media::virtual_file::{Piece, VirtualFile};
use mediahooks_model::CutMode;
use mediahooks_timeline::movie::{BuiltFragments, Edits, Guide, MovieSource, build, build_fragments};
use mediahooks_timeline::segmenter::RUN_ORIGIN_US;
use proptest::prelude::*;

fn broadcast(group: i64, reorder: bool, seconds: i64) -> Publisher {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publisher.broadcast(0, seconds, group, reorder, true);
    publisher.finish();
    publisher
}

/// From `from_ms` on of a broadcast that is interrupted after 4 s, and goes on `gap_ms` later.
fn interrupted(
    group: i64,
    reorder: (bool, bool),
    from_ms: i64,
    gap_ms: i64,
    hold_gaps: bool,
) -> (MovieSource, Vec<Vec<u8>>) {
    let publish = |at_ms, reorder| {
        let mut publisher = Publisher::new();
        publisher.config(video_config());
        publisher.config(audio_config(2));
        publisher.broadcast(at_ms, 4, group, reorder, true);
        publisher.finish();
        publisher
    };
    let (first, second) = (publish(0, reorder.0), publish(4000 + gap_ms, reorder.1));
    let mut source = MovieSource { hold_gaps, ..first.source(0) };
    source.stretches.push(second.stretch(0, 2));
    source.stretches[0].start_us = Some(RUN_ORIGIN_US + from_ms * 1000);
    (source, [first.stored(0), second.stored(0)].concat())
}

/// Of the index of subsegments, for each reference: whether it is one to begin decoding at, and its duration in ticks.
fn index(file: &[u8]) -> (u64, Vec<(bool, u32)>) {
    let (at, len) = boxes(file, *b"sidx")[0];
    let start = u64::from_be_bytes(file[at + 20..at + 28].try_into().unwrap());
    let field = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
    let references = (at + 40..at + len).step_by(12);
    (start, references.map(|at| (field(at + 8) >> 31 == 1, field(at + 4))).collect())
}

/// How many bytes of a file come from stored segments, and in how many fragments.
fn referred(file: &dyn VirtualFile) -> u64 {
    let (mut at, mut bytes) = (0, 0);
    while at < file.len() {
        let piece = file.piece(at..file.len()).unwrap();
        bytes += if let Piece::Extent(extent) = &piece { extent.len } else { 0 };
        at += piece.len();
    }
    bytes
}

fn both(source: &MovieSource, edits: Edits) -> (mediahooks_timeline::movie::BuiltMovie, BuiltFragments) {
    (build(source).unwrap(), build_fragments(source, edits).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_fragmented_clip_shows_what_the_clip_shows(
        group in prop_oneof![Just(10i64), Just(25), Just(50), Just(125)],
        reorder: bool,
        from_ms in 0..6000i64,
        len_ms in 1000..7000i64,
        whole_groups: bool,
    ) {
        let publisher = broadcast(group, reorder, 8);
        let mut source = range(publisher.source(0), from_ms, from_ms + len_ms);
        let edits = if whole_groups { Edits::Whole } else { Edits::Hiding };
        source.cut = if whole_groups { CutMode::Keyframe } else { CutMode::Frame };
        let (movie, built) = both(&source, edits);
        let stored = publisher.stored(0);
        for player in [Player::Exact, Player::Ffmpeg] {
            prop_assert_eq!(shown_of(&built, &stored, player), shown(&movie, &stored), "{:?}", player);
        }
        prop_assert_eq!(&built.movie.metadata.tracks, &movie.metadata.tracks);
        prop_assert_eq!(built.movie.metadata.duration_ms, movie.metadata.duration_ms);
        let file = whole(built.movie.file.as_ref(), &stored);
        let (start, references) = index(&file);
        let fragments = boxes(&file, *b"moof");
        prop_assert_eq!(references.len(), fragments.len());
        for (&(at, _), (is_access, _)) in fragments.iter().zip(&references) {
            let tracks = parse_fragment(&file[at..]).unwrap().tracks;
            let pictures = tracks.iter().find(|track| track.track_id == 1);
            prop_assert_eq!(pictures.is_some_and(|pictures| pictures.samples[0].is_sync), *is_access);
        }
        let ticks: u64 = references.iter().map(|(_, duration)| u64::from(*duration)).sum();
        prop_assert!(ticks == 0 || ticks + start <= 8 * 90_000 + 90_000 * 125 / 25, "{} {}", ticks, start);
    }

    /// A clip over a break, of whose first stretch little is left: all of it is before the fragments.
    #[test]
    fn a_fragmented_join_shows_what_the_join_shows(
        group in prop_oneof![Just(10i64), Just(25), Just(50)],
        reorder: (bool, bool),
        from_ms in 2000..3960i64,
        gap_ms in 0..40_000i64,
        hold: bool,
    ) {
        let (source, stored) = interrupted(group, reorder, from_ms, gap_ms, hold);
        let (movie, built) = both(&source, Edits::Hiding);
        for player in [Player::Exact, Player::Ffmpeg] {
            prop_assert_eq!(shown_of(&built, &stored, player), shown(&movie, &stored), "{:?}", player);
        }
        prop_assert_eq!(built.movie.metadata.duration_ms, movie.metadata.duration_ms);
    }

    #[test]
    fn any_range_of_it_is_the_same_bytes(
        at in 0.0..1.0f64,
        len in 1..5000u64,
        step in 1..700u64,
        is_joined: bool,
    ) {
        let (source, stored) = if is_joined {
            joined(4)
        } else {
            let publisher = broadcast(50, true, 6);
            (range(publisher.source(0), 1300, 4700), publisher.stored(0))
        };
        let built = build_fragments(&source, Edits::Hiding).unwrap();
        let file = built.movie.file.as_ref();
        let all = whole(file, &stored);
        let start = ((file.len() - 1) as f64 * at) as u64;
        let end = (start + len).min(file.len());
        let mut read = Vec::new();
        while start + (read.len() as u64) < end {
            let from = start + read.len() as u64;
            match file.piece(from..end.min(from + step)).unwrap() {
                Piece::Bytes(bytes) => read.extend(bytes),
                Piece::Extent(extent) => {
                    let source = &stored[extent.source as usize];
                    read.extend_from_slice(&source[extent.offset as usize..][..extent.len as usize]);
                }
            }
        }
        prop_assert!(read == all[start as usize..end as usize]);
    }
}

#[test]
fn whole_segments_stay_the_fragments_that_they_are() {
    let publisher = broadcast(20, true, 8);
    let stored = publisher.stored(0);
    let built = build_fragments(&publisher.source(0), Edits::Absent).unwrap();
    let file = whole(built.movie.file.as_ref(), &stored);
    assert_eq!(boxes(&file, *b"moof").len(), stored.len());
    let segments: u64 = stored.iter().map(|segment| segment.len() as u64).sum();
    // But for a number and two decode times.
    assert_eq!(referred(built.movie.file.as_ref()), segments - 20 * stored.len() as u64);
    // Groups of 0.8 s, as many in one as last for six.
    let ends = built.guide.groups.iter().skip(1).map(|group| group.start_us).chain([built.guide.end_us]);
    let lengths: Vec<i64> = built.guide.groups.iter().zip(ends).map(|(at, end)| end - at.start_us).collect();
    assert!(lengths.len() == 2 && lengths[0] > 5_000_000 && lengths[0] <= 6_000_000, "{lengths:?}");
    // Sound comes first; reordering delays the first picture by 40 ms, and the last one ends that much later.
    assert_eq!((built.guide.groups[0].start_us, built.guide.end_us), (0, 8_040_000));
}

#[test]
fn groups_of_several_segments_begin_with_their_sync_sample() {
    let publisher = broadcast(125, false, 15);
    let built = build_fragments(&publisher.source(0), Edits::Absent).unwrap();
    let guide = &built.guide;
    let starts: Vec<i64> = guide.groups.iter().map(|group| group.start_us).collect();
    assert_eq!(starts, [0, 5_000_000, 10_000_000]);
    assert_eq!(guide.groups[0].wall, common::at(0));
    assert_eq!(guide.groups[2].wall, common::at(10_000_000));
    let last = guide.groups.last().unwrap();
    assert_eq!(last.offset + last.len, built.movie.file.len());
    for pair in guide.groups.windows(2) {
        assert_eq!(pair[0].offset + pair[0].len, pair[1].offset);
    }
}

#[test]
fn a_long_file_takes_little_memory() {
    let publisher = broadcast(25, true, 240);
    let built = build_fragments(&publisher.source(0), Edits::Absent).unwrap();
    let per_segment = built.movie.file.weight() / publisher.stored(0).len();
    assert!(per_segment < 160, "{per_segment} bytes");
}

/// All of one broadcast and of another one, whose pictures have other composition offsets for it.
fn joined(seconds: i64) -> (MovieSource, Vec<Vec<u8>>) {
    let publish = |from_ms, config, reorder| {
        let mut publisher = Publisher::new();
        publisher.config(config);
        publisher.config(audio_config(2));
        publisher.broadcast(from_ms, seconds, 25, reorder, true);
        publisher.finish();
        publisher
    };
    let first = publish(0, video_config(), false);
    let second = publish(seconds * 1000, common::larger(), true);
    let source =
        MovieSource { stretches: vec![first.stretch(0, 1), second.stretch(0, 2)], ..first.source(0) };
    (source, [first.stored(0), second.stored(0)].concat())
}

#[test]
fn a_long_join_takes_the_memory_of_its_index() {
    let (source, stored) = joined(240);
    let index: usize = source
        .stretches
        .iter()
        .flat_map(|stretch| &stretch.segments)
        .map(|segment| segment.index.0.len())
        .sum();
    for edits in [Edits::Hiding, Edits::Absent] {
        let built = build_fragments(&source, edits).unwrap();
        let (weight, segments) = (built.movie.file.weight(), stored.len());
        assert!(weight < index + 160 * segments, "{weight} bytes, {index} of indexes, {segments} segments");
    }
}

/// When each group begins and ends, in ms, after a check of what holds for every guide.
fn spans(built: &BuiltFragments) -> Vec<(i64, i64)> {
    let Guide { groups, end_us, .. } = built.guide.as_ref();
    let last = groups.last().unwrap();
    assert_eq!(last.offset + last.len, built.movie.file.len());
    for pair in groups.windows(2) {
        assert_eq!(pair[0].offset + pair[0].len, pair[1].offset);
        if !pair[1].follows_break {
            let shown_us = pair[1].start_us - pair[0].start_us;
            let passed_us = pair[1].wall.as_micros() - pair[0].wall.as_micros();
            assert!((shown_us - passed_us).abs() < 1000, "{shown_us} {passed_us}");
        }
    }
    let ends = groups.iter().skip(1).map(|group| group.start_us).chain([*end_us]);
    groups.iter().zip(ends).map(|(group, end)| (group.start_us / 1000, end / 1000)).collect()
}

#[test]
fn a_guide_leads_through_sound_before_and_after_the_pictures() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    for sound in 0..40 * 47 {
        let at_ms = sound * 1024 / 48;
        publisher.sound(0, sound, at_ms);
        let pictures = at_ms / 40 - (at_ms - 1024 / 48) / 40;
        if pictures > 0 && (10_000..20_000).contains(&at_ms) {
            let picture = at_ms / 40;
            publisher.picture(picture * 40, 0, picture % 25 == 0, at_ms);
        }
    }
    publisher.finish();
    assert_eq!(publisher.dropped(), [""; 0]);
    let built = build_fragments(&publisher.source(0), Edits::Absent).unwrap();
    let spans = spans(&built);
    assert_eq!(spans[0].0, 0);
    assert!(built.guide.groups[0].wall.as_micros().abs_diff(common::WALL_US) < 1000);
    let end_ms = 40 * 47 * 1024 / 48;
    assert!(spans.last().unwrap().1.abs_diff(end_ms) <= 1, "{spans:?}");
    assert!(spans.iter().all(|(start, end)| (1..=6000).contains(&(end - start))), "{spans:?}");
}

#[test]
fn a_guide_has_a_break_before_each_stretch_whatever_it_has() {
    let (mut source, mut stored) = interrupted(25, (false, false), 0, 3000, false);
    let mut sound = Publisher::new();
    sound.config(audio_config(2));
    (0..400).for_each(|number| sound.sound(20_000, number, 20_000 + number * 1024 / 48));
    sound.finish();
    source.stretches.insert(1, sound.stretch(0, 3));
    stored.extend(sound.stored(0));
    let built = build_fragments(&source, Edits::Absent).unwrap();
    let spans = spans(&built);
    let breaks: Vec<i64> = built
        .guide
        .groups
        .iter()
        .zip(&spans)
        .filter(|(group, _)| group.follows_break)
        .map(|(_, span)| span.0)
        .collect();
    let [first, second] = breaks[..] else { panic!("{breaks:?}") };
    assert!(first.abs_diff(4000) < 60 && second.abs_diff(4000 + 8533) < 60, "{breaks:?}");
}
