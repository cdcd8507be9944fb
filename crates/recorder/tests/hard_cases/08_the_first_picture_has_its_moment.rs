//! When did a recording begin? Its first segment is stored a second later.
//!
//! `startTime` of asset and metadata is when the first sample was sent, to the millisecond, also when the
//! encoder's own clock starts anywhere, and whichever of sound and picture was there first. A publisher that begins with
//! what it has kept back, over a line that is hardly fast enough, is known to have when it has caught up: from then on the
//! times of its first seconds are right, too.

use mediahooks_model::Timestamp;
use mediahooks_testkit::synthetic::{SimulatedClock, Source, Tag};

use crate::stage::{Stage, numbers};

/// Publishes 5 s that begin 3.48 s after the connection, without what `left_out` names.
async fn check(first_stamp_ms: i64, left_out: impl Fn(&Tag) -> bool) {
    let stage = Stage::new().await;
    let mut source = Source { first_stamp_ms, ..Source::default() };
    source.pause_ms(3_480);
    let headers = source.headers();
    let mut media = source.seconds(5);
    media.retain(|tag| !left_out(tag));
    let (first, last) = (media[0].sent_us, media.last().unwrap().sent_us);
    stage.broadcast(&[headers, media].concat()).await;
    let at = |sent_us: i64| Timestamp::from_micros(SimulatedClock::new().wall_us()).plus_micros(sent_us);
    let recording = stage.recording().await;
    for told in [recording.asset.start_time, recording.metadata.start_time.unwrap()] {
        assert!(told.micros_since(at(first)).abs() <= 1_000, "{told} is not {}", at(first));
    }
    // It ends with its last sample, which lasts a frame.
    let after = recording.metadata.stop_time.unwrap().micros_since(at(last));
    assert!((20_000..=41_000).contains(&after), "{after}");
}

#[tokio::test]
async fn it_is_told_to_the_millisecond() {
    for first_stamp_ms in [0, 77_777] {
        check(first_stamp_ms, |_| false).await;
    }
}

#[tokio::test]
async fn whichever_was_there_first() {
    for late_type in [8, 9] {
        check(77_777, |tag| tag.tag_type == late_type && tag.sent_us < 4_480_000).await;
    }
}

#[tokio::test]
async fn of_what_was_kept_back_it_is_known_later() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(60));
    for tag in &mut tags {
        // Five seconds, over a line that carries twice the bitrate.
        tag.sent_us = tag.sent_us.max(5_000_000 + tag.sent_us / 2);
    }
    let mut publisher = stage.publish("stage", &[]).await;
    let is_early = |tag: &&Tag| tag.sent_us < 40_000_000;
    let early: Vec<Tag> = tags.iter().take_while(is_early).cloned().collect();
    stage.push(&mut publisher, &early).await;
    let check = async || {
        for (from, to) in [(0, 40), (100, 350), (210, 260), (0, 900)] {
            let [clip] = &stage.clips(from * 40, to * 40).await[..] else { panic!("{from}..{to}") };
            let wanted: Vec<u32> = (from as u32..to as u32).collect();
            assert_eq!(numbers(&clip.shown()), wanted);
            let begun = Timestamp::from_micros(SimulatedClock::new().wall_us());
            let [start, stop] = [clip.metadata.start_time, clip.metadata.stop_time].map(|told| told.unwrap());
            let off_us = [(start, from), (stop, to)].map(|(told, at)| told.micros_since(begun) - at * 40_000);
            assert!(off_us.iter().all(|off_us| off_us.abs() < 20_000), "{from}..{to}: {off_us:?}");
        }
    };
    check().await;
    stage.push(&mut publisher, &tags[early.len()..]).await;
    stage.end(publisher).await;
    check().await;
    let told = stage.recording().await.metadata.start_time.unwrap();
    let off_us = told.micros_since(Timestamp::from_micros(SimulatedClock::new().wall_us()));
    assert!(off_us.abs() < 20_000, "{off_us}");
}
