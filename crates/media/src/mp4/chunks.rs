//! The chunks of a file, as they were pushed, and the samples behind them.

use super::summary::{ChunkRef, Column, SampleSource};
use crate::virtual_file::PieceError;

/// Samples of one track that lie one after another in a source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pushed {
    /// Where its bytes begin in the media of the file.
    pub(super) media_start: u64,
    /// Where they begin in the source.
    pub(super) offset: u64,
    pub(super) source: u32,
    pub(super) samples: u32,
    pub(super) track: u16,
    /// Which of the track's configurations decodes them.
    pub(super) config: u16,
    /// Bytes that are inserted before each sync sample.
    pub(super) inserted: u32,
}

/// All chunks, in the order in which the file has them.
#[derive(Debug)]
pub(super) struct Chunks<S> {
    pub(super) samples: S,
    pub(super) pushed: Vec<Pushed>,
    /// Bytes of all.
    pub(super) media_len: u64,
}

/// A part of a pushed chunk that is one in the file as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) samples: u32,
    /// Stored bytes.
    pub(crate) len: u64,
    /// Bytes that are inserted before them.
    pub(crate) inserted: u32,
}

/// Where samples, of each its bytes and whether it is a sync sample, are parted when `inserted` bytes come before
/// each sync sample.
pub(crate) fn groups(samples: impl IntoIterator<Item = (u32, bool)>, inserted: u32) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (size, is_sync) in samples {
        let group = match groups.last_mut() {
            Some(open) if !is_sync => open,
            _ => {
                groups.push(Group { samples: 0, len: 0, inserted: if is_sync { inserted } else { 0 } });
                let Some(begun) = groups.last_mut() else { continue };
                begun
            }
        };
        group.samples += 1;
        group.len += u64::from(size);
    }
    groups
}

impl<S: SampleSource> Chunks<S> {
    /// One member of all samples of a chunk, as the file has it.
    pub(super) fn read(&self, number: usize, column: Column) -> Result<Vec<u32>, PieceError> {
        let mut values = self.read_stored(number, column)?;
        let inserted = self.pushed.get(number).map_or(0, |chunk| chunk.inserted);
        if column == Column::Size && inserted > 0 {
            let syncs = self.read_stored(number, Column::Sync)?;
            for (size, is_sync) in values.iter_mut().zip(syncs) {
                *size = size.saturating_add(inserted * is_sync);
            }
        }
        Ok(values)
    }

    fn read_stored(&self, number: usize, column: Column) -> Result<Vec<u32>, PieceError> {
        let Some(chunk) = self.pushed.get(number) else { return Ok(Vec::new()) };
        let mut values = Vec::with_capacity(chunk.samples as usize);
        let place = ChunkRef { number, track: usize::from(chunk.track), source: chunk.source };
        self.samples.read(place, column, &mut values)?;
        if values.len() == chunk.samples as usize { Ok(values) } else { Err(disagreement()) }
    }

    /// What a pushed chunk is in the file: several chunks where something is inserted between its samples.
    pub(super) fn groups(&self, number: usize) -> Result<Vec<Group>, PieceError> {
        let Some(chunk) = self.pushed.get(number) else { return Ok(Vec::new()) };
        if chunk.inserted == 0 {
            let len = self.end(number) - chunk.media_start;
            return Ok(vec![Group { samples: chunk.samples, len, inserted: 0 }]);
        }
        let sizes = self.read_stored(number, Column::Size)?;
        let syncs = self.read_stored(number, Column::Sync)?.into_iter().map(|is_sync| is_sync == 1);
        Ok(groups(sizes.into_iter().zip(syncs), chunk.inserted))
    }

    /// Where a chunk ends in the media of the file.
    pub(super) fn end(&self, number: usize) -> u64 {
        self.pushed.get(number + 1).map_or(self.media_len, |next| next.media_start)
    }
}

/// What is read is not what was planned with.
pub(super) fn disagreement() -> PieceError {
    PieceError { reason: "the samples of a chunk are not those that the file was planned with".to_owned() }
}
