//! The file itself: its head, and clusters whose block headers are made when they are read.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::{
    CLUSTER_MS_MAX,
    ebml::{self, id},
    head::track_number,
};
use crate::virtual_file::{Extent, PIECE_MAX, Piece, PieceError, VirtualFile};

/// Bytes of a cluster before its first block: its identifier and size, and its timestamp.
pub(super) const CLUSTER_HEAD: u64 = 4 + 8 + (1 + 1 + 6);
/// Bytes of a block before its sample: identifier and size, then number of the track, time and flags.
const BLOCK_HEAD: u64 = 1 + 5 + BLOCK_FIELDS;
const BLOCK_FIELDS: u64 = 1 + 2 + 1;
const FLAG_KEYFRAME: u8 = 0x80;
/// Blocks of clusters that are kept in memory, some sixty bytes each: of 25 seconds or so.
const BLOCKS_KEPT: usize = 4096;

/// One sample of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Index of its track.
    pub track: usize,
    /// When it is shown, in milliseconds; not before the cluster's time and at most [`CLUSTER_MS_MAX`] after.
    pub time_ms: u64,
    /// True when decoding can begin here.
    pub is_sync: bool,
    /// Its bytes; fewer than 2^32 - 4.
    pub sample: Extent,
}

/// Tells which blocks the clusters of a file have.
pub trait Clusters: fmt::Debug + Send + Sync {
    /// The blocks of a cluster by its position, in the order of the file: as many, and of as many bytes, as the
    /// file was laid out for.
    ///
    /// Errors: [`PieceError`] where what is stored of them is damaged.
    fn blocks(&self, cluster: usize) -> Result<Vec<Block>, PieceError>;

    /// Bytes of memory that it holds.
    fn weight(&self) -> usize;
}

/// Where a cluster is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Its first byte, counted from that of the first cluster.
    pub(super) start: u64,
    pub(super) time_ms: u64,
}

/// A whole WebM file by reference.
#[derive(Debug)]
pub struct VirtualWebm {
    head: Bytes,
    /// Of each cluster; never empty.
    places: Vec<Place>,
    /// Bytes of all clusters.
    media_len: u64,
    source: Arc<dyn Clusters>,
    /// The clusters that were read last, the last one at the end: the next piece is mostly of that one, and who looks
    /// around comes back.
    open: Mutex<Vec<Arc<OpenCluster>>>,
}

/// A cluster that is being read.
#[derive(Debug)]
struct OpenCluster {
    number: usize,
    time_ms: u64,
    len: u64,
    /// Of each block, its first byte, counted from that of the cluster.
    starts: Vec<u64>,
    blocks: Vec<Block>,
}

impl VirtualWebm {
    pub(super) fn new(head: Bytes, places: Vec<Place>, media_len: u64, source: Arc<dyn Clusters>) -> Self {
        Self { head, places, media_len, source, open: Mutex::default() }
    }

    fn cluster(&self, number: usize) -> Result<Arc<OpenCluster>, PieceError> {
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut open = lock();
            if let Some(at) = open.iter().rposition(|open| open.number == number) {
                let found = Arc::clone(&open[at]);
                open[at..].rotate_left(1);
                return Ok(found);
            }
        }
        let (place, end) = match self.places.get(number..) {
            Some([place, next, ..]) => (*place, next.start),
            Some([place]) => (*place, self.media_len),
            _ => return Err(damaged("it has no such cluster")),
        };
        let blocks = self.source.blocks(number)?;
        let open = Arc::new(OpenCluster::new(number, place, end - place.start, blocks)?);
        let mut kept = lock();
        kept.push(Arc::clone(&open));
        let over = |kept: &[Arc<OpenCluster>]| {
            kept.iter().map(|open| open.blocks.len()).sum::<usize>() > BLOCKS_KEPT
        };
        while kept.len() > 1 && over(&kept) {
            kept.remove(0);
        }
        Ok(open)
    }
}

impl VirtualFile for VirtualWebm {
    fn len(&self) -> u64 {
        self.head.len() as u64 + self.media_len
    }

    fn piece(&self, range: Range<u64>) -> Result<Piece, PieceError> {
        let head_len = self.head.len() as u64;
        if range.start < head_len {
            let end = range.end.min(head_len).min(range.start + PIECE_MAX as u64);
            // Both lie within the head, which is in memory.
            return Ok(Piece::Bytes(self.head.slice(range.start as usize..end as usize)));
        }
        let (from, to) = (range.start - head_len, range.end - head_len);
        let number = self.places.partition_point(|place| place.start <= from).saturating_sub(1);
        let cluster = self.cluster(number)?;
        let start = self.places.get(number).map_or(0, |place| place.start);
        cluster.piece(from - start..(to - start).min(cluster.len))
    }

    fn weight(&self) -> usize {
        self.head.len() + self.places.len() * size_of::<Place>() + self.source.weight()
    }
}

impl OpenCluster {
    fn new(number: usize, place: Place, len: u64, blocks: Vec<Block>) -> Result<Self, PieceError> {
        let mut starts = Vec::with_capacity(blocks.len());
        let mut end = CLUSTER_HEAD;
        for block in &blocks {
            let late = block.time_ms.checked_sub(place.time_ms);
            if late.is_none_or(|late| late > CLUSTER_MS_MAX) || track_number(block.track).is_err() {
                return Err(damaged("a sample has another time or track than it had"));
            }
            starts.push(end);
            end += BLOCK_HEAD + block.sample.len;
        }
        if end != len || blocks.is_empty() {
            return Err(damaged("its samples have other sizes than they had"));
        }
        Ok(Self { number, time_ms: place.time_ms, len, starts, blocks })
    }

    /// The first bytes of a range of the cluster.
    fn piece(&self, range: Range<u64>) -> Result<Piece, PieceError> {
        let position = self.starts.partition_point(|start| *start <= range.start).saturating_sub(1);
        let (Some(block), Some(&start)) = (self.blocks.get(position), self.starts.get(position)) else {
            return Err(damaged("it ends before its end"));
        };
        // The cluster's head comes with that of its first block.
        let head_start = if position == 0 { 0 } else { start };
        let media_start = start + BLOCK_HEAD;
        let (from, to) = (range.start, range.end);
        if from >= media_start {
            let skipped = from - media_start;
            let len = (block.sample.len - skipped).min(to - from);
            return Ok(Piece::Extent(Extent { offset: block.sample.offset + skipped, len, ..block.sample }));
        }
        let mut head = Vec::with_capacity((CLUSTER_HEAD + BLOCK_HEAD) as usize);
        if position == 0 {
            self.append_head(&mut head);
        }
        self.append_block_head(&mut head, block)?;
        let end = to.min(media_start);
        // A head has some thirty bytes.
        let part = head.get((from - head_start) as usize..(end - head_start) as usize).unwrap_or_default();
        Ok(Piece::Bytes(Bytes::copy_from_slice(part)))
    }

    fn append_head(&self, out: &mut Vec<u8>) {
        ebml::put_id(out, id::CLUSTER);
        ebml::put_wide_size(out, self.len - 12);
        ebml::wide_number(out, id::TIMESTAMP, self.time_ms);
    }

    fn append_block_head(&self, out: &mut Vec<u8>, block: &Block) -> Result<(), PieceError> {
        let late = i16::try_from(block.time_ms - self.time_ms);
        let late = late.map_err(|_| damaged("a sample has another time than it had"))?;
        let number = track_number(block.track).map_err(|error| damaged(&error.to_string()))?;
        ebml::put_id(out, id::SIMPLE_BLOCK);
        ebml::put_block_size(out, BLOCK_FIELDS + block.sample.len);
        out.push(0x80 | number);
        out.extend(late.to_be_bytes());
        out.push(if block.is_sync { FLAG_KEYFRAME } else { 0 });
        Ok(())
    }
}

/// Bytes that a block takes beside its sample.
pub(super) fn block_head_len() -> u64 {
    BLOCK_HEAD
}

fn damaged(what: &str) -> PieceError {
    PieceError { reason: format!("of a cluster of a WebM file, {what}") }
}
