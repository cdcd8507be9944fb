//! How segments are packed into bytes: the many of a page, and one by one in the tail.
//!
//! Pure. Neighbours in a page resemble each other, so differences are stored: a second of media takes about a
//! dozen bytes beside its sample table. Whatever bytes are read, nothing panics and nothing is allocated that they
//! only claim to need; a page carries checksums, because what one wrong bit would say of all segments behind it
//! could be believed.

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

/// What stands before the segment that is next: the differences are counted from here.
#[derive(Default)]
struct Before {
    end: u64,
    media_end_us: i64,
    wall_offset_us: i64,
}

/// Packs segments of one page.
pub(super) fn pack(segments: &[Segment]) -> Packed {
    let tables: Vec<u8> = segments.iter().flat_map(|segment| segment.index.iter().copied()).collect();
    let mut fields = Vec::with_capacity(16 + 16 * segments.len());
    fields.push(LAYOUT);
    fields.extend(crc32fast::hash(&tables).to_le_bytes());
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
    let (_, sum) = checked(fields)?;
    if crc32fast::hash(&tables) != sum {
        return None;
    }
    let entries = unpack(key, fields)?;
    let mut segments = Vec::with_capacity(entries.len());
    let mut rest = tables;
    for (entry, len) in entries {
        if len > rest.len() {
            return None;
        }
        segments.push(entry.with_table(rest.split_to(len)));
    }
    rest.is_empty().then_some(segments)
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
    let mut out = Vec::with_capacity(body.len() + 4);
    varint::put(&mut out, body.len() as u64);
    out.append(&mut body);
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

/// The segments of a slot; what is not used of it is zeros. One that is damaged ends them with None.
pub(super) fn in_slot(slot: &[u8]) -> impl Iterator<Item = Option<InSlot<'_>>> {
    let mut rest = slot;
    std::iter::from_fn(move || match next_in_slot(&mut rest) {
        Some(found) => found.map(Some),
        None => {
            rest = &[];
            Some(None)
        }
    })
}

/// Takes a segment off the front. None: it is damaged; Some(None): there are no more.
fn next_in_slot<'a>(rest: &mut &'a [u8]) -> Option<Option<InSlot<'a>>> {
    // A slot may be full to the last byte.
    let len = if rest.is_empty() { 0 } else { usize::try_from(varint::take(rest)?).ok()? };
    if len == 0 {
        let is_unused = rest.iter().all(|byte| *byte == 0);
        *rest = &[];
        return is_unused.then_some(None);
    }
    let (body, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    let (id, mut body) = body.split_first_chunk::<16>()?;
    let sequence = varint::take(&mut body)?;
    Some(Some(InSlot { timeline: TimelineId(Uuid::from_bytes(*id)), sequence, rest: body }))
}

/// Bytes of a slot that are used.
pub(super) fn used(slot: &[u8]) -> Option<usize> {
    let mut rest = slot;
    loop {
        let before = rest.len();
        let len = if rest.is_empty() { 0 } else { usize::try_from(varint::take(&mut rest)?).ok()? };
        if len == 0 {
            return Some(slot.len() - before);
        }
        rest = rest.get(len..)?;
    }
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
        fn a_page_comes_back_as_it_was(segments in prop::collection::vec(any_segment(), 1..20)) {
            let (key, segments) = page(segments);
            let packed = pack(&segments);
            prop_assert_eq!(unpack_whole(&key, &packed.fields, packed.tables.into()), Some(segments));
        }

        #[test]
        fn a_damaged_page_is_told(
            segments in prop::collection::vec(any_segment(), 1..20),
            at: prop::sample::Index,
            bit in 0..8u32,
        ) {
            let (key, segments) = page(segments);
            let Packed { mut fields, mut tables } = pack(&segments);
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
        let packed = pack(&segments);
        assert!(packed.fields.len() <= 64 * 15, "{} bytes", packed.fields.len());
    }
}
