//! Surround sound in 5.1.
//!
//! Kept: all six channels; the metadata and the file say so.

use mediahooks_testkit::synthetic::Source;

use crate::stage::Stage;

#[tokio::test]
async fn all_of_them_are_kept() {
    let stage = Stage::new().await;
    let mut source = Source { channels: 6, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(3));
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    let sound = recording.metadata.tracks.iter().find(|track| track.kind == "audio").unwrap();
    assert_eq!(sound.channels, Some(6));
    // The decoder's own record: AAC LC, 48 kHz, channel configuration 6.
    assert!(recording.file.windows(2).any(|bytes| bytes == [0x11, 0xB0]));
}
