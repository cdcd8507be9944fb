//! The 32-bit milliseconds of RTMP wrap after 49.7 days, and are taken for negative after 24.8 days.
//!
//! Nothing to see: one recording without a seam. Over the wire such stamps travel in the extended field.

use mediahooks_ingest::rtmp::{self, RtmpSettings};
use mediahooks_testkit::synthetic::{self, Source};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::common::{SECRET, eventually};
use crate::stage::{Stage, numbers};

const WRAP_MS: i64 = 1 << 32;

fn broadcast(first_stamp_ms: i64) -> Vec<synthetic::Tag> {
    let mut source = Source { first_stamp_ms, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(6));
    tags
}

async fn check(stage: &Stage) {
    let recording = stage.recording().await;
    let shown = recording.shown();
    assert_eq!(numbers(&shown), (0..150).collect::<Vec<_>>());
    assert!(shown.iter().all(|sample| sample.until_ms - sample.at_ms == 40), "{shown:?}");
    assert!((6000..6040).contains(&recording.duration_ms()));
    assert_eq!((stage.count("jump", &[]), stage.count("restamped", &[])), (0, 0));
}

#[tokio::test]
async fn after_49_days_and_after_24() {
    for first in [WRAP_MS - 3_000, WRAP_MS / 2 - 3_000] {
        let stage = Stage::new().await;
        stage.broadcast(&broadcast(first)).await;
        check(&stage).await;
    }
}

/// Sends over RTMP; the case of stamps that begin to need the extended field is the next one.
pub async fn over_the_wire(first_stamp_ms: i64) {
    let stage = Stage::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rtmp://{}/v2/pub/stage?token={SECRET}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let gate = stage.bench.recorder.gate();
    let server = tokio::spawn(rtmp::serve(listener, gate, RtmpSettings::default(), shutdown.clone()));
    synthetic::send(&url, &broadcast(first_stamp_ms)).await.unwrap();
    eventually(async || stage.bench.recorder.live_feeds().is_empty().then_some(())).await;
    shutdown.cancel();
    server.await.unwrap();
    check(&stage).await;
}

#[tokio::test]
async fn over_rtmp() {
    over_the_wire(WRAP_MS - 3_000).await;
}
