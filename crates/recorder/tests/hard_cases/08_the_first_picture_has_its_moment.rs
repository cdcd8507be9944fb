//! When did a recording begin? Its first segment is stored a second later.
//!
//! `startTime` of asset and metadata is when the first picture was sent, to the millisecond, also when the
//! encoder's own clock starts anywhere, and sound was there first.

use mediahooks_model::Timestamp;
use mediahooks_testkit::synthetic::{SimulatedClock, Source};

use crate::stage::Stage;

#[tokio::test]
async fn it_is_told_to_the_millisecond() {
    for first_stamp_ms in [0, 77_777] {
        let stage = Stage::new().await;
        let mut source = Source { first_stamp_ms, ..Source::default() };
        source.pause_ms(3_480);
        let mut tags = source.headers();
        tags.extend(source.seconds(5));
        stage.broadcast(&tags).await;
        let begun = Timestamp::from_micros(SimulatedClock::new().wall_us()).plus_micros(3_480_000);
        let recording = stage.recording().await;
        for told in [recording.asset.start_time, recording.metadata.start_time.unwrap()] {
            assert!(told.micros_since(begun).abs() < 30_000, "{told} is not {begun}");
        }
        let length = recording.metadata.stop_time.unwrap().since(begun);
        assert!((4_980..5_040).contains(&length.as_millis()), "{length:?}");
    }
}
