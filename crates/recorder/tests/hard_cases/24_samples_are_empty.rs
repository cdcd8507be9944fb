//! Tags without a sample in them, alone and in runs.
//!
//! Kept: everything else, with its times. Counted: `dropped` by `empty_sample`. A broadcast of nothing but
//! these makes no asset, and so no file of zero bytes.

use mediahooks_model::AssetType;
use mediahooks_testkit::synthetic::Source;

use crate::stage::Stage;

#[tokio::test]
async fn they_are_passed_over() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(6));
    let empty = |place: usize| place.is_multiple_of(7) || (200..230).contains(&place);
    let mut emptied = 0;
    for (place, tag) in tags.iter_mut().enumerate().skip(10) {
        if empty(place) && !tag.is_key() {
            tag.body.truncate(if tag.tag_type == 9 { 5 } else { 2 });
            emptied += 1;
        }
    }
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert!((5900..6100).contains(&recording.duration_ms()));
    assert_eq!(recording.pictures().len() + recording.sounds().len(), tags.len() - 2 - emptied);
    assert_eq!(stage.count("dropped", &[("reason", "empty_sample")]), emptied as u64);
    for sample in recording.shown() {
        assert_eq!(sample.at_ms, i64::from(sample.number) * 40);
    }
}

#[tokio::test]
async fn alone_they_make_nothing() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(2));
    for tag in tags.iter_mut().filter(|tag| !tag.is_header()) {
        tag.body.truncate(if tag.tag_type == 9 { 5 } else { 2 });
    }
    stage.broadcast(&tags).await;
    assert!(stage.bench.assets(AssetType::Recording).await.is_empty());
    assert_eq!(stage.bench.storage.chunk_files().await.unwrap(), []);
}
