//! Samples to bytes and back: FLV tags, codec headers, CMAF segments, virtual MP4 and WebM files.
//!
//! Pure: no socket, no file, no clock. `ingest` feeds bytes in, `timeline` groups samples into
//! segments, `recorder` serves the bytes that this crate lays out.

mod bits;
mod boxes;
pub mod cmaf;
pub mod codec;
pub mod colour;
pub mod dropped;
pub mod error;
pub mod flv;
pub mod hls;
pub mod mp4;
pub mod sample;
pub mod varint;
pub mod virtual_file;
pub mod webm;
