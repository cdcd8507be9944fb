//! A picture a minute, or pictures at irregular times.
//!
//! Kept: every picture for exactly as long as it was on screen; half an hour is half an hour.

use mediahooks_testkit::synthetic::Source;

use crate::stage::Stage;

#[tokio::test]
async fn half_an_hour_of_slides_is_half_an_hour() {
    let stage = Stage::new().await;
    let mut source = Source { picture_us: 60_000_000, group: 1, audio: false, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(31 * 60));
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert_eq!(recording.shown().len(), 31);
    assert!((1_800_000..1_861_000).contains(&recording.duration_ms()), "{}", recording.duration_ms());
    assert_eq!(recording.shown()[30].at_ms, 1_800_000);
}

#[tokio::test]
async fn irregular_pictures_keep_their_times() {
    let stage = Stage::new().await;
    let mut source = Source { audio: false, ..Source::default() };
    let mut tags = source.headers();
    let mut wanted = Vec::new();
    // 16 to 300 ms, the same each time.
    for picture in 0i64..120 {
        let step_us = (16 + (picture * picture * 37) % 285) * 1000;
        source.picture_us = step_us;
        let tag = source.millis(step_us / 1000).remove(0);
        wanted.push(i64::from(tag.timestamp_ms));
        tags.push(tag);
    }
    stage.broadcast(&tags).await;
    let shown = stage.recording().await.shown();
    assert_eq!(shown.iter().map(|sample| sample.at_ms).collect::<Vec<_>>(), wanted);
    for (this, next) in shown.iter().zip(&shown[1..]) {
        assert_eq!(this.until_ms, next.at_ms);
    }
}
