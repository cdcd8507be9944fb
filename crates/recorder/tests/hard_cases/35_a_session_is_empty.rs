//! Encoders connect and leave without a sample, many times.
//!
//! No asset comes of it and no file; the feed's hooks do. The first session with media is told of in full.

use mediahooks_model::AssetType;
use mediahooks_testkit::synthetic::Source;

use crate::common::{events, webhook};
use crate::stage::Stage;

#[tokio::test]
async fn it_makes_no_asset_and_the_first_real_one_is_told() {
    let stage = Stage::new().await;
    let hook = webhook(&stage.bench).await;
    let mut source = Source::default();
    for session in 0..20 {
        let publisher = {
            let mut publisher = stage.publish("stage", &[]).await;
            let headers = source.headers();
            stage.push(&mut publisher, &headers[..session % 3]).await;
            publisher
        };
        stage.end(publisher).await;
    }
    assert!(stage.bench.assets(AssetType::Recording).await.is_empty());
    assert!(stage.bench.assets(AssetType::Timeline).await.is_empty());
    assert_eq!(stage.bench.storage.chunk_files().await.unwrap(), []);
    assert_eq!(stage.bench.database.deliveries(hook, None, 100).await.unwrap().len(), 40);
    let mut tags = source.headers();
    tags.extend(source.seconds(1));
    stage.broadcast(&tags).await;
    let id = stage.recording().await.asset.id.to_string();
    assert_eq!(events(&stage.bench.database, hook, &id).await, ["media.processing", "media.completed"]);
}
