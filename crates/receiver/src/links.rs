//! Where a file can be fetched.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The links of an asset.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownloadLinks {
    /// A signed link for one download, which needs no API secret. Whoever has it can fetch the file.
    pub download_url: Option<String>,
    /// Of a playlist (`targetFormat: "hls"`) only, and only from Media Hooks: the media that the playlist is over, one
    /// fragmented MP4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_url: Option<String>,
    /// When it stops working, ISO 8601. Read the asset again for a new one.
    pub download_expires_on: Option<String>,
}

impl DownloadLinks {
    /// The link of what plays when it is saved as one file: of a playlist the media behind it, for what a playlist
    /// names is not beside it on a disk.
    pub fn file_url(&self) -> Option<&str> {
        self.media_url.as_deref().or(self.download_url.as_deref())
    }
}

impl fmt::Debug for DownloadLinks {
    /// Leaves the links out: they are credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownloadLinks")
            .field("download_url", &self.download_url.as_ref().map(|_| ".."))
            .field("media_url", &self.media_url.as_ref().map(|_| ".."))
            .field("download_expires_on", &self.download_expires_on)
            .finish()
    }
}
