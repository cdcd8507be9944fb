//! Numbers and moments as people say them.

use std::time::Duration;

use jiff::tz::TimeZone;
use mediahooks_model::Timestamp;

/// `1.5 MB`: decimal units, as file managers and disks count.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    // 999.95 would be shown as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 05 min`.
pub fn duration(span: Duration) -> String {
    let (seconds, millis) = (span.as_secs(), span.as_millis());
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{}.{} s", seconds, span.subsec_millis() / 100),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `2026-01-31 18:30:05` in the reader's zone.
pub fn moment(at: Timestamp) -> String {
    in_zone(at, "%Y-%m-%d %H:%M:%S")
}

/// `18:30:05.123` in the reader's zone.
pub fn time_of_day(at: Timestamp) -> String {
    in_zone(at, "%H:%M:%S%.3f")
}

fn in_zone(at: Timestamp, format: &str) -> String {
    match jiff::Timestamp::from_microsecond(at.as_micros()) {
        Ok(moment) => moment.to_zoned_datetime(TimeZone::system()).strftime(format).to_string(),
        Err(_) => at.to_string(),
    }
}

/// The system's wall clock.
pub fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}

/// Reads a moment: with an offset or `Z`; or without, then in the reader's zone; a time alone is of today.
///
/// The error says how to write it.
pub fn parse_moment(text: &str) -> Result<Timestamp, String> {
    parse_moment_in(text, &jiff::ZonedDateTime::now())
}

/// Reads a moment as [`parse_moment`] does, or how long ago it is: `90s`, `2h`, `3d`.
///
/// The error says how to write it.
pub fn parse_past(text: &str) -> Result<Timestamp, String> {
    match humantime::parse_duration(text.trim()) {
        Ok(ago) => Ok(now().minus(ago)),
        Err(_) => parse_moment(text).map_err(|how| format!("{how}, or how long ago as 90s, 2h or 3d")),
    }
}

fn parse_moment_in(text: &str, now: &jiff::ZonedDateTime) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let local = text
        .parse::<jiff::civil::DateTime>()
        .or_else(|_| text.parse::<jiff::civil::Time>().map(|time| now.date().to_datetime(time)));
    let zoned = local.and_then(|local| local.to_zoned_datetime(now.time_zone().clone()));
    zoned.map(|zoned| Timestamp::from_micros(zoned.timestamp().as_microsecond())).map_err(|_| {
        "write a time as 18:30:05 (today), 2026-01-31T18:30:05 (your zone) or 2026-01-31T18:30:05Z".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_change_unit_before_they_reach_four_digits() {
        let shown = [0, 999, 1000, 999_949, 999_950, 1_000_000, 5_400_000_000, u64::MAX].map(size);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "1.0 MB", "5.4 GB", "18446.7 PB"]);
    }

    #[test]
    fn spans_keep_the_two_units_that_matter() {
        let shown = [0, 999, 1000, 12_345, 59_999, 60_000, 245_000, 3_600_000, 7_500_000];
        let shown = shown.map(|millis| duration(Duration::from_millis(millis)));
        assert_eq!(
            shown,
            [
                "0 ms",
                "999 ms",
                "1.0 s",
                "12.3 s",
                "59.9 s",
                "1 min 00 s",
                "4 min 05 s",
                "1 h 00 min",
                "2 h 05 min"
            ]
        );
    }

    #[test]
    fn a_time_without_offset_is_the_readers() {
        let now: jiff::ZonedDateTime = "2026-07-01T12:00:00+02:00[Europe/Berlin]".parse().unwrap();
        let read = |text| parse_moment_in(text, &now).map(|moment| moment.to_string());
        assert_eq!(read("2026-01-31T18:30:05Z").unwrap(), "2026-01-31T18:30:05Z");
        assert_eq!(read("2026-01-31T18:30:05+05:00").unwrap(), "2026-01-31T13:30:05Z");
        assert_eq!(read("2026-01-31T18:30:05").unwrap(), "2026-01-31T17:30:05Z");
        assert_eq!(read("2026-01-31 18:30:05.5").unwrap(), "2026-01-31T17:30:05.500000Z");
        assert_eq!(read("11:30").unwrap(), "2026-07-01T09:30:00Z");
        for text in ["", "soon", "25:00", "2026-13-01"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
