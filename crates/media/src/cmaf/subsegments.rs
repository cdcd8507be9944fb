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
    /// What the next fragment begins with, if it begins a group.
    begins: Option<Beginning>,
}

/// Where a group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Beginning {
    /// When it is shown, in ticks.
    start: i64,
    access: Access,
}

/// What decoding can do at the beginning of a subsegment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Begin, and show everything that follows.
    Closed,
    /// Begin, but not show the pictures that are shown before the first one: they need others.
    Open,
    /// Not begin.
    None,
}

impl Access {
    /// Whether it starts with a stream access point, and of which type (§8.16.3.3 and Annex I).
    fn bits(self) -> u32 {
        match self {
            Self::Closed => 0x9000_0000,
            Self::Open => 0xb000_0000,
            Self::None => 0,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Reference {
    len: u64,
    /// Absent for one that does not begin a group.
    begins: Option<Beginning>,
    /// Whether that is where it begins, and not somewhere within.
    begins_at_once: bool,
}

impl Subsegments {
    pub(super) fn new(track_id: u32, timescale: u32) -> Self {
        Self { track_id, timescale, list: Vec::new(), begins: None }
    }

    /// The next fragment begins a group that is shown from `start` on, in ticks.
    pub(super) fn begin(&mut self, start: i64, access: Access) {
        self.begins = Some(Beginning { start, access });
    }

    /// Adds a fragment.
    pub(super) fn add(&mut self, len: u64) {
        let begins = self.begins.take();
        self.list.push(Reference { len, begins, begins_at_once: begins.is_some() });
    }

    /// Appends the box. The first fragment begins `skipped` bytes after it, the last group is shown until `end`.
    pub(super) fn append(&self, out: &mut Vec<u8>, skipped: u64, end: i64) -> Result<(), MuxError> {
        if self.list.is_empty() {
            return Ok(());
        }
        let shared = self.list.len().div_ceil(REFERENCES_MAX);
        let references: Vec<Reference> = self.list.chunks(shared).map(merged).collect();
        let starts = references.iter().filter_map(|reference| reference.begins);
        let first_start = starts.clone().next().map_or(0, |begins| begins.start);
        let mut ends = starts.skip(1).map(|begins| begins.start).chain([end]);
        full_box(out, *b"sidx", 1, |out| {
            out.extend(self.track_id.to_be_bytes());
            out.extend(self.timescale.to_be_bytes());
            out.extend(u64::try_from(first_start).unwrap_or(0).to_be_bytes());
            out.extend(skipped.to_be_bytes());
            out.extend([0, 0]); // reserved
            out.extend(u16::try_from(references.len()).unwrap_or(u16::MAX).to_be_bytes());
            for reference in &references {
                let until = reference.begins.and_then(|begins| Some((begins, ends.next()?)));
                let duration = until.map_or(0, |(begins, end)| end.saturating_sub(begins.start).max(0));
                // The highest bit tells that media is referred to, and not another index.
                let size = u32::try_from(reference.len).ok().filter(|size| size >> 31 == 0);
                let max = u64::from(u32::MAX >> 1);
                out.extend(
                    size.ok_or_else(|| overflow("sidx referenced_size", reference.len, max))?.to_be_bytes(),
                );
                out.extend(u32::try_from(duration).unwrap_or(u32::MAX).to_be_bytes());
                let access = reference.begins.filter(|_| reference.begins_at_once);
                out.extend(access.map_or(0, |begins| begins.access.bits()).to_be_bytes());
            }
            Ok(())
        })
    }
}

/// Neighbours as one.
fn merged(references: &[Reference]) -> Reference {
    Reference {
        len: references.iter().map(|reference| reference.len).sum(),
        begins: references.iter().find_map(|reference| reference.begins),
        begins_at_once: references.first().is_some_and(|first| first.begins_at_once),
    }
}
