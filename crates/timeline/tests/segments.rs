//! How samples are grouped into segments and runs.

mod common;

use bytes::Bytes;
use common::{Publisher, WALL_US, at, audio_config, video_config};
use mediahooks_media::cmaf::parse_fragment;
use mediahooks_media::colour::{Colour, ColourInfo, ContentLight};
use mediahooks_media::sample::{Sample, Ticks, TrackConfig, TrackKind};
use mediahooks_timeline::segmenter::{ClosedSegment, RUN_ORIGIN_US, Received};

fn lengths_ms(segments: &[&ClosedSegment]) -> Vec<i64> {
    segments.iter().map(|segment| (segment.media_end_us - segment.media_start_us) / 1000).collect()
}

#[test]
fn groups_that_fit_become_segments_that_begin_with_a_sync_sample() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.broadcast(0, 8, 20, false, false);
    publisher.finish();
    let segments = publisher.segments();
    assert_eq!(lengths_ms(&segments), [800; 10]);
    assert!(segments.iter().all(|segment| segment.starts_with_sync));
}

#[test]
fn long_groups_are_stored_in_equal_pieces() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.broadcast(0, 12, 50, false, false);
    publisher.finish();
    let segments = publisher.segments();
    let lengths = lengths_ms(&segments);
    // After the first group of 2 s is known, the next ones are cut into three.
    assert_eq!(lengths[..9], [800, 800, 400, 680, 680, 640, 680, 680, 640]);
    let starts: Vec<bool> = segments[3..6].iter().map(|segment| segment.starts_with_sync).collect();
    assert_eq!(starts, [true, false, false]);
}

/// Else no segment would ever begin with a sync sample again.
#[test]
fn the_rest_of_a_group_that_was_cut_is_a_segment_however_short() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.broadcast(0, 4, 25, false, false);
    publisher.finish();
    let segments = publisher.segments();
    assert_eq!(lengths_ms(&segments), [800, 200, 520, 480, 520, 480, 520, 480]);
}

/// What a crash costs is what has arrived and is not stored: pictures and sound that come seconds apart in their
/// own time are no reason to wait, nor is a track that has stopped.
#[test]
fn no_segment_stays_open_for_longer_than_its_piece() {
    for (lag_ms, pictures) in [(0, 250), (700, 250), (-700, 250), (0, 30)] {
        let mut publisher = Publisher::new();
        publisher.config(video_config());
        publisher.config(audio_config(2));
        let mut opened: Option<i64> = None;
        let mut longest = 0;
        for tick in 0..1000 {
            let (at_ms, closed) = (tick * 10, publisher.segments().len());
            if tick % 4 == 0 && tick / 4 < pictures {
                publisher.picture(at_ms + 1000, 0, tick % 200 == 0, at_ms);
            }
            if tick % 2 == 0 {
                publisher.sound(1000 + lag_ms, tick * 480 / 1024, at_ms);
            }
            if publisher.segments().len() > closed {
                longest = longest.max(at_ms - opened.unwrap_or(at_ms));
                opened = Some(at_ms);
            }
            opened.get_or_insert(at_ms);
        }
        assert!((500..=860).contains(&longest), "{longest} ms with {lag_ms} ms of lag");
    }
}

#[test]
fn short_groups_share_a_segment() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.broadcast(0, 4, 1, false, false);
    publisher.finish();
    let lengths = lengths_ms(&publisher.segments());
    let whole = &lengths[..lengths.len() - 1];
    assert!(whole.iter().all(|&length| (280..=1040).contains(&length)), "{lengths:?}");
}

#[test]
fn stored_bytes_are_the_samples_that_were_sent() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publisher.broadcast(0, 3, 25, true, true);
    publisher.finish();
    let mut pictures = Vec::new();
    for (segment, bytes) in publisher.segments().iter().zip(publisher.stored(0)) {
        assert_eq!(bytes.len() as u64, segment.len);
        let parsed = parse_fragment(&bytes).unwrap();
        for (span, track) in segment.index.tracks.iter().zip(&parsed.tracks) {
            assert_eq!((span.base_dts, &span.samples), (track.base_dts, &track.samples));
            let mut offset = span.data_offset as usize;
            for sample in &span.samples {
                let data = &bytes[offset..offset + sample.size as usize];
                if span.track == 0 {
                    pictures.push(String::from_utf8(data.to_vec()).unwrap());
                }
                offset += sample.size as usize;
            }
        }
    }
    let sent: Vec<String> = (0..75).map(|picture| format!("picture {}", picture * 40)).collect();
    assert_eq!(pictures, sent);
}

#[test]
fn a_late_second_track_joins_the_run() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.broadcast(0, 3, 25, false, false);
    publisher.config(audio_config(2));
    publisher.broadcast(3000, 3, 25, false, true);
    publisher.finish();
    let segments = publisher.segments();
    assert!(segments.iter().all(|segment| segment.run == 0));
    let announced: Vec<usize> =
        segments.iter().filter_map(|segment| segment.tracks.as_ref()).map(Vec::len).collect();
    assert_eq!(announced, [1, 2]);
}

#[test]
fn another_configuration_begins_a_run_and_the_same_one_does_not() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publisher.broadcast(0, 2, 25, false, true);
    publisher.config(audio_config(2));
    publisher.broadcast(2000, 2, 25, false, true);
    publisher.config(audio_config(1));
    publisher.broadcast(4000, 2, 25, false, true);
    publisher.finish();
    let mut runs: Vec<u32> = publisher.segments().iter().map(|segment| segment.run).collect();
    runs.dedup();
    assert_eq!(runs, [0, 1]);
}

#[test]
fn colours_told_late_complete_the_run_and_other_ones_begin_another() {
    let told = |transfer| TrackConfig {
        told: ColourInfo {
            colour: Some(Colour { primaries: 9, transfer, matrix: 9, full_range: false }),
            ..ColourInfo::default()
        },
        ..video_config()
    };
    let brighter = |pixel_max| TrackConfig {
        told: ColourInfo { light: Some(ContentLight { pixel_max, picture_max: 0 }), ..told(16).told },
        ..video_config()
    };
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.broadcast(0, 2, 25, false, false);
    // As often as they like.
    for _ in 0..3 {
        publisher.config(told(16));
    }
    publisher.broadcast(2000, 2, 25, false, false);
    publisher.config(brighter(1000));
    publisher.broadcast(4000, 2, 25, false, false);
    publisher.config(brighter(2000));
    publisher.broadcast(6000, 2, 25, false, false);
    publisher.config(told(18));
    publisher.broadcast(8000, 2, 25, false, false);
    publisher.config(video_config());
    publisher.broadcast(10_000, 2, 25, false, false);
    publisher.finish();
    let announced: Vec<(u32, TrackConfig)> = publisher
        .segments()
        .iter()
        .filter_map(|segment| Some((segment.run, segment.tracks.as_ref()?.first()?.clone())))
        .collect();
    let expected =
        [(0, video_config()), (0, told(16)), (0, brighter(1000)), (1, told(18)), (2, video_config())];
    assert_eq!(announced, expected);
}

#[test]
fn a_jump_of_timestamps_begins_a_run_and_a_pause_does_not() {
    for jump_ms in [149 * 3_600_000, -2000] {
        let mut publisher = Publisher::new();
        publisher.config(video_config());
        publisher.broadcast(10_000, 2, 25, false, false);
        for picture in 0..50 {
            publisher.picture(12_000 + jump_ms + picture * 40, 0, picture == 0, 12_000 + picture * 40);
        }
        publisher.finish();
        let segments = publisher.segments();
        let mut runs: Vec<u32> = segments.iter().map(|segment| segment.run).collect();
        runs.dedup();
        assert_eq!(runs, [0, 1]);
        let longest = segments.iter().flat_map(|segment| &segment.index.tracks[0].samples);
        assert!(longest.map(|sample| sample.duration).max().unwrap() <= 3600);
    }
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.broadcast(0, 2, 25, false, false);
    publisher.broadcast(62_000, 2, 25, false, false);
    publisher.finish();
    assert!(publisher.segments().iter().all(|segment| segment.run == 0));
}

#[test]
fn samples_left_over_from_the_clock_before_a_jump_do_not_jump_back() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publisher.broadcast(0, 2, 25, false, true);
    publisher.picture(3_600_000, 0, true, 2000);
    publisher.sound(0, 94, 2005);
    publisher.picture(3_600_040, 0, false, 2040);
    publisher.sound(3_600_000, 0, 2041);
    publisher.finish();
    assert_eq!(publisher.dropped(), ["timestamp_jump"]);
    assert_eq!(publisher.segments().last().unwrap().run, 1);
    assert_eq!(publisher.segments().last().unwrap().index.tracks.len(), 2);
}

#[test]
fn a_track_with_a_clock_of_its_own_is_brought_onto_that_of_the_run() {
    for skew_ms in [20_000, 3_600_000, -20_000] {
        let mut publisher = Publisher::new();
        publisher.config(video_config());
        publisher.config(audio_config(2));
        for ms in 0..20_000 {
            if ms % 40 == 0 {
                publisher.picture(30_000 + ms, 0, ms % 1000 == 0, ms);
            }
            if ms * 48 % 1024 < 48 {
                publisher.sound(30_000 + skew_ms, ms * 48 / 1024, ms);
            }
        }
        publisher.finish();
        assert_eq!(publisher.dropped(), [""; 0]);
        for segment in publisher.segments() {
            assert_eq!(segment.run, 0);
            let start_ms = |track: usize, per_ms| segment.index.tracks[track].base_dts.0 / per_ms;
            assert!(start_ms(0, 90).abs_diff(start_ms(1, 48)) < 60, "skewed by {skew_ms} ms");
        }
    }
}

#[test]
fn a_track_that_does_not_follow_the_jump_of_the_other_costs_one_run_and_a_second() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    for ms in 0..20_000 {
        if ms % 40 == 0 {
            let jump_ms = if ms < 5000 { 0 } else { 60_000 };
            publisher.picture(ms + jump_ms, 0, ms % 1000 == 0, ms);
        }
        if ms * 48 % 1024 < 48 {
            publisher.sound(0, ms * 48 / 1024, ms);
        }
    }
    publisher.finish();
    let last = *publisher.segments().last().unwrap();
    assert_eq!((last.run, last.index.tracks.len()), (1, 2));
    assert!(publisher.dropped().iter().all(|&reason| reason == "timestamp_jump"));
    assert!(publisher.dropped().len() <= 48, "{}", publisher.dropped().len());
}

#[test]
fn pictures_dropped_at_the_start_do_not_set_the_clock_of_the_run() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publisher.picture(0, 0, false, 0);
    publisher.picture(12_000, 0, true, 1000);
    publisher.sound(10_900, 0, 1000);
    publisher.finish();
    let segments = publisher.segments();
    let starts: Vec<i64> = segments[0]
        .index
        .tracks
        .iter()
        .zip([90, 48])
        .map(|(span, per_ms)| span.base_dts.0 / per_ms)
        .collect();
    assert_eq!((starts[0] - starts[1], segments[0].run), (1100, 0));
}

#[test]
fn the_last_sample_after_a_pause_lasts_as_long_as_those_before_the_pause() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publisher.broadcast(0, 5, 25, false, true);
    publisher.picture(14_000, 0, true, 14_000);
    publisher.sound(14_000, 0, 14_000);
    publisher.finish();
    let last = *publisher.segments().last().unwrap();
    assert_eq!(last.media_end_us, RUN_ORIGIN_US + 14_040_000);
    let durations: Vec<u32> = last.index.tracks.iter().map(|span| span.samples[0].duration).collect();
    assert_eq!(durations, [3600, 1024]);
}

#[test]
fn a_step_that_was_made_to_let_decode_times_rise_is_no_usual_duration() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    for (dts, is_sync) in [(0, true), (40, false), (80, false), (80, false)] {
        publisher.picture(dts, 0, is_sync, dts);
    }
    publisher.finish();
    assert_eq!(publisher.segments()[0].index.tracks[0].samples.last().unwrap().duration, 3600);
}

#[test]
fn a_decode_time_that_does_not_rise_costs_no_picture() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    for (dts, is_sync) in [(0, true), (40, false), (40, false), (30, false), (80, false)] {
        publisher.picture(dts, 0, is_sync, dts);
    }
    publisher.finish();
    let segments = publisher.segments();
    let span = &segments[0].index.tracks[0];
    let times: Vec<(i64, i64)> = span
        .timed()
        .map(|(dts, info)| (dts.0 - 900_000, dts.0 - 900_000 + i64::from(info.cts_offset)))
        .collect();
    assert_eq!(times, [(0, 0), (3600, 3600), (3601, 3600), (3602, 2700), (7200, 7200)]);
}

#[test]
fn pictures_before_the_first_sync_sample_are_dropped_and_counted() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.picture(0, 0, false, 0);
    publisher.picture(40, 0, false, 40);
    publisher.picture(80, 0, true, 80);
    publisher.finish();
    assert_eq!(publisher.dropped(), ["before_first_key_frame"; 2]);
    assert_eq!(publisher.segments()[0].index.tracks[0].samples.len(), 1);
}

#[test]
fn samples_of_an_unknown_track_are_dropped_and_counted() {
    let mut publisher = Publisher::new();
    publisher.sound(0, 0, 0);
    assert_eq!(publisher.dropped(), ["no_configuration"]);
}

#[test]
fn a_silent_publisher_does_not_keep_media_in_memory() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.picture(0, 0, true, 0);
    publisher.segmenter.poll(at(1_500_000), &mut publisher.outputs).unwrap();
    assert!(publisher.segments().is_empty());
    publisher.segmenter.poll(at(1_700_000), &mut publisher.outputs).unwrap();
    assert_eq!(publisher.segments().len(), 1);
}

#[test]
fn one_silent_track_does_not_hold_a_segment_open() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publisher.broadcast(0, 1, 25, false, true);
    for sound in 47..470 {
        publisher.sound(0, sound, sound * 1024 / 48);
    }
    publisher.finish();
    let lengths = lengths_ms(&publisher.segments());
    assert!(lengths.len() >= 6 && lengths.iter().all(|&length| length <= 1600), "{lengths:?}");
}

#[test]
fn large_pictures_close_a_segment_early() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    for picture in 0..20 {
        let sample = mediahooks_media::sample::Sample {
            dts: mediahooks_media::sample::Ticks(picture * 3600),
            cts_offset: 0,
            is_sync: picture == 0,
            data: bytes::Bytes::from(vec![0; 3 << 20]),
        };
        publisher.push(TrackKind::Video, sample, picture * 40);
    }
    publisher.finish();
    assert!(publisher.segments().iter().all(|segment| segment.len <= (8 << 20) + 4096));
    assert_eq!(
        publisher.segments().iter().map(|segment| segment.index.tracks[0].samples.len()).sum::<usize>(),
        20
    );
}

#[test]
fn the_wall_clock_of_a_segment_is_when_it_arrived() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.broadcast(5_000, 3, 25, false, false);
    publisher.finish();
    let segment = publisher.segments()[1];
    assert_eq!(segment.media_start_us, RUN_ORIGIN_US + 800_000);
    assert_eq!(segment.media_start_us + segment.wall_offset_us, WALL_US + 5_800_000);
}

#[test]
fn what_was_received_reaches_to_the_latest_decode_time() {
    let mut publisher = Publisher::new();
    assert_eq!(publisher.segmenter.received(at(0)), None);
    publisher.config(video_config());
    publisher.picture(0, 80, true, 100);
    publisher.picture(40, 120, false, 140);
    publisher.picture(80, 0, false, 180);
    // The earliest that a picture can have been captured is when it arrived: the clock is set by the
    // one with the largest offset, and the next picture to come may be shown at 120 ms.
    let (reordered_us, pause_us) = (120_000, 40_000);
    let received = |until, set_us| Some(Received { run: 0, until, set_us, reordered_us, pause_us });
    assert_eq!(publisher.segmenter.received(at(180_000)), received(at(60_000), 0));
    // A clock that is set moves what was received by as much, and tells by how much.
    publisher.segmenter.set_clock(-50_000, &mut Vec::new()).unwrap();
    assert_eq!(publisher.segmenter.received(at(130_000)), received(at(10_000), -50_000));
}

/// Until when the latest picture is on screen of a feed that is live at `now_ms`, in milliseconds after the first.
fn held_ms(publisher: &Publisher, now_ms: i64) -> Option<i64> {
    let held = publisher.segmenter.held(at(now_ms * 1000))?;
    Some((held.until_us - RUN_ORIGIN_US) / 1000)
}

#[test]
fn a_slide_is_held_for_as_long_as_its_feed_is_live_once_it_is_closed() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.picture(0, 0, true, 0);
    assert_eq!(held_ms(&publisher, 5_000), None, "it is in the open segment");
    publisher.segmenter.flush(&mut publisher.outputs).unwrap();
    // Whether the first one is a slide is not known yet.
    assert_eq!((held_ms(&publisher, 900), held_ms(&publisher, 1_500)), (None, Some(1_500)));
    publisher.picture(5_000, 0, true, 5_000);
    // No other one is expected to share its segment.
    publisher.segmenter.poll(at(5_200_000), &mut publisher.outputs).unwrap();
    assert_eq!(publisher.segments().len(), 2);
    assert_eq!((held_ms(&publisher, 5_020), held_ms(&publisher, 5_300)), (None, Some(5_300)));
}

#[test]
fn the_picture_of_a_steady_publisher_is_held_for_as_long_as_sound_comes() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    publisher.broadcast(0, 2, 25, true, true);
    publisher.finish();
    assert_eq!(held_ms(&publisher, 30_000), None);
    for number in 94..300 {
        publisher.sound(0, number, number * 1024 / 48);
    }
    let last = 299 * 1024 / 48;
    assert_eq!(held_ms(&publisher, 30_000), Some(last), "the sound may be open");
    assert_eq!(held_ms(&publisher, 2_100), None);
}

/// Up to when everything has been received at `now_ms`, in milliseconds, to the nearest ten.
fn received_ms(publisher: &mut Publisher, now_ms: i64) -> i64 {
    let until_us = publisher.segmenter.received(at(now_ms * 1000)).unwrap().until.micros_since(at(0));
    (until_us + 5_000) / 10_000 * 10
}

/// Pictures at these moments and, if asked for, sound in real time up to `until_ms`, in order of time. Pictures are
/// sent `late_ms` after their time.
fn send(publisher: &mut Publisher, pictures: &[i64], sounds: std::ops::Range<i64>, late_ms: i64) {
    let mut all: Vec<(i64, Option<i64>, i64)> = Vec::new();
    all.extend(pictures.iter().map(|&picture| (picture + late_ms, None, picture)));
    all.extend(sounds.map(|sound| (sound * 64 / 3, Some(sound), 0)));
    all.sort_unstable();
    for (sent_ms, sound, picture) in all {
        match sound {
            Some(sound) => publisher.sound(0, sound, sent_ms),
            None => publisher.picture(picture, 0, true, sent_ms),
        }
    }
}

#[test]
fn what_was_received_is_known_where_no_pictures_come() {
    let frames_of = |ms: i64| ms * 3 / 64 + 1;
    let begin = |is_heard: bool| {
        let mut publisher = Publisher::new();
        publisher.config(video_config());
        if is_heard {
            publisher.config(audio_config(2));
        }
        publisher
    };

    let mut slides = begin(true);
    send(&mut slides, &[0, 10_000], 0..frames_of(16_000), 0);
    assert_eq!(received_ms(&mut slides, 16_000), 15_500);

    let mut silent_slides = begin(false);
    send(&mut silent_slides, &[0, 10_000], 0..0, 0);
    assert_eq!(received_ms(&mut silent_slides, 13_000), 12_500);
    // The next one is due.
    assert_eq!(received_ms(&mut silent_slides, 25_000), 20_000);

    let steady: Vec<i64> = (0..100).map(|picture| picture * 40).collect();
    let mut stalled = begin(true);
    send(&mut stalled, &steady, 0..frames_of(5_000), 0);
    assert_eq!(received_ms(&mut stalled, 5_000), 3_960);
    send(&mut stalled, &[], frames_of(5_000)..frames_of(8_000), 0);
    assert_eq!(received_ms(&mut stalled, 8_000), 6_000);
    // Later than any before it: what was said holds.
    stalled.picture(4_000, 0, true, 8_000);
    assert_eq!(received_ms(&mut stalled, 8_000), 6_000);

    let mut silent = begin(false);
    send(&mut silent, &steady, 0..0, 0);
    assert_eq!(received_ms(&mut silent, 9_000), 3_960);
}

#[test]
fn pictures_that_are_always_late_are_waited_for() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    let pictures: Vec<i64> = (0..250).map(|picture| picture * 40).collect();
    send(&mut publisher, &pictures[..150], 0..420, 3_000);
    assert_eq!(received_ms(&mut publisher, 8_960), 5_960);
    // The sound has come to 11.9 s, and pictures may be three seconds late and two more.
    send(&mut publisher, &[], 420..560, 0);
    let until_ms = received_ms(&mut publisher, 11_940);
    assert!((6_920..6_950).contains(&until_ms), "{until_ms}");
}

#[test]
fn a_flood_of_samples_is_parted() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    for number in 0..40_000 {
        let sample = Sample {
            dts: Ticks(number),
            cts_offset: 0,
            is_sync: number == 0,
            data: Bytes::from_static(b"x"),
        };
        publisher.push(TrackKind::Video, sample, number / 90);
    }
    publisher.finish();
    let counts: Vec<usize> =
        publisher.segments().iter().map(|segment| segment.index.tracks[0].samples.len()).collect();
    assert_eq!(counts, [16_384, 16_384, 7232]);
}
