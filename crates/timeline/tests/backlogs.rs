//! When media was captured that a publisher has kept back and sends as it begins.

mod common;

use bytes::Bytes;
use common::{Publisher, WALL_US, at, audio_config, video_config};
use mediahooks_media::sample::{Sample, Ticks, TrackKind};
use mediahooks_timeline::segmenter::RUN_ORIGIN_US;

/// A relay begins with the group of pictures that it has kept, an encoder with the seconds that it has looked at first.
#[test]
fn a_backlog_was_captured_before_it_arrived() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    publisher.config(audio_config(2));
    let live_ms = 4_000;
    for picture in 0..250 {
        let dts_ms = picture * 40;
        // What has been captured before the publisher begins comes within 100 ms, the rest as it is captured.
        let arrival_ms = if dts_ms < live_ms { live_ms + dts_ms / 40 } else { dts_ms.max(live_ms + 100) };
        publisher.picture(dts_ms, 0, picture % 25 == 0, arrival_ms);
        for sound in dts_ms * 48 / 1024..(dts_ms + 40) * 48 / 1024 {
            publisher.sound(0, sound, arrival_ms);
        }
        let now = at(arrival_ms * 1000);
        let until = publisher.segmenter.received(now).unwrap().until;
        assert!(until <= now, "what was captured until {until} cannot have been received at {now}");
    }
    publisher.finish();
    for segment in publisher.segments() {
        assert!(segment.media_end_us - segment.media_start_us <= 900_000, "{segment:?}");
        let captured_us = segment.media_start_us + segment.wall_offset_us - WALL_US;
        assert!((segment.media_start_us - RUN_ORIGIN_US - captured_us).abs() <= 40_000, "{captured_us}");
    }
}

#[test]
fn a_backlog_that_comes_slowly_is_on_the_right_clock_soon() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    for picture in 0..1000 {
        let dts_ms = picture * 40;
        // Five seconds, over a line that carries twice the bitrate.
        publisher.picture(dts_ms, 0, picture % 25 == 0, dts_ms.max(5_000 + dts_ms / 2));
    }
    publisher.finish();
    let mut before: Option<i64> = None;
    for segment in publisher.segments() {
        let captured_us = segment.media_start_us + segment.wall_offset_us - WALL_US;
        assert!(before.replace(captured_us).is_none_or(|before| before < captured_us), "{captured_us}");
        let late_us = captured_us - (segment.media_start_us - RUN_ORIGIN_US);
        let is_soon = segment.media_start_us - RUN_ORIGIN_US < 21_000_000;
        assert!((0..=if is_soon { 5_000_000 } else { 1_000 }).contains(&late_us), "{late_us}");
    }
}

/// They wait for the wall clock, in memory.
#[test]
fn a_backlog_that_nothing_follows_is_stored_soon() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    for picture in 0..100 {
        publisher.picture(picture * 40, 0, picture % 25 == 0, 0);
    }
    publisher.segmenter.poll(at(600_000), &mut publisher.outputs).unwrap();
    assert!(publisher.segments().is_empty());
    assert_eq!(publisher.segmenter.held(at(600_000)), None);
    publisher.segmenter.poll(at(650_000), &mut publisher.outputs).unwrap();
    assert!(publisher.segments().len() > 4);
}

#[test]
fn a_large_backlog_is_stored_at_once() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    for picture in 0..20 {
        let data = Bytes::from(vec![0; 3 << 20]);
        let sample = Sample { dts: Ticks(picture * 3600), cts_offset: 0, is_sync: true, data };
        publisher.push(TrackKind::Video, sample, 0);
    }
    assert!(publisher.segments().len() >= 3);
}

/// Four pictures a second that come a second at a time are no leaps of a clock.
#[test]
fn a_camera_that_sends_in_bursts_has_its_segments() {
    let mut publisher = Publisher::new();
    publisher.config(video_config());
    for picture in 0..80 {
        publisher.picture(picture * 250, 0, picture % 8 == 0, picture / 4 * 1000 + 1000);
    }
    publisher.finish();
    // Two or three pictures each.
    assert!(publisher.segments().len() <= 40, "{} segments", publisher.segments().len());
}
