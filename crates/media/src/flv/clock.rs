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

/// Up to here the stamps of an encoder that does not waver deviate from their times, as a part of a second (2 ms): they
/// are rounded to milliseconds, once or twice.
const ROUNDED_DIVISOR: u32 = 500;

/// Shorter frames than this, as a part of a second (10 ms), are not told from what stamps waver by.
const SHORT_DIVISOR: u32 = 100;

/// Stamps that all deviate by more than this, as a part of a second (8 ms), are right and the times are not.
const WRONG_DIVISOR: u32 = 125;

/// From so many stamps it is seen how they deviate: half a second of AAC.
const BLOCK: u32 = 24;

/// Rebuilds exact audio times from stamps that are rounded to milliseconds.
///
/// While a stamp is within a tolerance of one frame (at least 20 ms, and what is rounded) of the end of the previous
/// frame, that end is its time, so that frames follow each other without gap or overlap and nothing
/// adds up over hours. A stamp further away is a gap or a jump and taken as it is; only when an
/// encoder's stamps fall behind its samples little by little, time steps back by half a frame at
/// once, because taking the stamp would put the frame before the previous one.
///
/// A frame that was lost leaves a hole of its length: where stamps did not waver until then, at its place, and else once
/// all stamps of half a second are later than the times. So sound is never off by more than 8 ms for longer.
#[derive(Debug, Default)]
pub(super) struct AudioClock {
    previous: Option<PreviousFrame>,
    /// How the stamps of the latest frames deviated.
    open: Deviations,
    /// Whether those of the block before did not waver.
    is_steady: bool,
}

#[derive(Debug, Clone, Copy)]
struct PreviousFrame {
    dts: i64,
    length: i64,
    /// Its stamp minus its time.
    deviation: i64,
}

/// Of stamps from the times that frames were given, in ticks.
#[derive(Debug, Clone, Copy, Default)]
struct Deviations {
    count: u32,
    min: i64,
    max: i64,
}

impl Deviations {
    fn push(&mut self, deviation: i64) {
        let is_first = self.count == 0;
        self.min = if is_first { deviation } else { self.min.min(deviation) };
        self.max = if is_first { deviation } else { self.max.max(deviation) };
        self.count += 1;
    }

    fn spread(&self) -> i64 {
        self.max.saturating_sub(self.min)
    }

    /// By how much all of them deviate at least, if that is more than `wrong`.
    fn common(&self, wrong: i64) -> Option<i64> {
        let common = if self.min > 0 { self.min } else { self.max.min(0) };
        (common.saturating_abs() > wrong).then_some(common)
    }
}

impl AudioClock {
    /// The decode time of the next frame.
    /// - `stamp`: its stamp on the track's clock, at `timescale` ticks per second.
    /// - `frame_length`: ticks it plays; `None` when unknown, which leaves times as stamped.
    pub(super) fn next(&mut self, stamp: Ticks, frame_length: Option<u32>, timescale: u32) -> Ticks {
        let dts = match self.previous {
            None => stamp.0,
            Some(previous) => self.follow(previous, stamp.0, timescale),
        };
        let deviation = stamp.0.saturating_sub(dts);
        self.open.push(deviation);
        self.previous =
            frame_length.map(|length| PreviousFrame { dts, length: i64::from(length), deviation });
        Ticks(dts)
    }

    fn follow(&mut self, previous: PreviousFrame, stamp: i64, timescale: u32) -> i64 {
        let rounded = i64::from(timescale / ROUNDED_DIVISOR);
        if self.open.count >= BLOCK {
            let block = std::mem::take(&mut self.open);
            self.is_steady = block.spread() <= rounded;
            if let Some(wrong) = block.common(i64::from(timescale / WRONG_DIVISOR)) {
                let dts = previous.dts.saturating_add(previous.length).saturating_add(wrong);
                return dts.max(previous.dts.saturating_add(previous.length / 2));
            }
        }
        let hole = behind_hole(previous, stamp, timescale);
        let is_steady = self.is_steady && self.open.spread() <= rounded;
        hole.filter(|_| is_steady).unwrap_or_else(|| follow(previous, stamp, timescale))
    }
}

/// The time of a frame before which whole ones were lost, of an encoder whose stamps do not waver.
fn behind_hole(previous: PreviousFrame, stamp: i64, timescale: u32) -> Option<i64> {
    let length = Some(previous.length).filter(|length| *length > i64::from(timescale / SHORT_DIVISOR))?;
    let expected = previous.dts.checked_add(length)?;
    let late = stamp.checked_sub(expected)?.checked_sub(previous.deviation)?;
    let hole = late.checked_add(length / 2)?.div_euclid(length) * length;
    let is_hole = hole > 0 && late.abs_diff(hole) <= u64::from(timescale / ROUNDED_DIVISOR);
    expected.checked_add(hole).filter(|_| is_hole)
}

fn follow(previous: PreviousFrame, stamp: i64, timescale: u32) -> i64 {
    let expected = previous.dts.saturating_add(previous.length);
    let tolerance = previous.length.max(i64::from(timescale / TOLERANCE_DIVISOR));
    let tolerance = tolerance.saturating_add(i64::from(timescale / ROUNDED_DIVISOR));
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

    /// The times that frames of 1024 samples at 48 kHz are given whose stamps are these, in milliseconds.
    fn times(stamps: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut clock = AudioClock::default();
        let next = |ms| clock.next(stamp_ticks(ms, 0, 48_000), Some(1024), 48_000).0;
        stamps.into_iter().map(next).collect()
    }

    /// Of the `frame`th.
    fn stamp_ms(frame: i64) -> i64 {
        frame * 1024 * 1000 / 48_000
    }

    #[test]
    fn lost_frames_leave_holes_of_their_length() {
        let kept = || (0..3_000).filter(|frame| *frame != 100 && frame % 250 != 249);
        assert_eq!(times(kept().map(stamp_ms)), kept().map(|frame| frame * 1024).collect::<Vec<_>>());
        let kept = || (0..300).filter(|frame| !(100..105).contains(frame));
        assert_eq!(times(kept().map(stamp_ms)), kept().map(|frame| frame * 1024).collect::<Vec<_>>());
    }

    #[test]
    fn stamps_that_waver_make_no_holes() {
        // In pairs, and by up to a frame.
        let pairs = times((0..3_000).map(|frame| stamp_ms(frame / 2 * 2)));
        assert_eq!(pairs, (0..3_000).map(|frame| frame * 1024).collect::<Vec<_>>());
        let wavering = times((0..3_000).map(|frame| stamp_ms(frame) + frame * frame * 7 % 20));
        assert_eq!(wavering, (0..3_000).map(|frame| frame * 1024).collect::<Vec<_>>());
    }

    #[test]
    fn a_frame_that_was_lost_while_stamps_waver_is_missed_half_a_second_later() {
        let kept = || (0..3_000).filter(|frame| *frame != 100);
        let found = times(kept().map(|frame| stamp_ms(frame) + frame * frame * 7 % 8));
        for (frame, time) in kept().zip(found) {
            let early = frame * 1024 - time;
            let is_right = early.abs() <= 384;
            assert!(is_right || (100..150).contains(&frame) && early == 1024, "{frame} is {early} early");
        }
    }

    #[test]
    fn one_stamp_that_is_wrong_moves_nothing_for_long() {
        for off_ms in [-21, 15, 21, 22] {
            let found =
                times((0..3_000).map(|frame| stamp_ms(frame) + if frame == 500 { off_ms } else { 0 }));
            for (frame, time) in (0i64..).zip(&found) {
                let off = time - frame * 1024;
                assert!(off.abs() <= 384 || (500..560).contains(&frame), "{off_ms}: {frame} is {off} off");
            }
            assert!(found.is_sorted_by(|a, b| a < b));
        }
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
