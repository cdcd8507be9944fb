//! Pictures are to be shown before they are decoded: composition offsets are negative.
//!
//! Kept: every picture at its time. The file's own offsets are moved so that no player has to know negative
//! ones at its start.

use bytes::Bytes;
use mediahooks_testkit::synthetic::Source;

use crate::stage::Stage;

#[tokio::test]
async fn every_picture_is_shown_at_its_time() {
    let stage = Stage::new().await;
    let mut source = Source { audio: false, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(4));
    for tag in tags.iter_mut().filter(|tag| !tag.is_header()) {
        let mut body = tag.body.to_vec();
        // -80 ms in 24 bits.
        body[2..5].copy_from_slice(&[0xFF, 0xFF, 0xB0]);
        tag.body = Bytes::from(body);
    }
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    let shown = recording.shown();
    assert_eq!(shown.len(), 100);
    assert_eq!(
        shown.iter().map(|sample| sample.at_ms).collect::<Vec<_>>(),
        (0..100).map(|n| n * 40).collect::<Vec<_>>()
    );
    assert_eq!(recording.duration_ms(), 4000);
}
