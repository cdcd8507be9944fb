//! Expiration rules: how long each type of asset is kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::asset::AssetType;
use crate::time::Timestamp;

/// A number of days, 1 to 365.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Days(u16);

/// A number of days outside 1 to 365.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("days must be between 1 and 365")]
pub struct InvalidDays;

impl Days {
    /// The span.
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0) * 24 * 3600)
    }
}

impl TryFrom<i64> for Days {
    type Error = InvalidDays;

    fn try_from(days: i64) -> Result<Self, Self::Error> {
        match u16::try_from(days) {
            Ok(days @ 1..=365) => Ok(Self(days)),
            _ => Err(InvalidDays),
        }
    }
}

impl From<Days> for i64 {
    fn from(days: Days) -> i64 {
        i64::from(days.0)
    }
}

/// The account's rules. `None` keeps an asset until it is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpirationRules {
    /// Counts from a timeline's creation; a change applies to existing timelines at once.
    pub timelines: Days,
    /// Counts from the end of a recording; a change applies to later recordings only.
    pub recordings: Option<Days>,
    /// Counts from the request of a clip; a change applies to later clips only.
    pub clips: Option<Days>,
}

impl Default for ExpirationRules {
    /// One day for timelines; recordings and clips are kept.
    fn default() -> Self {
        Self { timelines: Days(1), recordings: None, clips: None }
    }
}

impl ExpirationRules {
    /// When an asset of this type expires whose clock starts at `start` (see the fields), or `None`
    /// when no rule applies.
    pub fn expiration(&self, asset_type: AssetType, start: Timestamp) -> Option<Timestamp> {
        let days = match asset_type {
            AssetType::Timeline => Some(self.timelines),
            AssetType::Recording => self.recordings,
            AssetType::Clip => self.clips,
            AssetType::StorageValidation | AssetType::Vod => None,
        };
        days.map(|days| start.plus(days.duration()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_bounded_on_both_sides() {
        assert!(Days::try_from(0).is_err());
        assert!(Days::try_from(366).is_err());
        assert!(Days::try_from(-1).is_err());
        assert_eq!(Days::try_from(365).map(i64::from), Ok(365));
    }

    #[test]
    fn a_type_without_a_rule_is_kept() {
        let rules = ExpirationRules { recordings: Days::try_from(2).ok(), ..Default::default() };
        let start = Timestamp::EPOCH;
        assert_eq!(rules.expiration(AssetType::Clip, start), None);
        assert_eq!(
            rules.expiration(AssetType::Recording, start),
            Some(start.plus(Duration::from_secs(2 * 86_400)))
        );
        assert_eq!(
            rules.expiration(AssetType::Timeline, start),
            Some(start.plus(Duration::from_secs(86_400)))
        );
    }
}
