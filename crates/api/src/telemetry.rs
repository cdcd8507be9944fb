//! `GET /metrics`, and what this crate counts.
//!
//! What always holds: labels come from a bounded set. A route is the path's pattern, never the path; a
//! method that no route takes is `other`; a webhook is its number. However often it is asked, counting
//! the queue takes no more than a hundredth of the time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use mediahooks_database::{Figures, Owed};
use mediahooks_model::{Timestamp, WebhookId};
use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tokio::sync::Mutex;

use crate::App;
use crate::clock::now;
use crate::envelope::Fail;
use crate::errors::Result;

/// The text format of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Figures of the database are not counted again before.
const KEPT_MIN: Duration = Duration::from_secs(1);

/// Nor before so many times as long as counting them took has passed.
const KEPT_TIMES: u32 = 100;

/// Bytes of files on their way to clients.
pub(crate) const DOWNLOADED: &str = "mediahooks_download_bytes_total";

/// Connections that are served.
pub(crate) const CONNECTIONS: &str = "mediahooks_http_connections";

/// Connections that had to give their place up.
pub(crate) const CUT: &str = "mediahooks_http_connections_cut_total";

/// Connections that got no place.
pub(crate) const REFUSED: &str = "mediahooks_http_connections_refused_total";

/// Says what this crate's metrics mean; call it once, after the recorder is installed.
pub fn describe_metrics() {
    describe_counter!(
        "mediahooks_http_requests_total",
        Unit::Count,
        "Requests to the REST interface that were answered, by method, route and status."
    );
    describe_histogram!(
        "mediahooks_http_request_duration_seconds",
        Unit::Seconds,
        "From the head of a request to the head of its answer, by route."
    );
    describe_gauge!(CONNECTIONS, Unit::Count, "HTTP connections that are served.");
    describe_counter!(
        CUT,
        Unit::Count,
        "HTTP connections that gave their place up to another client, by standing: idle (without a request), stalled (a \
         minute without 64 KiB taken), awaited (taken less than others) or served (waited for the server)."
    );
    describe_counter!(
        REFUSED,
        Unit::Count,
        "HTTP connections that were closed because no place became free for them."
    );
    describe_counter!(
        DOWNLOADED,
        Unit::Bytes,
        "Bytes of files that were sent, by way: kernel (from its page cache to the socket) or memory (read first)."
    );
    describe_gauge!(
        "mediahooks_deliveries",
        Unit::Count,
        "Deliveries that are not settled, by state: pending, waiting (behind an earlier event of the same \
         subject) or held (of a webhook that is suspended)."
    );
    describe_gauge!(
        "mediahooks_delivery_oldest_age_seconds",
        Unit::Seconds,
        "Time since the oldest event that is not settled, by state; 0 when there is none."
    );
    describe_gauge!(
        "mediahooks_webhook_deliveries",
        Unit::Count,
        "Deliveries that are not settled, by webhook."
    );
    describe_gauge!(
        "mediahooks_webhook_oldest_age_seconds",
        Unit::Seconds,
        "Time since the oldest event that is not settled, by webhook; 0 when there is none."
    );
    describe_gauge!("mediahooks_webhooks", Unit::Count, "Webhooks, suspended ones included.");
    describe_gauge!("mediahooks_webhooks_suspended", Unit::Count, "Webhooks to which nothing is sent now.");
    describe_gauge!("mediahooks_feeds_live", Unit::Count, "Feeds that are being published.");
    describe_counter!(
        "mediahooks_database_operations_total",
        Unit::Count,
        "Writing operations that were carried out, whatever became of them."
    );
    describe_counter!(
        "mediahooks_database_transactions_total",
        Unit::Count,
        "Transactions that became durable; many operations share one."
    );
}

/// Counts an answered request.
pub(crate) fn requested(method: &Method, route: Option<&MatchedPath>, status: StatusCode, took: Duration) {
    let route: Arc<str> = route.map_or_else(|| "none".into(), |route| route.as_str().into());
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    };
    let labels = [
        Label::from_static_parts("method", method),
        Label::new("route", route.clone()),
        Label::new("status", Arc::<str>::from(status.as_str())),
    ];
    counter!("mediahooks_http_requests_total", labels.iter()).increment(1);
    histogram!("mediahooks_http_request_duration_seconds", "route" => route).record(took);
}

/// Figures that were counted a moment ago, and which webhooks they were ever about.
#[derive(Default)]
pub(crate) struct KeptFigures(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    figures: Figures,
    until: Option<Instant>,
    shown: BTreeSet<WebhookId>,
}

/// Shows how the server is doing, as text in the format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "Health",
    responses((status = 200, body = String, content_type = "text/plain"), (status = 403, body = Fail)))]
pub(crate) async fn show(State(app): State<App>) -> Result<Response> {
    let mut kept = app.figures.0.lock().await;
    if kept.until.is_none_or(|until| until <= Instant::now()) {
        let began = Instant::now();
        kept.figures = app.database.figures(now()).await?;
        kept.until = Some(Instant::now() + KEPT_MIN.max(began.elapsed() * KEPT_TIMES));
    }
    kept.publish(now());
    let stats = app.database.stats();
    counter!("mediahooks_database_operations_total").absolute(stats.operations);
    counter!("mediahooks_database_transactions_total").absolute(stats.transactions);
    // Under the lock, so that nobody else's figures get among these.
    let text = (app.config.metrics)();
    Ok(([(header::CONTENT_TYPE, TEXT)], text).into_response())
}

impl Kept {
    /// Sets the gauges.
    fn publish(&mut self, now: Timestamp) {
        let [mut pending, mut waiting, mut held] = [Owed::default(); 3];
        let age = |owed: Owed| owed.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
        // A gauge that was set once is shown for ever: a webhook that is gone is owed nothing.
        let mut gone = std::mem::take(&mut self.shown);
        for queue in &self.figures.webhooks {
            let owed = queue.waiting.and(queue.pending);
            if queue.suspended {
                held = held.and(owed);
            } else {
                pending = pending.and(queue.pending);
                waiting = waiting.and(queue.waiting);
            }
            show_webhook(queue.id, owed.count, age(owed));
            gone.remove(&queue.id);
            self.shown.insert(queue.id);
        }
        gone.into_iter().for_each(|id| show_webhook(id, 0, 0.0));
        for (state, owed) in [("pending", pending), ("waiting", waiting), ("held", held)] {
            gauge!("mediahooks_deliveries", "state" => state).set(owed.count as f64);
            gauge!("mediahooks_delivery_oldest_age_seconds", "state" => state).set(age(owed));
        }
        let suspended = self.figures.webhooks.iter().filter(|queue| queue.suspended).count();
        gauge!("mediahooks_webhooks").set(self.figures.webhooks.len() as f64);
        gauge!("mediahooks_webhooks_suspended").set(suspended as f64);
        gauge!("mediahooks_feeds_live").set(self.figures.feeds_live as f64);
    }
}

fn show_webhook(id: WebhookId, owed: u64, age_s: f64) {
    gauge!("mediahooks_webhook_deliveries", "webhook" => id.to_string()).set(owed as f64);
    gauge!("mediahooks_webhook_oldest_age_seconds", "webhook" => id.to_string()).set(age_s);
}
