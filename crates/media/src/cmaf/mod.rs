//! CMAF: the form in which media is stored, one fragment (`moof` and `mdat`) after another.
//!
//! `timeline` groups samples into fragments, the recorder writes the bytes: [`encode_init`] once at
//! the start of a file, then for each fragment [`encode_fragment_head`] followed by the samples'
//! bytes, which are never copied here. [`parse_fragment`] reads a fragment back for verification.
//! [`FragmentedBuilder`] makes a file of stored fragments.
//! Invariant: what [`parse_fragment`] returns is what [`encode_fragment_head`] was given.

mod builder;
mod file;
mod fragment;
mod header;
mod init;
mod parse;
mod remade;
mod subsegments;

pub use self::{
    builder::{FragmentSpan, FragmentedBuilder, FragmentedTrack, StoredAs},
    file::FragmentedMp4,
    fragment::{FragmentHead, FragmentLayout, FragmentTrack, encode_fragment_head, fragment_layout},
    init::{InitTrack, encode_init},
    parse::{ParsedFragment, ParsedTrack, parse_fragment},
    remade::{FragmentSamples, SourceSpan},
    subsegments::Access,
};
