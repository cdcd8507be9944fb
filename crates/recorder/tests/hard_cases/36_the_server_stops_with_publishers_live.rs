//! The server is stopped while twenty encoders publish and a clip waits for its end.
//!
//! Kept: everything received. Recordings and the clip are complete, told, and nothing is live when the stop
//! is done.

use mediahooks_model::AssetStatus;
use mediahooks_recorder::StopScope;
use mediahooks_testkit::synthetic::Source;

use crate::common::{events, webhook};
use crate::stage::Stage;

#[tokio::test]
async fn all_of_it_is_finished_and_told() {
    let stage = Stage::new().await;
    let hook = webhook(&stage.bench).await;
    let mut tags = Source::default().headers();
    let mut source = Source::default();
    tags.extend(source.seconds(3));
    let mut publishers = Vec::new();
    for number in 0..20 {
        let name = if number == 0 { "stage".to_owned() } else { format!("stage{number}") };
        let mut publisher = stage.publish(&name, &[]).await;
        let started_us = tags[0].sent_us;
        assert_eq!(started_us, 0);
        stage.push(&mut publisher, &tags).await;
        publishers.push(publisher);
    }
    let clip = stage.bench.recorder.create_clips(stage.clip_request(1_000, 20_000)).await.unwrap().remove(0);
    assert_eq!(clip.state.status(), AssetStatus::Processing);
    assert_eq!(stage.bench.recorder.stop_feeds(&StopScope::All, "the server is stopping"), 20);
    for publisher in publishers {
        assert_eq!(publisher.sink.stopped().await.code, "stopped");
        stage.end(publisher).await;
    }
    stage.bench.recorder.drain().await;
    for recording in stage.recordings().await {
        assert_eq!(recording.pictures().len(), 75);
        let told = events(&stage.bench.database, hook, &recording.asset.id.to_string()).await;
        assert_eq!(told, ["media.processing", "media.completed"]);
    }
    assert_eq!(stage.bench.asset(clip.id).await.state.status(), AssetStatus::Complete);
}
