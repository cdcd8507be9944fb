//! A feed becomes a recording: complete, whole and told about.

mod common;

use std::time::Duration;

use common::{Bench, events, pictures_in, token, webhook};
use mediahooks_model::{AssetState, AssetType, Limits, PublishToken};

#[tokio::test]
async fn a_feed_is_recorded_whole_and_every_step_is_told() {
    let bench = Bench::new().await;
    let hook = webhook(&bench).await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(130).await;
    let feed = bench.recorder.live_feeds()[0].clone();
    publisher.finish().await;
    assert!(bench.recorder.live_feeds().is_empty());

    let recordings = bench.assets(AssetType::Recording).await;
    let [recording] = recordings.as_slice() else { panic!("{recordings:?}") };
    let AssetState::Complete { metadata } = &recording.state else { panic!("{recording:?}") };
    // The sound of the last picture lasts a little longer than the picture.
    assert!((5200..5240).contains(&metadata.duration_ms.unwrap()), "{metadata:?}");
    assert_eq!(metadata.tracks.len(), 2);
    let file = bench.file(recording.id).await;
    assert_eq!(file.len() as u64, metadata.sizes["mp4"]);
    assert_eq!(pictures_in(&file), (0..130).collect::<Vec<_>>());

    let told = events(&bench.database, hook, &recording.id.to_string()).await;
    assert_eq!(told, ["media.processing", "media.completed"]);
    let told = events(&bench.database, hook, &feed.id.to_string()).await;
    assert_eq!(told, ["feeds.started", "feeds.ended"]);
}

#[tokio::test]
async fn a_feed_without_media_makes_no_asset() {
    let bench = Bench::new().await;
    let hook = webhook(&bench).await;
    let mut publisher = bench.publish("empty", &[]).await.unwrap();
    publisher.config().await;
    publisher.finish().await;
    assert!(bench.assets(AssetType::Recording).await.is_empty());
    assert_eq!(bench.database.deliveries(hook, None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn parameters_and_token_decide_what_is_kept() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("unrecorded", &[("noRecord", "")]).await.unwrap();
    publisher.config().await;
    publisher.send(30).await;
    publisher.finish().await;
    assert!(bench.assets(AssetType::Recording).await.is_empty());
    assert_eq!(bench.assets(AssetType::Timeline).await.len(), 1);

    let bench =
        Bench::in_its_publishers_time(PublishToken { clip: false, ..token() }, Limits::default()).await;
    let mut publisher = bench.publish("silent", &[("videoOnly", "")]).await.unwrap();
    publisher.config().await;
    publisher.send(30).await;
    publisher.finish().await;
    assert!(bench.assets(AssetType::Timeline).await.is_empty());
    let recordings = bench.assets(AssetType::Recording).await;
    let AssetState::Complete { metadata } = &recordings[0].state else { panic!() };
    assert_eq!(metadata.tracks.len(), 1);
}

#[tokio::test]
async fn a_long_recording_is_split_without_losing_a_picture() {
    let limits = Limits {
        recording_max: Duration::from_millis(2500),
        timeline_max: Duration::from_millis(3500),
        ..Limits::default()
    };
    let bench = Bench::in_its_publishers_time(token(), limits).await;
    let mut publisher = bench.publish("long", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(150).await;
    publisher.finish().await;
    let recordings = bench.assets(AssetType::Recording).await;
    assert_eq!(recordings.len(), 3);
    let mut pictures = Vec::new();
    for recording in &recordings {
        pictures.extend(pictures_in(&bench.file(recording.id).await));
    }
    assert_eq!(pictures, (0..150).collect::<Vec<_>>());
    assert_eq!(bench.assets(AssetType::Timeline).await.len(), 2);
}

#[tokio::test]
async fn a_second_publisher_takes_over_and_both_are_recorded() {
    let bench = Bench::new().await;
    let mut first = bench.publish("stage", &[]).await.unwrap();
    first.config().await;
    first.send(30).await;
    let mut second = bench.publish("stage", &[]).await.unwrap();
    assert_eq!(first.sink.stopped().await.code, "replaced");
    second.config().await;
    second.send(30).await;
    first.finish().await;
    second.finish().await;
    let recordings = bench.assets(AssetType::Recording).await;
    assert_eq!(recordings.len(), 2);
    assert!(recordings.iter().all(|recording| matches!(recording.state, AssetState::Complete { .. })));

    let _higher = bench.publish("stage", &[("priority", "5")]).await.unwrap();
    let refused = bench.publish("stage", &[]).await.err().unwrap();
    assert_eq!(refused.code, "outranked");
}

#[tokio::test]
async fn who_may_not_publish_is_told_why() {
    let strict = PublishToken { allowed_ip_addresses: vec!["10.0.0.0/8".parse().unwrap()], ..token() };
    let bench = Bench::in_its_publishers_time(strict, Limits::default()).await;
    let refused = bench.publish("stage", &[]).await.err().unwrap();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        ("address_not_allowed", "Unauthorized: IP Address not allowed")
    );
    let refused = bench.publish("stage", &[("priority", "x")]).await.err().unwrap();
    assert_eq!(refused.code, "bad_parameter");
    assert!(bench.recorder.live_feeds().is_empty());
}
