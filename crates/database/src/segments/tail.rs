//! The tail: the newest segments of all feeds, in the order of their writing.
//!
//! It is made of slots of one page of the database each, which are filled one after the other and again from the start
//! once everything in them has moved into pages. So neither writing nor moving allocates or frees pages of the
//! database: a transaction with segments of many feeds changes a page or two. What is in a slot by the time it is
//! filled again is left where it is; a segment below `timeline.paged_below`, or of no timeline, is not in the tail.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use bytes::Bytes;
use mediahooks_model::TimelineId;
use rusqlite::{Connection, OptionalExtension, params};

use super::packed::{in_slot, pack_one, used};
use super::{Places, paged_below};
use crate::Segment;
use crate::error::Result;
use crate::writer::Writing;

/// Bytes of a slot: as many as fit into a page of 4096 bytes together with what the engine needs. A segment with a
/// larger sample table has a slot of its own.
const SLOT: usize = 4048;

/// Writes a segment.
pub(super) fn append(tx: &Writing<'_>, segment: &Segment) -> Result<()> {
    let bytes = pack_one(segment);
    let slot = match append_to_open(tx, &bytes)? {
        Some(slot) => slot,
        None => {
            let slot = tx.places().another_slot();
            let mut content = bytes;
            content.resize(content.len().max(SLOT), 0);
            write(tx, slot, &content)?;
            slot
        }
    };
    tx.places().put(segment.timeline, segment.sequence, slot);
    Ok(())
}

/// None: there is no room.
fn append_to_open(tx: &Writing<'_>, bytes: &[u8]) -> Result<Option<i64>> {
    let Some(slot) = tx.places().open_slot() else { return Ok(None) };
    // Not there: the transaction that made it was undone.
    let Some(mut content) = read(tx, slot)? else { return Ok(None) };
    let Some(from) = used(&content) else {
        tracing::error!(
            slot,
            "a slot of the newest segments is damaged; it is set aside: run `mediahooks check`"
        );
        tx.places().set_aside(slot);
        return Ok(None);
    };
    let Some(room) = content.get_mut(from..from + bytes.len()) else { return Ok(None) };
    room.copy_from_slice(bytes);
    write(tx, slot, &content)?;
    Ok(Some(slot))
}

fn write(tx: &Connection, slot: i64, content: &[u8]) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO segment_tail (slot, segments) VALUES (?1, ?2)
         ON CONFLICT (slot) DO UPDATE SET segments = excluded.segments",
    )?
    .execute(params![slot, content])?;
    Ok(())
}

fn read(tx: &Connection, slot: i64) -> Result<Option<Vec<u8>>> {
    let mut statement = tx.prepare_cached("SELECT segments FROM segment_tail WHERE slot = ?1")?;
    Ok(statement.query_row([slot], |row| row.get(0)).optional()?)
}

/// What of a timeline a slot holds.
pub(super) struct Found {
    /// Whether they are needed or not.
    pub segments: Vec<Segment>,
    /// Some of the slot's bytes are damaged: others may have been there.
    pub is_damaged: bool,
}

/// The segments of a timeline with numbers in `wanted` that a slot holds.
pub(super) fn find(
    tx: &Connection,
    slot: i64,
    timeline: TimelineId,
    wanted: &RangeInclusive<u64>,
) -> Result<Found> {
    let content = read(tx, slot)?.map(Bytes::from).unwrap_or_default();
    let mut found = Found { segments: Vec::new(), is_damaged: false };
    for held in in_slot(&content) {
        let Some(held) = held else {
            found.is_damaged = true;
            continue;
        };
        if held.timeline == timeline && wanted.contains(&held.sequence) {
            match held.segment(&content) {
                Some(segment) => found.segments.push(segment),
                None => found.is_damaged = true,
            }
        }
    }
    Ok(found)
}

/// Finds the place of every segment in the tail. A slot that is damaged is set aside: what it held may be needed, and
/// media that nobody else knows of.
pub(crate) fn load(tx: &Connection) -> Result<Places> {
    let places = Places::default();
    let mut below: HashMap<TimelineId, Option<u64>> = HashMap::new();
    let mut found: BTreeMap<i64, Vec<(TimelineId, u64)>> = BTreeMap::new();
    let mut statement = tx.prepare("SELECT slot, segments FROM segment_tail")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let slot: i64 = row.get(0)?;
        let held = found.entry(slot).or_default();
        for segment in in_slot(row.get_ref(1)?.as_blob().unwrap_or_default()) {
            let Some(segment) = segment else {
                tracing::error!(
                    slot,
                    "a slot of the newest segments is damaged; what else it held of streams that were live can still be \
                     used, and no media is removed that it may refer to: run `mediahooks check`"
                );
                places.set_aside(slot);
                continue;
            };
            let below = match below.get(&segment.timeline) {
                Some(known) => *known,
                None => *below.entry(segment.timeline).or_insert(paged_below(tx, segment.timeline)?),
            };
            if below.is_some_and(|below| segment.sequence >= below) {
                held.push((segment.timeline, segment.sequence));
            }
        }
    }
    for (slot, held) in found {
        for (timeline, sequence) in &held {
            places.put(*timeline, *sequence, slot);
        }
        places.exists(slot);
    }
    Ok(places)
}

/// Looks at every slot and tells what is wrong with each.
pub(super) fn check(tx: &Connection) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut statement = tx.prepare("SELECT slot, segments FROM segment_tail ORDER BY slot")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let slot: i64 = row.get(0)?;
        let content = row.get_ref(1)?.as_blob().unwrap_or_default();
        if in_slot(content).any(|held| held.is_none()) {
            let sound: BTreeSet<TimelineId> =
                in_slot(content).flatten().map(|segment| segment.timeline).collect();
            let sound: Vec<String> = sound.iter().map(ToString::to_string).collect();
            problems.push(format!(
                "slot {slot} of the newest segments is damaged; beside it are segments of timelines {}",
                sound.join(", ")
            ));
        }
    }
    Ok(problems)
}

/// Writes damaged slots anew with those of their segments that can be read and are needed. Tells which they were.
pub(super) fn give_up_damaged(tx: &Connection) -> Result<Vec<String>> {
    let mut damaged: Vec<(i64, Vec<u8>)> = Vec::new();
    let mut statement = tx.prepare("SELECT slot, segments FROM segment_tail ORDER BY slot")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let content = row.get_ref(1)?.as_blob().unwrap_or_default();
        if in_slot(content).any(|held| held.is_none()) {
            damaged.push((row.get(0)?, content.to_vec()));
        }
    }
    let mut told = Vec::new();
    for (slot, content) in damaged {
        let content = Bytes::from(content);
        let (mut left, mut kept) = (Vec::new(), 0);
        for segment in in_slot(&content).flatten().filter_map(|held| held.segment(&content)) {
            if paged_below(tx, segment.timeline)?.is_some_and(|below| segment.sequence >= below) {
                left.append(&mut pack_one(&segment));
                kept += 1;
            }
        }
        left.resize(left.len().max(SLOT), 0);
        write(tx, slot, &left)?;
        told.push(format!("slot {slot}: {kept} segments stay, what cannot be read is given up"));
    }
    Ok(told)
}

/// Gives the slots back when no segment needs one: how many there are is decided by the busiest time.
pub(crate) fn shrink(tx: &Connection, places: &Places) -> Result<()> {
    if places.are_none() {
        tx.execute("DELETE FROM segment_tail", [])?;
    }
    Ok(())
}
