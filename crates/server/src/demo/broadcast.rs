//! Publishes the bundled sample over RTMP, as fast as it would be live.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use mediahooks_ingest::rtmp::publisher::Publisher;
use mediahooks_media::flv::file::FlvFile;
use tokio::time::{Instant, sleep_until};

/// Made by `scripts/make-sample-broadcast.sh`.
static SAMPLE: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/sample.flv"));

/// Publishes all of it and ends the stream.
pub async fn publish(server: SocketAddr, stream_name: &str, token: &str) -> anyhow::Result<()> {
    let url = format!("rtmp://{server}/v2/pub/{stream_name}?token={token}");
    let mut publisher = Publisher::connect(&url).await.context("the server does not take the broadcast")?;
    let start = Instant::now();
    for tag in FlvFile::new(Bytes::from_static(SAMPLE))? {
        let tag = tag?;
        sleep_until(start + Duration::from_millis(tag.timestamp_ms.into())).await;
        publisher
            .send_tag(tag.tag_type, tag.timestamp_ms, &tag.body)
            .await
            .context("the broadcast was interrupted")?;
    }
    publisher.finish().await.context("the broadcast did not end as it should")
}
