#![doc = include_str!("../README.md")]
//!
//! # Where is what
//!
//! - [`verify`]: is the request genuine?
//! - [`event`]: what does it tell, in types?
//! - [`dedupe`] and [`order`]: was it handled before, is it overtaken, is anything missing?
//! - `extract` (feature `axum`): the first two as an extractor;
//! - `client` (feature `download`): from an asset's id to its download link;
//! - `download` and [`file_name`]: from the link to a file that is whole;
//! - `fake` (feature `fake-sender`): a sender for the tests of your receiver.

#[cfg(feature = "download")]
pub mod client;
pub mod dedupe;
#[cfg(feature = "download")]
pub mod download;
pub mod event;
#[cfg(feature = "axum")]
pub mod extract;
#[cfg(feature = "fake-sender")]
pub mod fake;
pub mod file_name;
mod key;
mod links;
pub mod order;
pub mod verify;

#[cfg(feature = "download")]
pub use client::{Asset, ClientError, MILLICAST_SERVER, MediaClient};
pub use dedupe::{EventKey, Handling, Inbox, SeenIds, Start};
#[cfg(feature = "download")]
pub use download::{AttemptError, Download, DownloadError, DownloadPolicy, Downloaded, Progress};
pub use event::{
    AssetType, Event, EventError, FeedEvent, FeedEventKind, MediaEvent, MediaEventKind, Metadata, Millis,
    Payload, StorageEvent, StorageEventKind, Thumbnail, Track,
};
#[cfg(feature = "axum")]
pub use extract::{Rejection, VerifiedEvent};
#[cfg(feature = "fake-sender")]
pub use fake::FakeSender;
pub use file_name::safe_file_name;
pub use links::DownloadLinks;
pub use order::{Order, Place};
pub use verify::{InvalidSecret, Scheme, Verified, Verifier, VerifyError};
