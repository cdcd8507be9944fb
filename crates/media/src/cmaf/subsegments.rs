//! The index of subsegments (`sidx`): where in the file each fragment lies, and when the group of fragments is shown that
//! it is of. Players seek with it, and know from it how long the file is (ISO/IEC 14496-12 §8.16.3).
//!
//! A group, which begins with a sync sample, would be one reference, but FFmpeg, and Chromium with it, may lose the
//! fragments of a group that have none. So each has one: the first has the duration of the group, the others none, and
//! whoever seeks gets to the sync sample.

use crate::{
    boxes::{full_box, overflow},
    error::MuxError,
};

/// Most references of one `sidx`: its number of them has 16 bits. With more, neighbours share one.
const REFERENCES_MAX: usize = u16::MAX as usize;

/// A file's fragments, as they are added.
#[derive(Debug)]
pub(super) struct Subsegments {
    track_id: u32,
    timescale: u32,
    list: Vec<Reference>,
    /// When the next fragment is shown, if it begins a group.
    begins: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Reference {
    len: u64,
    /// When its group is shown; absent for one that does not begin a group.
    start: Option<i64>,
}

impl Subsegments {
    pub(super) fn new(track_id: u32, timescale: u32) -> Self {
        Self { track_id, timescale, list: Vec::new(), begins: Some(0) }
    }

    /// The next fragment begins a group that is shown from `start` on, in ticks.
    pub(super) fn begin(&mut self, start: i64) {
        self.begins = Some(start);
    }

    /// Adds a fragment.
    pub(super) fn add(&mut self, len: u64) {
        self.list.push(Reference { len, start: self.begins.take() });
    }

    /// Appends the box. The first fragment begins `skipped` bytes after it, the last group is shown until `end`.
    pub(super) fn append(&self, out: &mut Vec<u8>, skipped: u64, end: i64) -> Result<(), MuxError> {
        let Some(first) = self.list.first() else { return Ok(()) };
        let shared = self.list.len().div_ceil(REFERENCES_MAX);
        let references: Vec<Reference> = self.list.chunks(shared).map(merged).collect();
        full_box(out, *b"sidx", 1, |out| {
            out.extend(self.track_id.to_be_bytes());
            out.extend(self.timescale.to_be_bytes());
            out.extend(u64::try_from(first.start.unwrap_or(0)).unwrap_or(0).to_be_bytes());
            out.extend(skipped.to_be_bytes());
            out.extend([0, 0]); // reserved
            out.extend(u16::try_from(references.len()).unwrap_or(u16::MAX).to_be_bytes());
            let mut following = references.as_slice();
            while let [reference, rest @ ..] = following {
                following = rest;
                let next = rest.iter().find_map(|next| next.start).unwrap_or(end);
                let duration = reference.start.map_or(0, |start| next.saturating_sub(start).max(0));
                // The highest bit tells that media is referred to, and not another index.
                let size = u32::try_from(reference.len).ok().filter(|size| size >> 31 == 0);
                let max = u64::from(u32::MAX >> 1);
                out.extend(
                    size.ok_or_else(|| overflow("sidx referenced_size", reference.len, max))?.to_be_bytes(),
                );
                out.extend(u32::try_from(duration).unwrap_or(u32::MAX).to_be_bytes());
                // A stream access point of type 1 is a sync sample that is shown first.
                out.extend(if reference.start.is_some() { 0x9000_0000_u32 } else { 0 }.to_be_bytes());
            }
            Ok(())
        })
    }
}

/// Neighbours as one.
fn merged(references: &[Reference]) -> Reference {
    Reference {
        len: references.iter().map(|reference| reference.len).sum(),
        start: references.iter().find_map(|reference| reference.start),
    }
}
