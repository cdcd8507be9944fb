//! VP8 by Enhanced RTMP, which cannot be kept in MP4; VP9 of an odd size, whose record does not tell it.
//!
//! Kept: with VP8 the sound; of VP9 everything, with its true size. Counted: `dropped` by `unsupported video
//! codec`.

use bytes::Bytes;
use mediahooks_testkit::ffmpeg::{Broadcast, ffmpeg9};
use mediahooks_testkit::synthetic::{Source, recorded};

use crate::stage::Stage;

#[tokio::test]
async fn the_sound_of_vp8_is_kept() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(4));
    for tag in tags.iter_mut().filter(|tag| tag.tag_type == 9) {
        let key = if tag.is_key() || tag.is_header() { 0x90 } else { 0xA0 };
        tag.body = Bytes::from([&[key | u8::from(!tag.is_header())][..], b"vp08", &tag.body[5..]].concat());
    }
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert_eq!(recording.metadata.tracks.len(), 1);
    assert_eq!(recording.sounds().len(), 188);
    assert_eq!(stage.count("dropped", &[("kind", "video"), ("reason", "unsupported video codec")]), 101);
}

#[tokio::test]
async fn vp9_has_its_true_size() {
    let stage = Stage::new().await;
    let codecs =
        ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-s", "318x178", "-c:a", "libopus"];
    let codecs = codecs.map(str::to_owned).to_vec();
    stage.broadcast(&recorded("vp9-odd", &ffmpeg9(), &Broadcast { codecs, ..Broadcast::fast(2) })).await;
    let track = &stage.recording().await.metadata.tracks[0];
    assert_eq!((track.codec.as_str(), track.width, track.height), ("VP9", Some(318), Some(178)));
}
