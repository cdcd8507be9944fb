//! Sees to it that a disk that fills up harms as little as possible, and that it is noticed.
//!
//! Asked by the sweeper, once a second. As room goes, it takes one step after the other, and each back
//! when there is room again: it frees the oldest timelines that nothing else needs; it refuses new
//! publishers; it ends those that are live, while there is still room to finish their recordings.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mediahooks_ingest::gate::PublishRefused;
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
        let reserve = limits.reserve.bytes(space.total_bytes);
        match space.free_bytes {
            free if free < reserve / 4 => Self::Full,
            free if free < reserve => Self::Refusing,
            free if free < limits.low.bytes(space.total_bytes) => Self::Low,
            _ => Self::Ample,
        }
    }
}

/// The level as it was seen last.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    level: AtomicU8,
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
    Ok(())
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
}
