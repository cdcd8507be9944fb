//! Bytes in the middle of a broadcast make no sense: truncated tags, unknown types, broken configurations.
//!
//! Kept: every whole sample. Counted: `dropped`. The connection stays.

use bytes::Bytes;
use mediahooks_testkit::synthetic::Source;

use crate::stage::Stage;

#[tokio::test]
async fn the_rest_is_kept() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(6));
    let garbage: [&'static [u8]; 6] =
        [b"", b"\x27", b"\x27\x01\x00", b"\x97\x00", b"\xff\xff\xff\xff\xff\xff", b"\x07\x09zzz"];
    let mut garbled = 0;
    for (place, tag) in tags.iter_mut().enumerate().skip(20).step_by(11) {
        if !tag.is_key() {
            tag.body = Bytes::from_static(garbage[place % garbage.len()]);
            garbled += 1;
        }
    }
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert_eq!(recording.pictures().len() + recording.sounds().len(), tags.len() - 2 - garbled);
    for sample in recording.shown() {
        assert_eq!(sample.at_ms, i64::from(sample.number) * 40);
    }
    assert!(stage.count("dropped", &[]) > 0);
}
