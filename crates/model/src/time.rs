//! Wall-clock time, in one type.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment of wall-clock time: microseconds since 1970-01-01T00:00:00Z.
///
/// REST shows it as ISO 8601 in UTC with a trailing `Z` and, only where there are any, six digits
/// of a fraction; webhooks show whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is not a moment in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time: write it as 2026-01-31T18:30:00Z, with an offset or a trailing Z")]
pub struct InvalidTimestamp(String);

/// The years 0001 to 9999 (UTC), less the last day, which jiff keeps free for zone offsets.
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_207_200_000_000;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// From microseconds since the epoch; values outside the years 1 to 9999 are brought to the
    /// nearest end.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(*RANGE.start(), *RANGE.end()))
    }

    /// From milliseconds since the epoch; out of range as in [`Timestamp::from_micros`].
    pub fn from_millis(millis: i64) -> Self {
        Self::from_micros(millis.saturating_mul(1000))
    }

    /// Microseconds since the epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch, rounded down: what webhooks carry.
    pub fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The moment `span` later.
    pub fn plus(self, span: Duration) -> Self {
        self.plus_micros(i64::try_from(span.as_micros()).unwrap_or(i64::MAX))
    }

    /// The moment `span` earlier.
    pub fn minus(self, span: Duration) -> Self {
        self.plus_micros(i64::try_from(span.as_micros()).map_or(i64::MIN, |micros| -micros))
    }

    /// The moment `micros` later, or earlier when negative.
    pub fn plus_micros(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Signed microseconds from `earlier` to this.
    pub fn micros_since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_microsecond(self.0).map_err(|_| fmt::Error)?;
        if self.0.rem_euclid(1_000_000) == 0 { write!(f, "{moment:.0}") } else { write!(f, "{moment:.6}") }
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().parse::<jiff::Timestamp>() {
            Ok(parsed) => Ok(Self::from_micros(parsed.as_microsecond())),
            Err(_) if is_past_the_range(text.trim()) => Ok(Self::from_micros(i64::MAX)),
            Err(_) => Err(InvalidTimestamp(text.chars().take(64).collect())),
        }
    }
}

/// Whether `text` is a well-formed moment of the last two days of year 9999, some of which jiff cannot
/// hold. `9999-12-31T23:59:59Z` is how .NET and others (`DateTime.MaxValue`) say "never".
fn is_past_the_range(text: &str) -> bool {
    jiff::fmt::temporal::Pieces::parse(text).is_ok_and(|pieces| {
        pieces.date() >= jiff::civil::date(9999, 12, 30)
            && pieces.time().is_some()
            && pieces.offset().is_some()
    })
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shows_a_fraction_only_where_there_is_one() {
        assert_eq!(Timestamp::from_millis(1_727_746_413_000).to_string(), "2024-10-01T01:33:33Z");
        assert_eq!(Timestamp::from_micros(1_733_205_778_052_266).to_string(), "2024-12-03T06:02:58.052266Z");
    }

    #[test]
    fn reads_offsets_and_refuses_local_times() {
        let utc: Timestamp = "2024-10-01T01:33:33Z".parse().unwrap();
        assert_eq!("2024-10-01T03:33:33+02:00".parse::<Timestamp>().unwrap(), utc);
        assert_eq!("2024-10-01T01:33:33.5Z".parse::<Timestamp>().unwrap(), utc.plus_micros(500_000));
        assert!("2024-10-01T01:33:33".parse::<Timestamp>().is_err());
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn the_end_of_year_9999_is_the_latest_moment() {
        let latest = Timestamp::from_micros(i64::MAX);
        for never in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.9999999Z", "9999-12-31T00:00:00-11:00"] {
            assert_eq!(never.parse::<Timestamp>().unwrap(), latest, "{never}");
        }
        let before: Timestamp = "9999-12-29T00:00:00Z".parse().unwrap();
        assert!(before < latest);
        for malformed in ["9999-12-31T23:59:59", "9999-12-31", "9999-12-32T00:00:00Z", "9999-12-31T25:00:00Z"]
        {
            assert!(malformed.parse::<Timestamp>().is_err(), "{malformed}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_survives_its_own_text(micros in RANGE) {
            let moment = Timestamp::from_micros(micros);
            prop_assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
        }

        #[test]
        fn arithmetic_never_leaves_the_range(a in any::<i64>(), b in any::<i64>(), span in any::<u64>()) {
            let moment = Timestamp::from_micros(a).plus_micros(b);
            let _ = moment.to_string();
            let _ = moment.plus(Duration::from_secs(span)).minus(Duration::from_secs(span)).to_string();
        }
    }
}
