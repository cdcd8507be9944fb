//! How segments are packed into bytes: the many of a page, and one by one in the tail.
//!
//! Pure. Neighbours in a page resemble each other, so differences are stored: a second of media takes about a
//! dozen bytes beside its sample table. Whatever bytes are read, nothing panics and nothing is allocated that they
//! only claim to need. A page carries checksums, of its columns, its fields and its sample tables, and so does each
//! segment in the tail: what one wrong bit would say could be believed, and bytes be given back that are needed.

use bytes::Bytes;
use mediahooks_media::varint;
use mediahooks_model::TimelineId;
use uuid::Uuid;

use super::Entry;
use crate::{Segment, SegmentSpan};

/// The first byte of a page's fields; raised when the layout changes.
const LAYOUT: u8 = 1;

/// Bytes that the fields of a segment take at least.
const FIELDS_MIN: usize = 6;

/// Bytes of a checksum.
const SUM: usize = 4;

/// The two blobs of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packed {
    /// Everything but the sample tables.
    pub fields: Vec<u8>,
    /// The sample tables, one behind the other.
    pub tables: Vec<u8>,
}

/// What a page's row says of all its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageKey {
    pub timeline: TimelineId,
    /// Of its first segment.
    pub first: u64,
    /// Of its last segment; there is no hole in between.
    pub last: u64,
    pub run: u32,
    pub chunk: u32,
}

/// What a page's row says of its segments, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns {
    pub key: PageKey,
    /// Where in the chunk file the last of them ends.
    pub end: u64,
    /// Bytes of all of them.
    pub len: u64,
    pub wall_start_us: i64,
    pub wall_end_us: i64,
    /// The first that decoding can begin with.
    pub first_sync: Option<u64>,
}

impl Columns {
    /// What the row of these segments has to say; they are the whole of a page. None: there are none.
    pub(super) fn of(entries: &[Entry]) -> Option<Self> {
        let (first, last) = (entries.first()?, entries.last()?);
        let SegmentSpan { timeline, sequence, run, .. } = first.span;
        let spans = || entries.iter().map(|entry| entry.span);
        Some(Self {
            key: PageKey { timeline, first: sequence, last: last.span.sequence, run, chunk: first.chunk },
            end: entries.iter().map(|entry| entry.offset.saturating_add(entry.len)).max()?,
            len: entries.iter().fold(0, |sum: u64, entry| sum.saturating_add(entry.len)),
            wall_start_us: spans().map(|span| span.wall_start().as_micros()).min()?,
            wall_end_us: spans().map(|span| span.wall_end().as_micros()).max()?,
            first_sync: spans().find(|span| span.starts_with_sync).map(|span| span.sequence),
        })
    }

    /// The checksum of them all.
    pub(super) fn checksum(&self) -> u32 {
        let PageKey { timeline, first, last, run, chunk } = self.key;
        let mut sum = crc32fast::Hasher::new();
        sum.update(timeline.0.as_bytes());
        for number in [first, last, run.into(), chunk.into(), self.end, self.len] {
            sum.update(&number.to_le_bytes());
        }
        for moment in [self.wall_start_us, self.wall_end_us] {
            sum.update(&moment.to_le_bytes());
        }
        if let Some(first_sync) = self.first_sync {
            sum.update(&first_sync.to_le_bytes());
        }
        sum.finalize()
    }
}

/// What stands before the segment that is next: the differences are counted from here.
#[derive(Default)]
struct Before {
    end: u64,
    media_end_us: i64,
    wall_offset_us: i64,
}

/// Whether sample tables are what was once stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tables {
    Sound,
    /// They are stored such that whoever reads them is told.
    Damaged,
}

/// Packs segments of one page.
pub(super) fn pack(segments: &[Segment], state: Tables) -> Packed {
    let tables: Vec<u8> = segments.iter().flat_map(|segment| segment.index.iter().copied()).collect();
    let mut fields = Vec::with_capacity(16 + 16 * segments.len());
    fields.push(LAYOUT);
    let sum = crc32fast::hash(&tables);
    fields.extend(if state == Tables::Sound { sum } else { !sum }.to_le_bytes());
    let mut before = Before::default();
    for segment in segments {
        // Wrapping: what is far apart takes ten bytes and comes back as it was.
        varint::put_signed(&mut fields, segment.offset.wrapping_sub(before.end) as i64);
        varint::put(&mut fields, segment.len);
        varint::put_signed(&mut fields, segment.media_start_us.wrapping_sub(before.media_end_us));
        varint::put_signed(&mut fields, segment.media_end_us.wrapping_sub(segment.media_start_us));
        varint::put_signed(&mut fields, segment.wall_offset_us.wrapping_sub(before.wall_offset_us));
        varint::put(&mut fields, (segment.index.len() as u64) << 1 | u64::from(segment.starts_with_sync));
        before = Before {
            end: segment.offset.wrapping_add(segment.len),
            media_end_us: segment.media_end_us,
            wall_offset_us: segment.wall_offset_us,
        };
    }
    let sum = crc32fast::hash(&fields);
    fields.extend(sum.to_le_bytes());
    Packed { fields, tables }
}

/// Reads the fields of a page: each segment with the length of its sample table. None: they are damaged.
pub(super) fn unpack(key: &PageKey, fields: &[u8]) -> Option<Vec<(Entry, usize)>> {
    let (mut bytes, _) = checked(fields)?;
    let count = key.last.checked_sub(key.first)?.checked_add(1)?;
    if count > (bytes.len() / FIELDS_MIN) as u64 {
        return None;
    }
    let mut entries = Vec::with_capacity(usize::try_from(count).ok()?);
    let mut before = Before::default();
    for sequence in key.first..=key.last {
        let offset = before.end.wrapping_add(varint::take_signed(&mut bytes)? as u64);
        let len = varint::take(&mut bytes)?;
        let media_start_us = before.media_end_us.wrapping_add(varint::take_signed(&mut bytes)?);
        let media_end_us = media_start_us.wrapping_add(varint::take_signed(&mut bytes)?);
        let wall_offset_us = before.wall_offset_us.wrapping_add(varint::take_signed(&mut bytes)?);
        let table = varint::take(&mut bytes)?;
        let span = SegmentSpan {
            timeline: key.timeline,
            sequence,
            run: key.run,
            media_start_us,
            media_end_us,
            wall_offset_us,
            starts_with_sync: table & 1 == 1,
        };
        entries.push((Entry { span, chunk: key.chunk, offset, len }, usize::try_from(table >> 1).ok()?));
        before = Before { end: offset.wrapping_add(len), media_end_us, wall_offset_us };
    }
    bytes.is_empty().then_some(entries)
}

/// Reads a page whole; the sample tables refer to `tables`. None: it is damaged.
pub(super) fn unpack_whole(key: &PageKey, fields: &[u8], tables: Bytes) -> Option<Vec<Segment>> {
    let (segments, tables) = unpack_readable(key, fields, tables)?;
    (tables == Tables::Sound).then_some(segments)
}

/// As [`unpack_whole`], also where just the sample tables are damaged. None: the fields are.
pub(super) fn unpack_readable(key: &PageKey, fields: &[u8], tables: Bytes) -> Option<(Vec<Segment>, Tables)> {
    let (_, sum) = checked(fields)?;
    let is_sound = crc32fast::hash(&tables) == sum;
    let entries = unpack(key, fields)?;
    let wanted = entries.iter().fold(0usize, |sum, (_, len)| sum.saturating_add(*len));
    let is_whole = wanted == tables.len();
    let mut rest = tables;
    let mut segments = Vec::with_capacity(entries.len());
    for (entry, len) in entries {
        segments.push(entry.with_table(rest.split_to(len.min(rest.len()))));
    }
    Some((segments, if is_sound && is_whole { Tables::Sound } else { Tables::Damaged }))
}

/// Puts the sample tables of segments into a buffer of their own. Where they are read from they are parts of one that
/// holds those of other segments too, and keep all of it.
pub(super) fn detach(segments: &mut [Segment]) {
    let mut tables = Vec::with_capacity(segments.iter().map(|segment| segment.index.len()).sum());
    segments.iter().for_each(|segment| tables.extend_from_slice(&segment.index));
    let mut rest = Bytes::from(tables);
    for segment in segments {
        segment.index = rest.split_to(segment.index.len());
    }
}

/// The fields without layout and checksums, and the checksum of the tables.
fn checked(fields: &[u8]) -> Option<(&[u8], u32)> {
    let (content, sum) = fields.split_last_chunk::<SUM>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (&layout, content) = content.split_first()?;
    let (tables, content) = content.split_first_chunk::<SUM>()?;
    (layout == LAYOUT).then_some((content, u32::from_le_bytes(*tables)))
}

/// Packs one segment for the tail.
pub(super) fn pack_one(segment: &Segment) -> Vec<u8> {
    let mut body = Vec::with_capacity(64 + segment.index.len());
    body.extend(segment.timeline.0.as_bytes());
    varint::put(&mut body, segment.sequence);
    varint::put(&mut body, u64::from(segment.run) << 1 | u64::from(segment.starts_with_sync));
    varint::put(&mut body, u64::from(segment.chunk));
    varint::put(&mut body, segment.offset);
    varint::put(&mut body, segment.len);
    varint::put_signed(&mut body, segment.media_start_us);
    varint::put_signed(&mut body, segment.media_end_us.wrapping_sub(segment.media_start_us));
    varint::put_signed(&mut body, segment.wall_offset_us);
    body.extend(&segment.index);
    let mut out = Vec::with_capacity(body.len() + 4 + SUM);
    varint::put(&mut out, body.len() as u64);
    out.append(&mut body);
    out.extend(crc32fast::hash(&out).to_le_bytes());
    out
}

/// One segment of a slot of the tail, read no further than to tell whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InSlot<'a> {
    pub timeline: TimelineId,
    pub sequence: u64,
    rest: &'a [u8],
}

impl InSlot<'_> {
    /// The whole of it; the sample table refers to `slot`, from which this was read. None: it is damaged.
    pub(super) fn segment(&self, slot: &Bytes) -> Option<Segment> {
        let mut bytes = self.rest;
        let run = varint::take(&mut bytes)?;
        let chunk = u32::try_from(varint::take(&mut bytes)?).ok()?;
        let offset = varint::take(&mut bytes)?;
        let len = varint::take(&mut bytes)?;
        let media_start_us = varint::take_signed(&mut bytes)?;
        let media_end_us = media_start_us.wrapping_add(varint::take_signed(&mut bytes)?);
        let wall_offset_us = varint::take_signed(&mut bytes)?;
        Some(Segment {
            timeline: self.timeline,
            sequence: self.sequence,
            run: u32::try_from(run >> 1).ok()?,
            chunk,
            offset,
            len,
            media_start_us,
            media_end_us,
            wall_offset_us,
            starts_with_sync: run & 1 == 1,
            index: slot.slice_ref(bytes),
        })
    }
}

/// The segments of a slot; what is not used of it is zeros. None stands for bytes that are damaged: what is behind them
/// is found again by its checksum.
pub(super) fn in_slot(slot: &[u8]) -> impl Iterator<Item = Option<InSlot<'_>>> {
    let mut rest = slot;
    std::iter::from_fn(move || {
        if is_unused(rest) {
            return None;
        }
        if let Some((found, behind)) = take_one(rest) {
            rest = behind;
            return Some(Some(found));
        }
        let mut behind = (1..rest.len()).filter_map(|from| rest.get(from..));
        rest = behind.find(|rest| take_one(rest).is_some()).unwrap_or_default();
        Some(None)
    })
}

fn is_unused(rest: &[u8]) -> bool {
    rest.iter().all(|byte| *byte == 0)
}

/// The segment that bytes begin with, and what is behind it. None: they begin with none.
fn take_one(bytes: &[u8]) -> Option<(InSlot<'_>, &[u8])> {
    let mut rest = bytes;
    let len = usize::try_from(varint::take(&mut rest)?).ok()?;
    let head = bytes.len() - rest.len();
    let (content, behind) = bytes.split_at_checked(head.checked_add(len)?)?;
    let (sum, behind) = behind.split_first_chunk::<SUM>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (id, mut body) = content.get(head..)?.split_first_chunk::<16>()?;
    let sequence = varint::take(&mut body)?;
    Some((InSlot { timeline: TimelineId(Uuid::from_bytes(*id)), sequence, rest: body }, behind))
}

/// Bytes of a slot that are used. None: it is damaged.
pub(super) fn used(slot: &[u8]) -> Option<usize> {
    let mut rest = slot;
    while !is_unused(rest) {
        (_, rest) = take_one(rest)?;
    }
    Some(slot.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_segment()(
            ids in (any::<u128>(), any::<u64>(), any::<u32>(), any::<u32>()),
            place in (any::<u64>(), any::<u64>()),
            times in (any::<i64>(), any::<i64>(), any::<i64>()),
            starts_with_sync: bool,
            index in prop::collection::vec(any::<u8>(), 0..60),
        ) -> Segment {
            Segment {
                timeline: TimelineId(Uuid::from_u128(ids.0)),
                sequence: ids.1,
                run: ids.2,
                chunk: ids.3,
                offset: place.0,
                len: place.1,
                media_start_us: times.0,
                media_end_us: times.1,
                wall_offset_us: times.2,
                starts_with_sync,
                index: index.into(),
            }
        }
    }

    /// Makes segments neighbours in one page.
    fn page(mut segments: Vec<Segment>) -> (PageKey, Vec<Segment>) {
        let first = segments[0].sequence.min(u64::MAX - segments.len() as u64);
        let (timeline, run, chunk) = (segments[0].timeline, segments[0].run, segments[0].chunk);
        for (sequence, segment) in (first..).zip(&mut segments) {
            (segment.timeline, segment.run, segment.chunk) = (timeline, run, chunk);
            segment.sequence = sequence;
        }
        (PageKey { timeline, first, last: first + segments.len() as u64 - 1, run, chunk }, segments)
    }

    proptest! {
        #[test]
        fn detached_tables_are_the_same_and_keep_nothing_else(
            mut segments in prop::collection::vec(any_segment(), 1..5),
        ) {
            let before = segments.clone();
            let page = Bytes::from(segments.iter().flat_map(|segment| segment.index.to_vec()).collect::<Vec<u8>>());
            let mut rest = page.clone();
            for segment in &mut segments {
                segment.index = rest.split_to(segment.index.len());
            }
            drop(rest);
            detach(&mut segments);
            prop_assert!(page.is_empty() || page.is_unique());
            prop_assert_eq!(segments, before);
        }

        #[test]
        fn a_page_comes_back_as_it_was(segments in prop::collection::vec(any_segment(), 1..20)) {
            let (key, segments) = page(segments);
            let packed = pack(&segments, Tables::Sound);
            prop_assert_eq!(unpack_whole(&key, &packed.fields, packed.tables.into()), Some(segments));
        }

        #[test]
        fn a_damaged_page_is_told(
            segments in prop::collection::vec(any_segment(), 1..20),
            at: prop::sample::Index,
            bit in 0..8u32,
        ) {
            let (key, segments) = page(segments);
            let Packed { mut fields, mut tables } = pack(&segments, Tables::Sound);
            let at = at.index(fields.len() + tables.len());
            match at.checked_sub(fields.len()) {
                None => fields[at] ^= 1 << bit,
                Some(at) => tables[at] ^= 1 << bit,
            }
            prop_assert_eq!(unpack_whole(&key, &fields, tables.into()), None);
        }

        #[test]
        fn no_bytes_panic_the_reader(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            first: u64,
            last: u64,
        ) {
            let key = PageKey { timeline: TimelineId(Uuid::nil()), first, last, run: 0, chunk: 0 };
            let _ = unpack_whole(&key, &bytes, Bytes::new());
            // Past the checksum.
            let mut fields = [&[LAYOUT], &crc32fast::hash(&bytes).to_le_bytes()[..], &bytes].concat();
            fields.extend(crc32fast::hash(&fields).to_le_bytes());
            let _ = unpack_whole(&key, &fields, bytes.clone().into());
            let few = PageKey { first: 7, last: 7 + bytes.len() as u64 / 12, ..key };
            let _ = unpack_whole(&few, &fields, bytes.clone().into());
            let _ = used(&bytes);
            let slot = Bytes::from(bytes);
            for found in in_slot(&slot).flatten() {
                let _ = found.segment(&slot);
            }
        }

        #[test]
        fn a_damaged_byte_in_a_slot_costs_one_segment(
            segments in prop::collection::vec(any_segment(), 1..20),
            at: prop::sample::Index,
            bit in 0..8u32,
        ) {
            let mut slot: Vec<u8> = segments.iter().flat_map(pack_one).collect();
            let at = at.index(slot.len());
            slot[at] ^= 1 << bit;
            slot.resize(slot.len() + 9, 0);
            prop_assert_eq!(used(&slot), None);
            let slot = Bytes::from(slot);
            let found: Vec<Segment> = in_slot(&slot).flatten().map(|found| found.segment(&slot).unwrap()).collect();
            prop_assert_eq!(in_slot(&slot).filter(Option::is_none).count(), 1);
            prop_assert_eq!(found.len(), segments.len() - 1);
            prop_assert!(found.iter().all(|segment| segments.contains(segment)));
        }

        #[test]
        fn a_slot_comes_back_as_it_was(segments in prop::collection::vec(any_segment(), 0..20), unused in 0..9usize) {
            let mut slot: Vec<u8> = segments.iter().flat_map(pack_one).collect();
            let filled = slot.len();
            slot.resize(filled + unused, 0);
            prop_assert_eq!(used(&slot), Some(filled));
            let slot = Bytes::from(slot);
            let found: Option<Vec<Segment>> = in_slot(&slot).map(|found| found?.segment(&slot)).collect();
            prop_assert_eq!(found, Some(segments));
        }
    }

    #[test]
    fn a_usual_second_takes_a_dozen_bytes_beside_its_table() {
        let segments: Vec<Segment> = (0..64)
            .map(|n| Segment {
                timeline: TimelineId(Uuid::nil()),
                sequence: n,
                run: 0,
                chunk: 0,
                offset: 700 + n * 312_500,
                len: 312_500,
                media_start_us: n as i64 * 1_000_000,
                media_end_us: (n as i64 + 1) * 1_000_000 + 12_345,
                wall_offset_us: 1_760_000_000_000_000 + n as i64 * 37,
                starts_with_sync: true,
                index: vec![7; 400].into(),
            })
            .collect();
        let packed = pack(&segments, Tables::Sound);
        assert!(packed.fields.len() <= 64 * 15, "{} bytes", packed.fields.len());
    }
}
