//! The encoder's clock and the server's drift apart, by 800 ppm: half a second in ten minutes.
//!
//! Kept: everything, with sound and picture in step, as both are on the encoder's clock. Clips by wall clock
//! stay right within a frame to the end.

use mediahooks_testkit::synthetic::Source;

use crate::stage::Stage;

#[tokio::test]
async fn clips_are_right_to_the_end() {
    let stage = Stage::new().await;
    let mut source = Source { picture_us: 200_000, group: 5, audio: false, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(600));
    for tag in &mut tags {
        // A second of the encoder takes less than one of ours.
        tag.sent_us -= tag.sent_us * 800 / 1_000_000;
    }
    stage.broadcast(&tags).await;
    for at_ms in [30_000, 300_000, 590_000] {
        let clips = stage.clips(at_ms, at_ms + 4000).await;
        let first = clips[0].shown()[0].number;
        // By our clock, picture n is sent at n * 200 ms * 0.9992.
        let wanted = (at_ms as f64 / 199.84).ceil() as i64;
        assert!((i64::from(first) - wanted).abs() <= 1, "{first} instead of {wanted} at {at_ms} ms");
    }
    assert_eq!(stage.recording().await.pictures().len(), 3000);
    assert_eq!(stage.count("jump", &[]), 0);
}
