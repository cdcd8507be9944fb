//! RTMP and Enhanced RTMP ingest: a protocol core without sockets and a thin shell of tokio.
//!
//! The core ([`session`]) is the handshake, the chunk layer and the commands of a publish
//! session, each with its bounds. The shell ([`serve`], [`handle`]) owns sockets and clocks and
//! carries media from the core to a [`crate::gate::FeedSink`]. [`publisher`] is the other side.

mod acknowledge;
mod capabilities;
pub mod chunk;
mod connection;
mod feed;
pub mod handshake;
mod keep;
pub mod message;
pub mod publisher;
mod server;
pub mod session;
mod settings;
mod slots;
mod transport;

pub use connection::{Shared, handle};
pub use server::serve;
pub use settings::RtmpSettings;
pub use transport::{PacedTcp, Transport};
