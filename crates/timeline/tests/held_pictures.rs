//! Ranges in which no picture begins, but one is on screen.

mod common;

use common::player::{materialise, range, shown};
use common::{Publisher, audio_config, video_config};
use mediahooks_timeline::movie::{MovieError, build};

/// Three slides, 3 s apart, of which the first is a sync sample, with 9 s of sound.
fn slides(with_sound: bool) -> Publisher {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    for ms in 0..9000 {
        if ms % 3000 == 0 {
            publisher.picture(ms, 0, ms == 0, ms);
        }
        if with_sound && ms * 48 % 1024 < 48 {
            publisher.sound(0, ms * 48 / 1024, ms);
        }
    }
    publisher.finish();
    publisher
}

#[test]
fn a_range_between_two_pictures_shows_the_earlier_one_from_start_to_end() {
    for with_sound in [false, true] {
        let publisher = slides(with_sound);
        for (from_ms, slide) in [(500, "picture 0"), (3500, "picture 3000")] {
            let movie = build(&range(publisher.source(0), from_ms, from_ms + 2000)).unwrap();
            assert_eq!(shown(&movie, &publisher.stored(0)), [(0, slide.to_owned())]);
            let metadata = &movie.metadata;
            assert_eq!(metadata.duration_ms, Some(2000));
            assert_eq!(metadata.start_time, Some(common::at(from_ms * 1000)));
            assert_eq!(metadata.tracks.len(), 1 + usize::from(with_sound));
            let (moov, ..) = materialise(&movie, &publisher.stored(0));
            let list = moov.trak[0].edts.as_ref().unwrap().elst.as_ref().unwrap();
            assert_eq!(list.entries.last().unwrap().segment_duration, 2000 * 90);
        }
    }
}

#[test]
fn a_picture_that_begins_in_the_range_is_not_preceded_by_a_held_one() {
    let publisher = slides(true);
    let movie = build(&range(publisher.source(0), 2500, 4500)).unwrap();
    let frames = shown(&movie, &publisher.stored(0));
    // It is near the range's start, where a file begins with its first picture.
    assert_eq!(frames, [(0, "picture 3000".to_owned())]);
}

#[test]
fn the_last_picture_is_held_while_sound_goes_on_and_no_longer() {
    let publisher = slides(true);
    let movie = build(&range(publisher.source(0), 6500, 20_000)).unwrap();
    assert_eq!(shown(&movie, &publisher.stored(0)), [(0, "picture 6000".to_owned())]);
    assert!(movie.metadata.duration_ms.unwrap().abs_diff(2500) < 30, "{:?}", movie.metadata.duration_ms);
    let silent = slides(false);
    assert!(matches!(build(&range(silent.source(0), 6500, 8500)), Err(MovieError::Empty)));
}
