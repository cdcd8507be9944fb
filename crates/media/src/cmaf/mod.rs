//! CMAF: the form in which media is stored, one fragment (`moof` and `mdat`) after another.
//!
//! `timeline` groups samples into fragments, the recorder writes the bytes: [`encode_init`] once at
//! the start of a file, then for each fragment [`encode_fragment_head`] followed by the samples'
//! bytes, which are never copied here. [`parse_fragment`] reads a fragment back for verification.
//! Invariant: what [`parse_fragment`] returns is what [`encode_fragment_head`] was given.

mod fragment;
mod init;
mod parse;

pub use self::{
    fragment::{FragmentHead, FragmentTrack, encode_fragment_head},
    init::{InitTrack, encode_init},
    parse::{ParsedFragment, ParsedTrack, parse_fragment},
};
