//! Publishers of one name take over from each other, faster than the one before can leave.
//!
//! Kept: the media of each, in a recording of its own. One is live in the end, and each feed has one
//! `started` and one `ended`.

use std::collections::BTreeSet;

use mediahooks_testkit::synthetic::Source;

use crate::common::{events, webhook};
use crate::stage::Stage;

#[tokio::test]
async fn each_is_recorded_and_one_stays() {
    let stage = Stage::new().await;
    let hook = webhook(&stage.bench).await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(2));
    let more = source.seconds(1);
    let mut publishers = Vec::new();
    for _ in 0..10 {
        let mut publisher = stage.publish("stage", &[]).await;
        stage.push(&mut publisher, &tags).await;
        publishers.push(publisher);
    }
    let mut replaced = 0;
    for mut publisher in publishers {
        if let Err(ended) = publisher.push(&stage.clock.0, &more).await {
            assert_eq!(ended.code, "replaced");
            replaced += 1;
        }
        stage.end(publisher).await;
    }
    assert_eq!(replaced, 9);
    let recordings = stage.recordings().await;
    let mut pictures: Vec<_> = recordings.iter().map(|recording| recording.pictures()).collect();
    pictures.sort_by_key(Vec::len);
    let longest = pictures.pop().unwrap();
    assert_eq!(longest, (0..75).collect::<Vec<_>>(), "the one that stayed");
    assert_eq!(pictures, vec![(0..50).collect::<Vec<_>>(); 9]);
    let feeds: BTreeSet<_> = recordings.iter().map(|recording| recording.asset.feed.to_string()).collect();
    assert_eq!(feeds.len(), 10);
    for feed in feeds {
        assert_eq!(events(&stage.bench.database, hook, &feed).await, ["feeds.started", "feeds.ended"]);
    }
    assert!(stage.bench.recorder.live_feeds().is_empty());
    assert!(stage.bench.database.live_feeds().await.unwrap().is_empty());
}
