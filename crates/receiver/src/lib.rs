//! What an application needs to act on media webhooks: verify them, read them, drop repeats, fetch the
//! files. Works with Media Hooks and with hosted Millicast alike.
//!
//! - [`verify`]: is the request genuine?
//! - [`event`]: what does it tell, in types?
//! - [`dedupe`] and [`order`]: was it handled before, and is it overtaken?
//! - [`client`]: from an asset's id to its download link;
//! - [`download`] and [`file_name`]: from the link to a file that is whole;
//! - `extract` (feature `axum`): the first two as an extractor.
//!
//! Answer a webhook within seconds and do the work afterwards: senders give up on slow receivers and
//! send the event again.
//!
//! ```no_run
//! use std::time::SystemTime;
//! use mediahooks_receiver::*;
//!
//! /// Handles one request; an error is answered with status 400 or 500, and the event comes again.
//! async fn on_webhook(
//!     verifier: &Verifier,
//!     seen: &mut SeenIds,
//!     media: &MediaClient,
//!     headers: &http::HeaderMap,
//!     body: bytes::Bytes,
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let verified = verifier.verify(headers, &body, SystemTime::now())?;
//!     let key = EventKey::of(&verified, &body);
//!     if seen.contains(&key) {
//!         return Ok(());
//!     }
//!     if let Payload::Media(hook) = Event::read(headers, body)?.payload
//!         && hook.kind == MediaEventKind::Completed
//!     {
//!         let asset = media.asset(&hook.media_asset_id).await?;
//!         let name = safe_file_name(asset.name.as_deref(), &asset.id, "mp4");
//!         let link = asset.download.download_url.ok_or("no link yet")?;
//!         let file = Download::new(reqwest::Client::new(), link).to(name).run().await?;
//!         println!("{} bytes in {}", file.size_bytes, file.path.display());
//!     }
//!     seen.insert(key);
//!     Ok(())
//! }
//! ```

pub mod client;
pub mod dedupe;
pub mod download;
pub mod event;
#[cfg(feature = "axum")]
pub mod extract;
pub mod file_name;
pub mod order;
pub mod verify;

pub use client::{Asset, ClientError, DownloadLinks, MILLICAST_SERVER, MediaClient};
pub use dedupe::{EventKey, SeenIds};
pub use download::{AttemptError, Download, DownloadError, DownloadPolicy, Downloaded, Progress};
pub use event::{
    AssetType, Event, EventError, FeedEvent, FeedEventKind, MediaEvent, MediaEventKind, Metadata, Millis,
    Payload, Thumbnail, Track,
};
#[cfg(feature = "axum")]
pub use extract::{Rejection, VerifiedEvent};
pub use file_name::safe_file_name;
pub use order::Newest;
pub use verify::{InvalidSecret, Scheme, Verified, Verifier, VerifyError};
