//! The virtual WebM: EBML that is generated around media that stays where it is.
//!
//! Fed with what each cluster holds, in numbers; the blocks themselves are asked for when their bytes are
//! read ([`Clusters`]). Every field whose value is not known before has a fixed width, so that the length of
//! a cluster follows from how many blocks and bytes it has, and the index can lie in front of them all.
//! Invariant: the same input gives the same bytes, in whatever ranges they are read.
//!
//! Spec: Matroska (RFC 9559), EBML (RFC 8794), WebM Container Guidelines.

mod ebml;
mod file;
mod head;
mod track;

pub use self::{
    file::{Block, Clusters, VirtualWebm},
    head::{Cluster, Cue, WebmInfo, layout},
    track::{codec_delay_us, holds, suits},
};

/// Further than this, in milliseconds, a block may not lie from the beginning of its cluster, whose blocks
/// have a 16-bit time (RFC 9559 §10.2).
pub const CLUSTER_MS_MAX: u64 = 32_767;
