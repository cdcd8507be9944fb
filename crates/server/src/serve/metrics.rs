//! Collects what all crates count, and renders it for `/metrics`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use mediahooks_api::MetricsText;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// Upper bounds of histograms, in seconds: from what a loopback delivery takes to an outage of a day.
const BUCKETS_S: [f64; 20] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    1800.0, 7200.0, 86_400.0,
];

/// Samples of histograms pile up until they are sorted into buckets, which a scrape does, and this.
const SORT_EVERY: Duration = Duration::from_secs(5);

/// A process has one recorder, however many servers it runs.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Begins to collect.
pub fn start() -> anyhow::Result<()> {
    if RECORDER.get().is_some() {
        return Ok(());
    }
    let builder =
        PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS_S);
    let recorder = builder.context("the buckets of histograms cannot be used")?.build_recorder();
    let handle = recorder.handle();
    // Whoever came first collects: a second one in the same process adds to it.
    if ::metrics::set_global_recorder(recorder).is_ok() {
        let _ = RECORDER.set(handle);
        mediahooks_database::describe_metrics();
        mediahooks_recorder::describe_metrics();
        mediahooks_sender::describe_metrics();
        mediahooks_api::describe_metrics();
    }
    Ok(())
}

/// Everything collected so far, rendered when asked.
pub fn text() -> MetricsText {
    Arc::new(|| RECORDER.get().map(PrometheusHandle::render).unwrap_or_default())
}

/// Sorts samples into buckets until `shutdown`.
pub async fn run(shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(SORT_EVERY)).await.is_some() {
        if let Some(handle) = RECORDER.get() {
            handle.run_upkeep();
        }
    }
}
