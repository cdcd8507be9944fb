//! From encoders' sockets to samples: RTMP and Enhanced RTMP.
//!
//! [`rtmp`] speaks the protocol; [`gate`] is what the rest of the server implements to decide who
//! may publish and to take the media. Bytes from the network never panic here and never make
//! memory grow beyond the limits in [`rtmp::RtmpSettings`].

pub mod gate;
pub mod rtmp;
pub mod target;
