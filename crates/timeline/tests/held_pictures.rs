//! Slides, few pictures a second, cameras that stall: what is on screen at each moment of a range.

mod common;

use common::player::{materialise, range, shown, whole};
use common::{Publisher, audio_config, video_config};
use mediahooks_model::{CutMode, TargetFormat};
use mediahooks_timeline::movie::{BuiltMovie, MovieError, MovieSource, build, narrow};
use mp4_atom::{FourCC, Trak};
use proptest::prelude::*;

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

/// When a track is shown, in ms of the movie: from, and until.
fn edit(trak: &Trak) -> (u64, u64) {
    let Some(list) = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref()) else {
        return (0, trak.tkhd.duration / 90);
    };
    let (empty, edits): (Vec<_>, Vec<_>) = list.entries.iter().partition(|edit| edit.media_time.is_none());
    let lasts = |edits: &[&mp4_atom::ElstEntry]| edits.iter().map(|edit| edit.segment_duration).sum::<u64>();
    (lasts(&empty) / 90, (lasts(&empty) + lasts(&edits)) / 90)
}

/// When the sound of a file is heard, in ms.
fn heard(movie: &BuiltMovie, stored: &[Vec<u8>]) -> Option<(u64, u64)> {
    let (moov, ..) = materialise(movie, stored);
    moov.trak.iter().find(|trak| trak.mdia.hdlr.handler == FourCC::new(b"soun")).map(edit)
}

#[test]
fn a_range_between_two_pictures_shows_the_earlier_one_from_start_to_end() {
    for with_sound in [false, true] {
        let publisher = slides(with_sound);
        for (from_ms, slide) in [(500, "picture 0"), (3500, "picture 3000")] {
            let movie = build(&range(publisher.source(0), from_ms, from_ms + 2000)).unwrap();
            let stored = publisher.stored(0);
            assert_eq!(shown(&movie, &stored), [(0, slide.to_owned())]);
            let metadata = &movie.metadata;
            assert_eq!(metadata.duration_ms, Some(2000));
            assert_eq!(metadata.start_time, Some(common::at(from_ms * 1000)));
            assert_eq!(metadata.tracks.len(), 1 + usize::from(with_sound));
            let (moov, ..) = materialise(&movie, &stored);
            assert_eq!((edit(&moov.trak[0]), moov.mvhd.duration), ((0, 2000), 2000 * 90));
            assert_eq!(heard(&movie, &stored), with_sound.then_some((0, 2000)));
        }
    }
}

#[test]
fn a_picture_is_on_screen_until_the_next_one_of_the_range() {
    let publisher = slides(true);
    let movie = build(&range(publisher.source(0), 2500, 4500)).unwrap();
    let stored = publisher.stored(0);
    let wanted = [(0, "picture 0".to_owned()), (500, "picture 3000".to_owned())];
    assert_eq!(shown(&movie, &stored), wanted);
    assert_eq!(movie.metadata.duration_ms, Some(2000));
    assert_eq!(heard(&movie, &stored), Some((0, 2000)));
}

#[test]
fn the_last_picture_lasts_up_to_the_end_of_the_range() {
    for with_sound in [false, true] {
        let publisher = slides(with_sound);
        let stored = publisher.stored(0);
        for (from_ms, to_ms) in [(6500, 8500), (6500, 20_000), (5990, 8999)] {
            let movie = build(&range(publisher.source(0), from_ms, to_ms)).unwrap();
            let (at, slide) = shown(&movie, &stored).remove(0);
            assert_eq!((at, slide.as_str()), (0, "picture 6000"));
            let begins = from_ms.max(6000);
            assert_eq!(movie.metadata.duration_ms, Some((to_ms - begins) as u64));
            let (moov, ..) = materialise(&movie, &stored);
            assert!(moov.trak[0].mdia.mdhd.duration / 90 >= (to_ms - begins) as u64, "the sample lasts, too");
        }
    }
    // Without an end that is known it lasts as long as its kind does, or as the sound.
    let whole = build(&slides(false).source(0)).unwrap();
    assert_eq!(whole.metadata.duration_ms, Some(6033));
    let before = range(slides(false).source(0), -3000, -1000);
    assert!(matches!(build(&before), Err(MovieError::Empty)));
}

/// A camera that sends 25 pictures a second, reordered or not, and stalls; how long it does so, after how many
/// pictures, in turn.
#[derive(Debug, Clone)]
struct Camera {
    group: usize,
    /// Composition offsets of the pictures, in steps of 40 ms, in turn.
    offsets: &'static [i64],
    /// Four times so many pictures and some more, of which those may come later that are shown before others.
    stalls: Vec<(i64, i64, i64)>,
    with_sound: bool,
}

fn camera() -> impl Strategy<Value = Camera> {
    // Also between a picture and those that are shown before it, but never so shortly that two have the same time.
    let stall = prop_oneof![(1..80i64, Just(0), 1..20_000i64), (1..80i64, 1..4i64, 200..20_000i64)];
    let stalls = prop::collection::vec(stall, 1..6);
    let offsets = prop::sample::select(vec![&[0][..], &[1, 3, 0, 0]]);
    (1..12usize, offsets, stalls, any::<bool>()).prop_map(|(blocks, offsets, stalls, with_sound)| Camera {
        group: blocks * 4,
        offsets,
        stalls,
        with_sound,
    })
}

/// Sends it, each sample when it is decoded. Returns when each picture is shown, in order.
fn publish(publisher: &mut Publisher, camera: &Camera) -> Vec<(i64, String)> {
    publisher.config(video_config());
    publisher.config(audio_config(2));
    let (mut dts, mut sounds, mut number) = (0i64, 0i64, 0usize);
    let mut shown = Vec::new();
    let mut sound_until = |publisher: &mut Publisher, dts: i64| {
        while camera.with_sound && sounds * 1024 < dts * 48 {
            publisher.sound(0, sounds, sounds * 1024 / 48);
            sounds += 1;
        }
    };
    for (blocks, more, stall) in &camera.stalls {
        for _ in 0..*blocks * 4 + more {
            sound_until(publisher, dts);
            let offset = camera.offsets[number % camera.offsets.len()] * 40;
            publisher.picture(dts, offset, number.is_multiple_of(camera.group), dts);
            shown.push((dts + offset, format!("picture {dts}")));
            (number, dts) = (number + 1, dts + 40);
        }
        dts += stall;
    }
    sound_until(publisher, dts + 200);
    publisher.finish();
    shown.sort();
    shown
}

/// What is to be seen of a range: when, and what; and from when to when the file is.
fn wanted(all: &[(i64, String)], from_ms: i64, to_ms: i64) -> (Vec<(i64, String)>, i64, i64) {
    let mut seen: Vec<(i64, String)> =
        all.iter().filter(|(at, _)| (from_ms..to_ms).contains(at)).cloned().collect();
    let before = all.iter().rev().find(|(at, _)| *at < from_ms);
    let mut begins = from_ms;
    match seen.first().map(|(at, _)| *at) {
        Some(first) if first - from_ms <= 50 => begins = first,
        _ => {
            if let Some((_, name)) = before {
                seen.insert(0, (from_ms, name.clone()));
            }
        }
    }
    let next = all.iter().map(|(at, _)| *at).find(|at| *at >= to_ms);
    // A picture that is there all the time is so up to the end.
    let is_alone = !all.iter().any(|(at, _)| (from_ms..to_ms).contains(at));
    let ends = next.filter(|next| next - to_ms <= 50 && !is_alone).unwrap_or(to_ms);
    (seen.into_iter().map(|(at, name)| (at - begins, name)).collect(), begins, ends)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever the camera does: at each moment of a clip there is what was on screen then, the sound is all there, and
    /// built again of no more than what it needs it is the same file.
    #[test]
    fn a_clip_shows_what_was_on_screen(
        camera in camera(),
        from in any::<prop::sample::Index>(),
        length_ms in 200..20_000i64,
    ) {
        let mut publisher = Publisher::new();
        let all = publish(&mut publisher, &camera);
        let last = all.last().unwrap().0;
        // Up to the last picture it is known what follows.
        prop_assume!(last > 400);
        let from_ms = all[0].0 + 1 + from.index((last - all[0].0) as usize) as i64;
        let to_ms = (from_ms + length_ms).min(last);
        prop_assume!(to_ms - from_ms >= 200);
        let (seen, begins, ends) = wanted(&all, from_ms, to_ms);
        let mut source = range(publisher.source(0), from_ms, to_ms);
        let stored = publisher.stored(0);
        let movie = build(&source).unwrap();
        prop_assert_eq!(shown(&movie, &stored), seen.clone());
        prop_assert_eq!(movie.metadata.duration_ms, Some((ends - begins) as u64));
        if camera.offsets.len() == 1 {
            // Reordered pictures arrive before they are shown.
            let off_us = movie.metadata.start_time.unwrap().micros_since(common::at(begins * 1000));
            prop_assert!(off_us.abs() <= 20_000, "{off_us}");
        }
        if let Some((from, until)) = heard(&movie, &stored) {
            prop_assert!(from == 0 && until.abs_diff((ends - begins) as u64) <= 22, "{from}..{until}");
        }
        let narrowed = narrow(&mut source).unwrap();
        let needed = narrowed.needed.clone();
        let narrowed = narrowed.build(&source).unwrap();
        let kept = stored[needed[0].first_segment..=needed[0].last_segment].to_vec();
        prop_assert_eq!(shown(&narrowed, &kept), seen);
        let again = build(&source).unwrap();
        prop_assert_eq!(&again.metadata, &narrowed.metadata);
        prop_assert!(whole(again.file.as_ref(), &kept) == whole(narrowed.file.as_ref(), &kept));
    }

    /// Cut on key frames it shows the same and, before it, what comes from the key frame on.
    #[test]
    fn a_clip_cut_on_key_frames_shows_what_was_on_screen(
        camera in camera(),
        from in any::<prop::sample::Index>(),
        length_ms in 200..20_000i64,
        webm in any::<bool>(),
    ) {
        let mut publisher = Publisher::new();
        let camera = Camera { offsets: &[0], ..camera };
        let all = publish(&mut publisher, &camera);
        let last = all.last().unwrap().0;
        prop_assume!(last > 400);
        let from_ms = 1 + from.index(last as usize) as i64;
        let to_ms = (from_ms + length_ms).min(last);
        prop_assume!(to_ms - from_ms >= 200);
        let mut source = MovieSource { cut: CutMode::Keyframe, ..range(publisher.source(0), from_ms, to_ms) };
        if webm {
            source.format = TargetFormat::Webm;
            let tracks = [common::vp9(), common::opus()];
            source.stretches[0].tracks.iter_mut().zip(tracks).for_each(|(track, free)| *track = free);
        }
        let movie = build(&source).unwrap();
        let before = all.iter().rposition(|(at, _)| *at <= from_ms).unwrap();
        let key = before - before % camera.group;
        let next = all.iter().map(|(at, _)| *at).find(|at| *at >= to_ms);
        let ends = next.filter(|next| next - to_ms <= 50).unwrap_or(to_ms);
        let lasts = movie.metadata.duration_ms.unwrap() as i64;
        prop_assert!((lasts - (ends - all[key].0)).abs() <= if camera.with_sound { 43 } else { 1 }, "{}", lasts);
        if !webm {
            let end = all.iter().position(|(at, _)| *at >= to_ms).unwrap();
            let late = shown(&movie, &publisher.stored(0)).first().unwrap().0;
            let seen: Vec<_> =
                all[key..end].iter().map(|(at, name)| (at - all[key].0 + late, name.clone())).collect();
            prop_assert_eq!(shown(&movie, &publisher.stored(0)), seen);
            let (moov, ..) = materialise(&movie, &publisher.stored(0));
            let picture = moov.trak[0].mdia.mdhd.duration as i64 / 90;
            prop_assert!((picture - (ends - all[key].0)).abs() <= 1, "{} of {}", picture, ends - all[key].0);
        }
    }
}
