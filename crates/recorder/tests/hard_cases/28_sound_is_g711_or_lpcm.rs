//! Sound in G.711 or LPCM, which RTMP can carry and MP4 players do not play.
//!
//! Kept: the pictures. Counted: `dropped` by `unsupported_codec`, so that somebody notices.

use bytes::Bytes;
use mediahooks_testkit::synthetic::Source;

use crate::stage::Stage;

#[tokio::test]
async fn the_pictures_are_kept() {
    // Sound format 3: LPCM; 7 and 8: G.711.
    for format in [3u8, 7, 8] {
        let stage = Stage::new().await;
        let mut source = Source::default();
        let mut tags = source.headers();
        tags.extend(source.seconds(3));
        let mut sounds = 0;
        for tag in tags.iter_mut().filter(|tag| tag.tag_type == 8) {
            tag.body = Bytes::from([&[format << 4], &tag.body[2..]].concat());
            sounds += 1;
        }
        stage.broadcast(&tags).await;
        let recording = stage.recording().await;
        assert_eq!((recording.pictures().len(), recording.metadata.tracks.len()), (75, 1));
        assert_eq!(sounds, 142);
        let reason = ("reason", "unsupported_codec");
        assert_eq!(stage.count("dropped", &[("kind", "audio"), reason]), sounds);
        assert_eq!(stage.count("dropped", &[]), sounds);
    }
}
