//! A file that is a header and pieces of other files.

use std::ops::Range;

use bytes::Bytes;

/// A piece of a file that exists elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The caller's number of the file, e.g. of a segment.
    pub source: u32,
    /// First byte within it.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// What to read next for a range of a [`VirtualMp4`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slice {
    /// A range of [`VirtualMp4::header`].
    Header(Range<usize>),
    /// A piece of a source.
    Extent(Extent),
}

/// A whole MP4 file by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualMp4 {
    /// `ftyp`, `moov` and the header of the `mdat`.
    pub header: Bytes,
    /// The pieces that follow the header, in file order; none is empty, and no two could be one.
    pub extents: Vec<Extent>,
    /// Bytes of the whole file.
    pub len: u64,
    /// For each extent, the offset in this file at which it begins.
    starts: Vec<u64>,
}

impl VirtualMp4 {
    /// What to read for the bytes in `range`, in order. What lies past the end of the file is left out.
    pub fn slices(&self, range: Range<u64>) -> impl Iterator<Item = Slice> + '_ {
        let _ = range;
        let _ = &self.starts;
        std::iter::empty()
    }
}
