//! Makes and checks download links: the file's address with an end and a signature over both.
//!
//! A link is a bearer credential for one asset until it expires; the file name in it is decoration.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use mediahooks_database::Asset;
use mediahooks_model::{AssetState, AssetType, MediaAssetId, TargetFormat, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;
use url::Url;

use crate::extract::base::BaseUrl;
use crate::hls::PLAYLIST;

/// Everything but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How the name of a playlist ends, and of no other file.
pub(crate) const PLAYLIST_EXTENSION: &str = "m3u8";

/// Longest file name in a link, in characters before escaping.
const NAME_CHARS_MAX: usize = 100;

/// A link and until when it works.
#[derive(Debug, Clone)]
pub struct DownloadLink {
    /// Needs no API secret.
    pub url: String,
    /// The media itself, where `url` opens a playlist over it.
    pub media_url: Option<String>,
    /// Until when it works.
    pub expires: Timestamp,
}

/// Makes links outside of a request: for webhooks that ask for them.
#[derive(Clone)]
pub struct DownloadLinker {
    signer: LinkSigner,
    base: BaseUrl,
}

impl DownloadLinker {
    /// - `key`: [`crate::ApiConfig::download_key`].
    /// - `base`: what links begin with: how the server is reached from where webhooks go.
    pub fn new(key: [u8; 32], base: &Url) -> Self {
        Self { signer: LinkSigner::new(key), base: BaseUrl::of(base) }
    }

    /// A link to an asset's file; none when it has no file (any more).
    pub fn link(&self, asset: &Asset, expires: Timestamp) -> Option<DownloadLink> {
        has_file(asset).then(|| self.signer.make(&self.base, asset, expires))
    }
}

/// Whether there is something to link to.
pub(crate) fn has_file(asset: &Asset) -> bool {
    matches!(asset.asset_type, AssetType::Recording | AssetType::Clip)
        && matches!(asset.state, AssetState::Complete { .. })
}

/// Whether there is something to preview.
pub(crate) fn has_preview(asset: &Asset) -> bool {
    asset.asset_type == AssetType::Timeline
        && matches!(asset.state, AssetState::Processing | AssetState::Complete { .. })
}

/// Why a link opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkRefused {
    /// Not made by this server, or changed.
    Signature,
    /// Its time is over.
    Expired,
}

/// Holds the key that links are signed with.
#[derive(Clone)]
pub(crate) struct LinkSigner(Hmac<Sha256>);

impl LinkSigner {
    /// Signs with `key`.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self(Hmac::new_from_slice(&key).expect("HMAC takes a key of any length"))
    }

    /// The link to an asset's file, whole seconds long. That to a playlist works for as long as playing it takes
    /// beyond `expires`: players fetch its media on the way, with the playlist's own signature.
    pub(crate) fn make(&self, base: &BaseUrl, asset: &Asset, expires: Timestamp) -> DownloadLink {
        let seconds = expires.plus(playing_time(asset)).as_seconds();
        let signature = hex::encode(self.mac(asset.id, seconds).finalize().into_bytes());
        let url = |extension: &str| {
            let name = file_name(asset, extension);
            let name = utf8_percent_encode(&name, ESCAPED);
            format!("{}/download/{}/{name}?expires={seconds}&signature={signature}", base.0, asset.id)
        };
        let format = file_format(asset);
        let is_playlist = format == TargetFormat::Hls;
        DownloadLink {
            url: url(if is_playlist { PLAYLIST_EXTENSION } else { format.extension() }),
            media_url: is_playlist.then(|| url(format.extension())),
            expires: Timestamp::from_millis(seconds.saturating_mul(1000)),
        }
    }

    /// The link to the playlist of a timeline, whole seconds long.
    pub(crate) fn preview(&self, base: &BaseUrl, asset: &Asset, expires: Timestamp) -> String {
        let seconds = expires.as_seconds();
        let signature = hex::encode(self.mac(asset.id, seconds).finalize().into_bytes());
        format!("{}/hls/{}/{PLAYLIST}?expires={seconds}&signature={signature}", base.0, asset.id)
    }

    /// Checks a link, in a time that does not depend on the signature.
    pub(crate) fn check(
        &self,
        id: MediaAssetId,
        expires: i64,
        signature: &str,
        now: Timestamp,
    ) -> Result<(), LinkRefused> {
        let signature = hex::decode(signature).map_err(|_| LinkRefused::Signature)?;
        self.mac(id, expires).verify_slice(&signature).map_err(|_| LinkRefused::Signature)?;
        if now.as_seconds() < expires { Ok(()) } else { Err(LinkRefused::Expired) }
    }

    fn mac(&self, id: MediaAssetId, expires: i64) -> Hmac<Sha256> {
        self.0.clone().chain_update(format!("{id}\n{expires}"))
    }
}

/// What the browser may call the file before it reads `Content-Disposition`.
fn file_name(asset: &Asset, extension: &str) -> String {
    let stem = asset.name.as_deref().unwrap_or(asset.stream_name.as_str());
    // A slash, even escaped, is undone by some proxies.
    let safe = |c: char| if c.is_control() || matches!(c, '/' | '\\') { '-' } else { c };
    let stem: String = stem.chars().take(NAME_CHARS_MAX).map(safe).collect();
    format!("{}.{extension}", stem.trim_matches('.'))
}

/// What the file became.
fn file_format(asset: &Asset) -> TargetFormat {
    let AssetState::Complete { metadata } = &asset.state else { return TargetFormat::Mp4 };
    metadata.file_format().unwrap_or(TargetFormat::Mp4)
}

/// How long an asset is read by who plays it; none when it is fetched at once.
fn playing_time(asset: &Asset) -> Duration {
    match &asset.state {
        AssetState::Complete { metadata } if file_format(asset) == TargetFormat::Hls => {
            Duration::from_secs(metadata.duration)
        }
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_link_opens_one_asset_until_it_expires() {
        let signer = LinkSigner::new([7; 32]);
        let id = MediaAssetId(Uuid::from_u128(1));
        let signature = hex::encode(signer.mac(id, 100).finalize().into_bytes());
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        assert_eq!(signer.check(id, 100, &signature, at(99)), Ok(()));
        assert_eq!(signer.check(id, 100, &signature, at(100)), Err(LinkRefused::Expired));
        assert_eq!(signer.check(id, 101, &signature, at(99)), Err(LinkRefused::Signature));
        let other = MediaAssetId(Uuid::from_u128(2));
        assert_eq!(signer.check(other, 100, &signature, at(99)), Err(LinkRefused::Signature));
        for wrong in ["", "zz", "00", &signature[1..]] {
            assert_eq!(signer.check(id, 100, wrong, at(99)), Err(LinkRefused::Signature), "{wrong}");
        }
        let stranger = LinkSigner::new([8; 32]);
        assert_eq!(stranger.check(id, 100, &signature, at(99)), Err(LinkRefused::Signature));
    }
}
