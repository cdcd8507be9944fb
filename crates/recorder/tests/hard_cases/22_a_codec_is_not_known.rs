//! A codec that is not kept (VVC, by Enhanced RTMP); VP8, and VP9 of an odd size, whose records do not tell it.
//!
//! Kept: of what is not known the sound; of VP8 and VP9 everything, with its true size. Counted: `dropped` by
//! `unsupported_codec`.

use bytes::Bytes;
use mediahooks_testkit::ffmpeg::{Broadcast, ffmpeg9, probe};
use mediahooks_testkit::synthetic::{Source, recorded, vp8_and_opus};

use crate::common::ffmpeg as player;
use crate::stage::Stage;

#[tokio::test]
async fn the_sound_of_vvc_is_kept() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(4));
    for tag in tags.iter_mut().filter(|tag| tag.tag_type == 9) {
        let key = if tag.is_key() || tag.is_header() { 0x90 } else { 0xA0 };
        tag.body = Bytes::from([&[key | u8::from(!tag.is_header())][..], b"vvc1", &tag.body[5..]].concat());
    }
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert_eq!(recording.metadata.tracks.len(), 1);
    assert_eq!(recording.sounds().len(), 188);
    assert_eq!(stage.count("dropped", &[("kind", "video"), ("reason", "unsupported_codec")]), 101);
}

#[tokio::test]
async fn vp8_and_vp9_have_their_true_size() {
    for codec in ["libvpx", "libvpx-vp9"] {
        let stage = Stage::new().await;
        let codecs =
            ["-c:v", codec, "-deadline", "realtime", "-cpu-used", "8", "-s", "318x178", "-c:a", "libopus"];
        let broadcast = Broadcast { codecs: codecs.map(str::to_owned).to_vec(), ..Broadcast::fast(2) };
        let (name, tags) = match codec {
            "libvpx" => ("VP8", vp8_and_opus("vp8-odd", &ffmpeg9(), &broadcast).tags),
            _ => ("VP9", recorded("vp9-odd", &ffmpeg9(), &broadcast)),
        };
        stage.broadcast(&tags).await;
        let recording = stage.recording().await;
        let tracks = &recording.metadata.tracks;
        assert_eq!(
            (tracks[0].codec.as_str(), tracks[0].width, tracks[0].height),
            (name, Some(318), Some(178))
        );
        assert_eq!(tracks[1].codec, "Opus");
        assert_eq!(stage.count("dropped", &[]), 0);
        // A decoder says the same, of clips too.
        let clip = stage.clips(0, 1_000).await.remove(0);
        for (finished, pictures) in [(&recording, 60), (&clip, 30)] {
            let path = stage.bench.directory.path().join("got.webm");
            std::fs::write(&path, &finished.file).unwrap();
            let picture = probe(&path)["streams"][0].clone();
            assert_eq!((&picture["width"], &picture["height"]), (&318.into(), &178.into()));
            player::decodes_without_a_word(player::ffmpeg(), &path);
            assert_eq!(player::pictures_shown(player::ffmpeg9(), &path), pictures);
        }
    }
}
