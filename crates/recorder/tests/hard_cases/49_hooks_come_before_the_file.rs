//! Hooks that are missing, come twice, or before the file is complete.
//!
//! For every asset exactly one `processing` and then one `completed`; at the moment the latter exists the file
//! can be read whole, and has the size the hook tells.

use bytes::Bytes;
use futures::TryStreamExt;
use mediahooks_testkit::synthetic::Source;

use crate::common::{events, webhook};
use crate::stage::Stage;

#[tokio::test]
async fn whoever_is_told_can_read() {
    let stage = Stage::new().await;
    let hook = webhook(&stage.bench).await;
    let (database, recorder) = (stage.bench.database.clone(), stage.bench.recorder.clone());
    let watcher = tokio::spawn(async move {
        let mut read = 0;
        while read < 11 {
            tokio::task::yield_now().await;
            read = 0;
            for told in database.deliveries(hook, None, 1000).await.unwrap() {
                if told.kind != "media.completed" {
                    continue;
                }
                let download = recorder.open_download(told.subject.parse().unwrap()).await.unwrap();
                let pieces: Vec<Bytes> = download.read(0..download.len).try_collect().await.unwrap();
                assert_eq!(pieces.concat().len() as u64, download.len);
                read += 1;
            }
        }
    });
    let mut source = Source::default();
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.seconds(12));
    stage.push(&mut publisher, &tags).await;
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(stage.clips(number * 1000, number * 1000 + 1500).await[0].asset.id);
    }
    stage.end(publisher).await;
    ids.push(stage.recording().await.asset.id);
    watcher.await.unwrap();
    for id in ids {
        let told = events(&stage.bench.database, hook, &id.to_string()).await;
        assert_eq!(told, ["media.processing", "media.completed"]);
    }
}
