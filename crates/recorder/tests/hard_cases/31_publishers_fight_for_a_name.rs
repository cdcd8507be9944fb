//! Publishers of one name take over from each other, faster than the one before can leave.
//!
//! Kept: the media of each, in a recording of its own. One is live in the end, and each feed has one
//! `started` and one `ended`.

use mediahooks_testkit::synthetic::Source;

use crate::stage::Stage;

#[tokio::test]
async fn each_is_recorded_and_one_stays() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(2));
    let mut publishers = Vec::new();
    for _ in 0..10 {
        let mut publisher = stage.publish("stage", &[]).await;
        stage.push(&mut publisher, &tags).await;
        publishers.push(publisher);
    }
    let mut replaced = 0;
    for mut publisher in publishers {
        let more = publisher.push(&stage.clock.0, &source.seconds(1)).await;
        if let Err(ended) = more {
            assert_eq!(ended.code, "replaced");
            replaced += 1;
        }
        stage.end(publisher).await;
    }
    assert_eq!(replaced, 9);
    let recordings = stage.recordings().await;
    assert_eq!(recordings.len(), 10);
    assert!(recordings.iter().all(|recording| recording.pictures().len() >= 50));
    assert!(stage.bench.recorder.live_feeds().is_empty());
    assert!(stage.bench.database.live_feeds().await.unwrap().is_empty());
}
