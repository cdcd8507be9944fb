//! Where a file can be fetched.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The links of an asset.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownloadLinks {
    /// A signed link for one download, which needs no API secret. Whoever has it can fetch the file.
    pub download_url: Option<String>,
    /// When it stops working, ISO 8601. Read the asset again for a new one.
    pub download_expires_on: Option<String>,
}

impl fmt::Debug for DownloadLinks {
    /// Leaves the link out: it is a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownloadLinks")
            .field("download_url", &self.download_url.as_ref().map(|_| ".."))
            .field("download_expires_on", &self.download_expires_on)
            .finish()
    }
}
