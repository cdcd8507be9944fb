//! Fresh links to files, put into `media.completed` as it is sent.
//!
//! The stored body stays as it was when the event happened; each attempt to tell a webhook that asks for links
//! (`includeDownload`) gets one of its own, so that an attempt a day later has one that works.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use mediahooks_database::ClaimedDelivery;
use mediahooks_model::event::{MediaEvent, completed_asset, with_download};
use mediahooks_model::{EventKind, MediaAssetId, Timestamp};

/// A link that opens a file until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadLink {
    /// Needs no API secret.
    pub url: String,
    /// The media itself, where `url` opens a playlist over it.
    pub media_url: Option<String>,
    /// Until when it works.
    pub expires: Timestamp,
}

/// Makes links.
#[derive(Clone)]
pub struct DownloadLinks(Arc<dyn Fn(MediaAssetId) -> BoxFuture<'static, Option<DownloadLink>> + Send + Sync>);

impl DownloadLinks {
    /// Asks `make` for a link to the file of an asset as it is now; none when it has no file (any more).
    pub fn new(
        make: impl Fn(MediaAssetId) -> BoxFuture<'static, Option<DownloadLink>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(make))
    }

    /// The body of a delivery with a fresh link, where there is to be one.
    pub(crate) async fn body(&self, delivery: &ClaimedDelivery) -> Option<String> {
        let is_completed = EventKind::parse(&delivery.kind) == Some(EventKind::Media(MediaEvent::Completed));
        if !(is_completed && delivery.webhook.include_download) {
            return None;
        }
        let link = (self.0)(completed_asset(&delivery.body)?).await?;
        with_download(&delivery.body, &link.url, link.media_url.as_deref(), link.expires)
    }
}

impl fmt::Debug for DownloadLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DownloadLinks(..)")
    }
}
