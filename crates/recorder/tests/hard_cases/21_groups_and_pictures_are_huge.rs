//! A key frame only every two minutes, or pictures of 12 MB.
//!
//! Kept: everything. A group is stored in pieces of a second, so that neither memory nor what a crash costs
//! grows with it; a clip from its middle shows the right frames, with the pre-roll told.

use mediahooks_model::AssetType;
use mediahooks_testkit::synthetic::Source;

use crate::stage::{Stage, numbers};

#[tokio::test]
async fn a_long_group_is_stored_in_pieces_of_a_second() {
    let stage = Stage::new().await;
    let mut source = Source { group: 3000, picture_bytes: 4000, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(130));
    stage.broadcast(&tags).await;
    assert_eq!(stage.recording().await.pictures().len(), 3250);
    let timeline = stage.bench.assets(AssetType::Timeline).await[0].recipe[0].timeline;
    for segment in stage.bench.database.segments(timeline, 0, None).await.unwrap() {
        let ms = (segment.media_end_us - segment.media_start_us) / 1000;
        assert!(ms <= 1100, "segment {} holds {ms} ms", segment.sequence);
    }
    let clip = &stage.clips(100_000, 103_000).await[0];
    assert_eq!(numbers(&clip.shown()), (2500..2575).collect::<Vec<_>>());
    assert_eq!(clip.metadata.pre_roll_ms, Some(100_000));
}

#[tokio::test]
async fn large_pictures_are_kept_whole() {
    let stage = Stage::new().await;
    let mut source = Source { picture_bytes: 12 << 20, picture_us: 500_000, group: 2, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(4));
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert_eq!(recording.pictures(), (0..8).collect::<Vec<_>>());
    assert!(recording.file.len() > 8 * (12 << 20));
}
