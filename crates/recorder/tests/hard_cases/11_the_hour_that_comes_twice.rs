//! Daylight saving ends: local time shows an hour twice.
//!
//! Nothing here is named or ordered by local time: both recordings are kept, and their files have different
//! names in UTC.

use mediahooks_testkit::synthetic::Source;

use crate::stage::Stage;

#[tokio::test]
async fn recordings_an_hour_apart_do_not_meet() {
    let stage = Stage::new().await;
    for _ in 0..2 {
        let mut source = Source { audio: false, ..Source::default() };
        let mut tags = source.headers();
        tags.extend(source.seconds(2));
        stage.broadcast(&tags).await;
        stage.clock.0.pass_until(3_600_000_000);
    }
    let recordings = stage.recordings().await;
    assert_eq!(recordings.len(), 2);
    let mut names = Vec::new();
    for recording in &recordings {
        assert_eq!(recording.pictures().len(), 50);
        names.push(stage.bench.recorder.open_download(recording.asset.id).await.unwrap().file_name);
    }
    assert_eq!(names, ["stage 2023-11-14T22-13-20Z.mp4", "stage 2023-11-14T23-13-20Z.mp4"]);
}
