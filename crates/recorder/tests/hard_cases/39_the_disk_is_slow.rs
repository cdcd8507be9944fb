//! The disk answers nothing for a while.
//!
//! Kept: everything. The publisher waits instead, with a bounded queue in between; nothing is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mediahooks_model::Limits;
use mediahooks_recorder::DiskLimits;
use mediahooks_testkit::faulty::FaultyFiles;
use mediahooks_testkit::synthetic::Source;

use crate::common::{eventually, token};
use crate::stage::Stage;

#[tokio::test]
async fn the_publisher_waits_and_nothing_is_dropped() {
    let files = Arc::new(FaultyFiles::default());
    let stage = Stage::on_disk(token(), Limits::default(), DiskLimits::default(), files.clone()).await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(30));
    let mut publisher = stage.publish("stage", &[]).await;
    files.hold();
    let (clock, total) = (stage.clock.clone(), tags.len());
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let sent = tokio::spawn(async move {
        for tag in &tags {
            publisher.push(&clock.0, std::slice::from_ref(tag)).await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
        }
        publisher
    });
    eventually(async || (files.waiting() > 0 && taken.load(Ordering::Relaxed) > 250).then_some(())).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken < 500, "{taken} tags were taken while the disk took nothing");
    files.release();
    let publisher = sent.await.unwrap();
    stage.end(publisher).await;
    let recording = stage.recording().await;
    assert_eq!(recording.pictures().len() + recording.sounds().len(), total - 2);
    assert_eq!(stage.count("dropped", &[]), 0);
}
