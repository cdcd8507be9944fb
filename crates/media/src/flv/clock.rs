//! From the 32-bit millisecond stamps of RTMP to media time.

use crate::sample::Ticks;

const NANOS_PER_MILLI: i64 = 1_000_000;
const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Unwraps the stamps of a connection. Its tracks share one clock, so they wrap together.
///
/// Stamps wrap every 49.7 days (2^32 ms; RTMP 1.0 §4). A signed difference stays right across the
/// wrap while neighbouring samples are under 24.8 days (2^31 ms) apart.
#[derive(Debug, Default)]
pub(super) struct WrapClock {
    last: Option<(u32, i64)>,
}

impl WrapClock {
    /// The stamp without wrap. `advances` is false for tags that carry no sample: encoders stamp
    /// those with zero at any time.
    pub(super) fn unwrap_ms(&mut self, stamp_ms: u32, advances: bool) -> i64 {
        let unwrapped = match self.last {
            None => i64::from(stamp_ms),
            Some((last_ms, last)) => last + i64::from(step_ms(last_ms, stamp_ms)),
        };
        if advances {
            self.last = Some((stamp_ms, unwrapped));
        }
        unwrapped
    }
}

fn step_ms(last_ms: u32, next_ms: u32) -> i32 {
    next_ms.wrapping_sub(last_ms).cast_signed()
}

/// A stamp with the nanoseconds that Enhanced RTMP may add to it, in ticks (rounded to nearest).
pub(super) fn stamp_ticks(ms: i64, nanos: u32, timescale: u32) -> Ticks {
    let nanos = i128::from(ms) * i128::from(NANOS_PER_MILLI) + i128::from(nanos);
    let ticks = (nanos * i128::from(timescale) + NANOS_PER_SECOND / 2).div_euclid(NANOS_PER_SECOND);
    Ticks(i64::try_from(ticks).unwrap_or(i64::MAX))
}

/// The least deviation from the expected time that is taken for a jump, as a part of a second
/// (20 ms): stamps are rounded to milliseconds and short frames are sent in bursts.
const TOLERANCE_DIVISOR: u32 = 50;

/// Rebuilds exact audio times from stamps that are rounded to milliseconds.
///
/// While a stamp is within a tolerance of one frame (at least 20 ms) of the end of the previous
/// frame, that end is its time, so that frames follow each other without gap or overlap and nothing
/// adds up over hours. A stamp further away is a gap or a jump and taken as it is; only when an
/// encoder's stamps fall behind its samples little by little, time steps back by half a frame at
/// once, because taking the stamp would put the frame before the previous one.
#[derive(Debug, Default)]
pub(super) struct AudioClock {
    previous: Option<PreviousFrame>,
}

#[derive(Debug, Clone, Copy)]
struct PreviousFrame {
    dts: i64,
    length: i64,
}

impl AudioClock {
    /// The decode time of the next frame.
    /// - `stamp`: its stamp on the track's clock, at `timescale` ticks per second.
    /// - `frame_length`: ticks it plays; `None` when unknown, which leaves times as stamped.
    pub(super) fn next(&mut self, stamp: Ticks, frame_length: Option<u32>, timescale: u32) -> Ticks {
        let dts = match self.previous {
            None => stamp.0,
            Some(previous) => follow(previous, stamp.0, timescale),
        };
        self.previous = frame_length.map(|length| PreviousFrame { dts, length: i64::from(length) });
        Ticks(dts)
    }
}

fn follow(previous: PreviousFrame, stamp: i64, timescale: u32) -> i64 {
    let expected = previous.dts.saturating_add(previous.length);
    let tolerance = previous.length.max(i64::from(timescale / TOLERANCE_DIVISOR));
    if stamp.abs_diff(expected) <= tolerance.unsigned_abs() {
        expected
    } else if stamp <= previous.dts && stamp > previous.dts.saturating_sub(tolerance) {
        previous.dts + previous.length / 2
    } else {
        stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_wrap_after_49_days_for_both_tracks_together() {
        let mut clock = WrapClock::default();
        let stamps = [0xFFFF_FFF0, 0xFFFF_FFF8, 5, 0xFFFF_FFFF, 20];
        let unwrapped = stamps.map(|stamp| clock.unwrap_ms(stamp, true));
        let end = 1i64 << 32;
        assert_eq!(unwrapped, [end - 16, end - 8, end + 5, end - 1, end + 20]);
    }

    #[test]
    fn a_header_stamped_zero_does_not_move_the_clock() {
        let mut clock = WrapClock::default();
        assert_eq!(clock.unwrap_ms(0x9000_0000, true), 0x9000_0000);
        clock.unwrap_ms(0, false);
        assert_eq!(clock.unwrap_ms(0x9000_0010, true), 0x9000_0010);
    }

    #[test]
    fn ten_hours_of_rounded_stamps_come_out_exact() {
        let mut clock = AudioClock::default();
        for frame in 0..(10 * 3600 * 44_100 / 1024) {
            let exact = frame * 1024;
            let stamp = stamp_ticks(exact * 1000 / 44_100, 0, 44_100);
            assert_eq!(clock.next(stamp, Some(1024), 44_100), Ticks(exact));
        }
    }

    #[test]
    fn a_gap_moves_time_to_the_stamp() {
        let mut clock = AudioClock::default();
        clock.next(Ticks(0), Some(960), 48_000);
        assert_eq!(clock.next(Ticks(1920), Some(960), 48_000), Ticks(960), "one frame late is tolerated");
        assert_eq!(clock.next(Ticks(48_000), Some(960), 48_000), Ticks(48_000));
        assert_eq!(clock.next(Ticks(0), Some(960), 48_000), Ticks(0), "a jump back is taken as it is");
    }

    #[test]
    fn stamps_slower_than_the_samples_never_turn_time_back() {
        let mut clock = AudioClock::default();
        let mut last = Ticks(-1);
        for frame in 0..100_000i64 {
            // The encoder's sample clock runs 0.1 % fast against its stamps.
            let stamp = Ticks(frame * 1023);
            let dts = clock.next(stamp, Some(1024), 48_000);
            assert!(dts > last);
            assert!(dts.0.abs_diff(stamp.0) <= 2 * 1024);
            last = dts;
        }
    }

    #[test]
    fn nanosecond_offsets_refine_the_millisecond() {
        assert_eq!(stamp_ticks(1, 500_000, 90_000), Ticks(135));
        assert_eq!(stamp_ticks(-1, 0, 90_000), Ticks(-90));
    }
}
