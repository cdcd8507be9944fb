//! Sees to it that a disk that fills up harms as little as possible, and that it is noticed.
//!
//! Asked by the sweeper, once a second. As room goes, it takes one step after the other, and each back
//! when there is room again: it frees the oldest timelines that nothing else needs; it refuses new
//! publishers; it ends those that are live, while there is still room to finish their recordings.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mediahooks_database::Change;
use mediahooks_ingest::gate::PublishRefused;
use mediahooks_model::StorageEvent;
use mediahooks_model::event::StorageRoom;
use mediahooks_storage::Space;

use crate::admission::refused;
use crate::counted;
use crate::error::RecorderError;
use crate::removal;
use crate::state::Shared;

/// A part of a disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Room {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of it.
    Percent(f64),
}

impl Room {
    fn bytes(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (total as f64 * percent / 100.0) as u64,
        }
    }
}

/// How much room is kept on the disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiskLimits {
    /// With less than this, the oldest timelines that nothing else needs are freed before their time.
    pub low: Room,
    /// With less than this, new publishers are refused. With less than a quarter of it, those that are
    /// live are ended, so that their recordings and hooks can still be written.
    pub reserve: Room,
}

impl DiskLimits {
    /// The reserve of a disk, in bytes.
    pub(crate) fn reserve_bytes(self, space: Space) -> u64 {
        self.reserve.bytes(space.total_bytes)
    }
}

impl Default for DiskLimits {
    fn default() -> Self {
        Self { low: Room::Bytes(2 << 30), reserve: Room::Bytes(512 << 20) }
    }
}

/// What a disk's room allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskLevel {
    /// Everything.
    Ample,
    /// Everything; old timelines are freed before their time.
    Low,
    /// What is live goes on; new publishers are refused.
    Refusing,
    /// Nothing is taken.
    Full,
}

impl DiskLevel {
    const ALL: [Self; 4] = [Self::Ample, Self::Low, Self::Refusing, Self::Full];

    fn of(space: Space, limits: DiskLimits) -> Self {
        let reserve = limits.reserve_bytes(space);
        match space.free_bytes {
            free if free < reserve / 4 => Self::Full,
            free if free < reserve => Self::Refusing,
            free if free < limits.low.bytes(space.total_bytes) => Self::Low,
            _ => Self::Ample,
        }
    }
}

/// How long there has to be more room before webhooks are told of it, and an eighth more than the limit: freeing
/// a timeline and filling its room again is no news.
const CALM: Duration = Duration::from_secs(60);

/// What webhooks were told, and what they are to be told next.
#[derive(Debug)]
struct Told {
    level: DiskLevel,
    /// Since when there is clearly more room than they know, on the steady clock.
    better_since: Option<Duration>,
}

impl Told {
    /// The level to tell now, if any: less room at once, more of it once it has lasted.
    fn due(&mut self, space: Space, limits: DiskLimits, now: Duration) -> Option<DiskLevel> {
        let seen = DiskLevel::of(space, limits);
        let clear =
            DiskLevel::of(Space { free_bytes: space.free_bytes - space.free_bytes / 9, ..space }, limits);
        if seen > self.level {
            return Some(seen);
        }
        if clear >= self.level {
            self.better_since = None;
            return None;
        }
        let since = *self.better_since.get_or_insert(now);
        (now.saturating_sub(since) >= CALM).then_some(clear)
    }
}

/// The level as it was seen last, and as it was told.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    level: AtomicU8,
    /// Absent until the first look. Locked by the sweeper alone.
    told: tokio::sync::Mutex<Option<Told>>,
}

impl Disk {
    pub(crate) fn level(&self) -> DiskLevel {
        let position = usize::from(self.level.load(Ordering::Relaxed));
        DiskLevel::ALL.get(position).copied().unwrap_or(DiskLevel::Full)
    }

    fn set(&self, level: DiskLevel) -> DiskLevel {
        let before = self.level();
        self.level.store(level as u8, Ordering::Relaxed);
        before
    }

    /// Whether a new publisher can be taken.
    pub(crate) fn admits(&self) -> Result<(), PublishRefused> {
        if self.level() < DiskLevel::Refusing {
            return Ok(());
        }
        counted::refused("disk_full");
        Err(refused(
            "disk_full",
            "The server's disk is almost full and it takes no new streams; make room there",
        ))
    }
}

/// How long the sweeper waits for the file system's answer. One that hangs is noticed elsewhere.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Looks at the disk and takes the step that its room asks for.
pub(crate) async fn look(shared: &Shared) -> Result<(), RecorderError> {
    let limits = shared.disk_limits;
    let Ok(space) = tokio::time::timeout(ANSWER_MAX, shared.storage.space()).await else { return Ok(()) };
    let space = space?;
    let level = DiskLevel::of(space, limits);
    let before = shared.disk.set(level);
    counted::free_bytes(space.free_bytes);
    if level != before {
        tell(level, space);
    }
    if level >= DiskLevel::Low {
        let wanted = limits.low.bytes(space.total_bytes).saturating_sub(space.free_bytes);
        free_timelines(shared, wanted).await?;
    }
    if level == DiskLevel::Full {
        shared.live.end_all("disk_full", "The server's disk is full; make room there and connect again");
    }
    tell_webhooks(shared, space).await
}

/// Tells webhooks what has changed since they were told last, over restarts too. What cannot be written is tried
/// again by the next look.
async fn tell_webhooks(shared: &Shared, space: Space) -> Result<(), RecorderError> {
    let mut told = shared.disk.told.lock().await;
    let told = match &mut *told {
        Some(told) => told,
        none => {
            let level = level_of(shared.database.storage_told().await?);
            none.insert(Told { level, better_since: None })
        }
    };
    let limits = shared.disk_limits;
    let Some(level) = told.due(space, limits, shared.clock.steady()) else { return Ok(()) };
    let room = StorageRoom {
        free_bytes: space.free_bytes,
        total_bytes: space.total_bytes,
        low_bytes: limits.low.bytes(space.total_bytes),
        reserve_bytes: limits.reserve_bytes(space),
    };
    shared.database.commit(vec![Change::TellStorage(event_of(level), room)], shared.now()).await?;
    *told = Told { level, better_since: None };
    Ok(())
}

fn event_of(level: DiskLevel) -> StorageEvent {
    match level {
        DiskLevel::Ample => StorageEvent::Recovered,
        DiskLevel::Low => StorageEvent::Low,
        DiskLevel::Refusing => StorageEvent::Refusing,
        DiskLevel::Full => StorageEvent::Full,
    }
}

fn level_of(event: StorageEvent) -> DiskLevel {
    match event {
        StorageEvent::Recovered => DiskLevel::Ample,
        StorageEvent::Low => DiskLevel::Low,
        StorageEvent::Refusing => DiskLevel::Refusing,
        StorageEvent::Full => DiskLevel::Full,
    }
}

fn tell(level: DiskLevel, space: Space) {
    let (free_mib, total_mib) = (space.free_bytes >> 20, space.total_bytes >> 20);
    match level {
        DiskLevel::Ample => tracing::info!(free_mib, total_mib, "the disk has room again"),
        DiskLevel::Low => {
            tracing::warn!(free_mib, total_mib, "the disk fills up: freeing the oldest timelines")
        }
        DiskLevel::Refusing => {
            tracing::error!(free_mib, total_mib, "the disk is almost full: new publishers are refused")
        }
        DiskLevel::Full => {
            tracing::error!(free_mib, total_mib, "the disk is full: live publishers are ended")
        }
    }
}

/// Marks the oldest timelines for removal until `wanted` bytes come free. What recordings and clips hold
/// stays; a timeline that would free nothing stays, too.
async fn free_timelines(shared: &Shared, wanted: u64) -> Result<(), RecorderError> {
    let mut freed = 0;
    for (id, bytes) in shared.database.reclaimable_timelines(wanted).await? {
        if removal::mark(shared, id).await?.is_ok() {
            freed += bytes;
            counted::timeline_freed(bytes);
            tracing::warn!(timeline = %id, mib = bytes >> 20, "freeing a timeline before its time: the disk fills up");
        }
    }
    if freed < wanted {
        tracing::debug!(freed, wanted, "no more timelines can be freed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_goes_step_by_step() {
        let limits = DiskLimits { low: Room::Percent(10.0), reserve: Room::Bytes(40) };
        let level = |free_bytes| DiskLevel::of(Space { total_bytes: 1000, free_bytes }, limits);
        let levels = [100, 99, 40, 39, 10, 9, 0].map(level);
        use DiskLevel::{Ample, Full, Low, Refusing};
        assert_eq!(levels, [Ample, Low, Low, Refusing, Refusing, Full, Full]);
    }

    /// What is told of room that is so much at so many seconds.
    #[track_caller]
    fn check(room: &[(u64, u64)], expected: &[(u64, DiskLevel)]) {
        let limits = DiskLimits { low: Room::Bytes(800), reserve: Room::Bytes(400) };
        let mut told = Told { level: DiskLevel::Ample, better_since: None };
        let mut seen = Vec::new();
        for (at, free_bytes) in room {
            let space = Space { total_bytes: 10_000, free_bytes: *free_bytes };
            if let Some(level) = told.due(space, limits, Duration::from_secs(*at)) {
                told = Told { level, better_since: None };
                seen.push((*at, level));
            }
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn less_room_is_told_at_once_and_more_of_it_once_it_lasts() {
        use DiskLevel::{Ample, Full, Low, Refusing};
        check(&[(0, 900), (1, 800)], &[]);
        check(&[(0, 799), (1, 399), (2, 99), (3, 0)], &[(0, Low), (1, Refusing), (2, Full)]);
        check(&[(0, 50), (1, 950), (60, 950), (61, 950), (200, 950)], &[(0, Full), (61, Ample)]);
        check(&[(0, 50), (1, 500), (61, 500), (62, 950), (122, 950)], &[(0, Full), (61, Low), (122, Ample)]);
    }

    #[test]
    fn room_that_comes_and_goes_is_told_once() {
        let seesaw: Vec<_> = (0..1000).map(|at| (at, if at % 40 < 20 { 790 } else { 2000 })).collect();
        check(&seesaw, &[(0, DiskLevel::Low)]);
        // Just above the limit is not clearly enough.
        check(&[(0, 799), (1, 810), (500, 899)], &[(0, DiskLevel::Low)]);
    }
}
