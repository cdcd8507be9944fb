//! Files from streams whose sync samples have leading pictures: shown before the sync sample they
//! follow in decode order, and decoded with what came before it.

mod common;

use common::player::{range, shown};
use common::{Publisher, audio_config, video_config};
use mediahooks_timeline::movie::{Edits, MovieSource, build, build_fragments, narrow};

const GROUP_MS: i64 = 480;
/// Composition offset of the sync samples.
const SYNC_MS: i64 = 120;

/// Groups of twelve pictures that are coded as I B B P B B P B B P B B. Each B is shown when it is
/// decoded, each I and P after the two B that follow it. A group is a segment.
fn broadcast(groups: i64, with_sound: bool) -> Publisher {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    if with_sound {
        publisher.config(audio_config(2));
    }
    for picture in 0..groups * 12 {
        let dts_ms = picture * 40;
        publisher.picture(dts_ms, if picture % 3 == 0 { SYNC_MS } else { 0 }, picture % 12 == 0, dts_ms);
        if with_sound {
            publisher.sound(0, picture, dts_ms);
        }
    }
    publisher.finish();
    publisher
}

/// The source as it is when nothing before segment `first` was loaded, and its bytes.
fn from_segment(publisher: &Publisher, first: usize) -> (MovieSource, Vec<Vec<u8>>) {
    let mut source = publisher.source(0);
    source.stretches[0].segments.drain(..first);
    (source, publisher.stored(0).split_off(first))
}

#[test]
fn a_recording_begins_with_its_first_sync_sample() {
    for with_sound in [false, true] {
        let publisher = broadcast(4, with_sound);
        let movie = build(&publisher.source(0)).unwrap();
        let frames = shown(&movie, &publisher.stored(0));
        // All but the two that are shown before it.
        assert_eq!(frames.len(), 46);
        assert_eq!(frames[0].1, "picture 0");
        assert_eq!(frames[1].1, "picture 160");
        assert_eq!(movie.metadata.tracks[0].kind, "video");
        assert_eq!(movie.metadata.pre_roll_ms, Some(0));
    }
}

#[test]
fn a_clip_that_begins_among_leading_pictures_without_references_begins_with_their_sync_sample() {
    let publisher = broadcast(6, true);
    let (source, stored) = from_segment(&publisher, 3);
    let movie = build(&range(source, 3 * GROUP_MS + 40, 5 * GROUP_MS)).unwrap();
    assert_eq!(movie.metadata.tracks[0].kind, "video");
    assert_eq!(shown(&movie, &stored)[0].1, format!("picture {}", 3 * GROUP_MS));
}

#[test]
fn a_clip_shows_leading_pictures_whose_references_are_there() {
    let publisher = broadcast(6, false);
    let from_ms = 3 * GROUP_MS + 40;
    let movie = build(&range(publisher.source(0), from_ms, from_ms + 200)).unwrap();
    let frames = shown(&movie, &publisher.stored(0));
    assert_eq!((frames.len(), &frames[0]), (5, &(0, format!("picture {from_ms}"))));
}

#[test]
fn decoding_begins_a_group_early_where_the_nearest_sync_sample_has_leading_pictures() {
    let publisher = broadcast(6, false);
    let sync_ms = 3 * GROUP_MS + SYNC_MS;
    let clip = |source| build(&range(source, sync_ms + 40, sync_ms + 400)).unwrap();
    let movie = clip(publisher.source(0));
    assert_eq!(movie.metadata.pre_roll_ms, Some(40 + GROUP_MS as u64));
    let mut source = range(publisher.source(0), sync_ms + 40, sync_ms + 400);
    assert_eq!(narrow(&mut source).unwrap().needed[0].first_segment, 2);
    let first = shown(&movie, &publisher.stored(0)).remove(0);
    // Without the group before, the clip is the same.
    let (source, stored) = from_segment(&publisher, 3);
    let movie = clip(source);
    assert_eq!(movie.metadata.pre_roll_ms, Some(40));
    assert_eq!(shown(&movie, &stored)[0], first);
}

#[test]
fn a_guide_tells_that_groups_need_those_before_them() {
    let guide = |publisher: &Publisher| build_fragments(&publisher.source(0), Edits::Absent).unwrap().guide;
    assert!(!guide(&broadcast(30, true)).is_independent);
    let mut closed = Publisher::new();
    closed.config(video_config());
    closed.broadcast(0, 8, 25, true, false);
    closed.finish();
    assert!(guide(&closed).is_independent);
}
