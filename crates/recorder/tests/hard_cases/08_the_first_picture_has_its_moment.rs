//! When did a recording begin? Its first segment is stored a second later.
//!
//! `startTime` of asset and metadata is when the first sample was sent, to the millisecond, also when the
//! encoder's own clock starts anywhere, and whichever of sound and picture was there first.

use mediahooks_model::Timestamp;
use mediahooks_testkit::synthetic::{SimulatedClock, Source, Tag};

use crate::stage::Stage;

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
