//! The states of a media asset and the one function that moves between them.
//!
//! REST status and webhook event are two views of the same state. Whoever applies a [`Step`]
//! stores the new state, its event and what is owed to webhooks in one transaction, so that none
//! can exist without the others.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::event::MediaEvent;
use crate::metadata::Metadata;
use crate::time::Timestamp;

/// What kind of product an asset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AssetType {
    /// Everything one feed sent, from its first to its last sample.
    Recording,
    /// A chosen range of a timeline.
    Clip,
    /// What clips can be cut from. Fires no webhooks.
    Timeline,
    /// The outcome of a storage check. Fires no webhooks.
    StorageValidation,
    /// A registered upload. Fires no webhooks.
    Vod,
}

impl AssetType {
    /// Every type, in the order REST lists them.
    pub const ALL: [AssetType; 5] =
        [Self::Recording, Self::Clip, Self::Timeline, Self::StorageValidation, Self::Vod];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Clip => "clip",
            Self::Timeline => "timeline",
            Self::StorageValidation => "storageValidation",
            Self::Vod => "vod",
        }
    }

    /// Whether its changes of state are told to webhooks.
    pub fn has_hooks(self) -> bool {
        matches!(self, Self::Recording | Self::Clip)
    }
}

/// The state of an asset as REST shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AssetStatus {
    /// Requested, or still being received.
    Processing,
    /// Ready to be downloaded.
    Complete,
    /// Failed; says why.
    Error,
    /// Marked for removal.
    Deleting,
    /// Gone. Never listed.
    Deleted,
}

impl AssetStatus {
    /// Every status, in the order of an asset's life.
    pub const ALL: [AssetStatus; 5] =
        [Self::Processing, Self::Complete, Self::Error, Self::Deleting, Self::Deleted];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Complete => "complete",
            Self::Error => "error",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }
}

/// A word that names no asset type or status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of the known values")]
pub struct UnknownWord(String);

impl UnknownWord {
    /// Tells the word, or its beginning.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.chars().take(64).collect())
    }
}

/// Finds the wire word without regard to case, as clients of the hosted service may write it.
macro_rules! read_word {
    ($name:ident $(, $alias:literal => $target:expr)*) => {
        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                $(if text.eq_ignore_ascii_case($alias) { return Ok($target); })*
                Self::ALL
                    .into_iter()
                    .find(|value| value.as_str().eq_ignore_ascii_case(text))
                    .ok_or_else(|| UnknownWord::new(text))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
read_word!(AssetType);
// Guides of the hosted service say `errored` where its schema says `error`.
read_word!(AssetStatus, "errored" => AssetStatus::Error);

/// Where an asset stands in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetState {
    /// A recording being received, or a clip that was requested.
    Processing,
    /// Every byte is durable and the file can be read.
    Complete {
        /// What the file is.
        metadata: Box<Metadata>,
    },
    /// It could not be made.
    Error {
        /// Why, for the user.
        reason: String,
    },
    /// Marked for removal; no longer readable.
    Deleting {
        /// When it was marked.
        at: Timestamp,
    },
    /// Removed. The id is never used again.
    Deleted {
        /// When it was marked for removal.
        at: Timestamp,
    },
}

/// What can happen to an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetInput {
    /// All of its media is durable.
    Finish {
        /// What the file is.
        metadata: Box<Metadata>,
    },
    /// It cannot be made.
    Fail {
        /// Why, for the user.
        reason: String,
    },
    /// A user or an expiration rule wants it gone.
    Delete,
    /// Nothing of it is left.
    Remove,
}

/// A change of state with what has to be told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The state to store.
    pub next: AssetState,
    /// The event to store with it.
    pub event: Option<MediaEvent>,
}

/// An input that an asset in this state does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an asset that is `{from}` cannot be {verb}")]
pub struct Refused {
    /// Where the asset stands.
    pub from: AssetStatus,
    /// What was wanted, as a participle.
    pub verb: &'static str,
}

impl AssetState {
    /// The first step of every asset's life.
    pub fn created(asset_type: AssetType) -> Step {
        Step { next: Self::Processing, event: asset_type.has_hooks().then_some(MediaEvent::Processing) }
    }

    /// The state as REST shows it.
    pub fn status(&self) -> AssetStatus {
        match self {
            Self::Processing => AssetStatus::Processing,
            Self::Complete { .. } => AssetStatus::Complete,
            Self::Error { .. } => AssetStatus::Error,
            Self::Deleting { .. } => AssetStatus::Deleting,
            Self::Deleted { .. } => AssetStatus::Deleted,
        }
    }

    /// Applies `input` to an asset of `asset_type` at `now`.
    ///
    /// Errors: [`Refused`] when this state does not take the input; nothing changes then.
    pub fn step(&self, asset_type: AssetType, input: AssetInput, now: Timestamp) -> Result<Step, Refused> {
        use AssetInput as In;
        let verb = input.verb();
        let (next, event) = match (self, input) {
            (Self::Processing, In::Finish { metadata }) => {
                (Self::Complete { metadata }, Some(MediaEvent::Completed))
            }
            (Self::Processing, In::Fail { reason }) => (Self::Error { reason }, Some(MediaEvent::Errored)),
            (Self::Complete { .. } | Self::Error { .. }, In::Delete) => {
                (Self::Deleting { at: now }, Some(MediaEvent::Deleted))
            }
            // Nobody waits for the rest of a clip that is not wanted any more. A recording or timeline in this
            // state is being received: its feed would only begin another.
            (Self::Processing, In::Delete) if asset_type == AssetType::Clip => {
                (Self::Deleting { at: now }, Some(MediaEvent::Deleted))
            }
            // The hook went out when it was marked; its removal is housekeeping.
            (Self::Deleting { at }, In::Remove) => (Self::Deleted { at: *at }, None),
            (from, _) => return Err(Refused { from: from.status(), verb }),
        };
        Ok(Step { next, event: event.filter(|_| asset_type.has_hooks()) })
    }
}

impl AssetInput {
    fn verb(&self) -> &'static str {
        match self {
            Self::Finish { .. } => "finished",
            Self::Fail { .. } => "failed",
            Self::Delete => "deleted",
            Self::Remove => "removed",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn states() -> Vec<AssetState> {
        let at = Timestamp::EPOCH;
        vec![
            AssetState::Processing,
            AssetState::Complete { metadata: Box::default() },
            AssetState::Error { reason: "why".into() },
            AssetState::Deleting { at },
            AssetState::Deleted { at },
        ]
    }

    fn inputs() -> Vec<AssetInput> {
        vec![
            AssetInput::Finish { metadata: Box::default() },
            AssetInput::Fail { reason: "why".into() },
            AssetInput::Delete,
            AssetInput::Remove,
        ]
    }

    #[test]
    fn the_whole_grid_of_states_and_inputs() {
        let mut grid = String::new();
        for asset_type in [AssetType::Recording, AssetType::Clip, AssetType::Timeline] {
            let created = AssetState::created(asset_type);
            writeln!(grid, "{asset_type}: created -> {} {:?}", created.next.status(), created.event).unwrap();
            for state in states() {
                for input in inputs() {
                    let line = match state.step(asset_type, input.clone(), Timestamp::EPOCH) {
                        Ok(step) => format!("{} {:?}", step.next.status(), step.event),
                        Err(refused) => format!("refused: {refused}"),
                    };
                    writeln!(grid, "{asset_type}: {} + {} -> {line}", state.status(), input.verb()).unwrap();
                }
            }
        }
        insta::assert_snapshot!(grid);
    }

    #[test]
    fn words_are_read_without_regard_to_case() {
        assert_eq!("Clip".parse(), Ok(AssetType::Clip));
        assert_eq!("storagevalidation".parse(), Ok(AssetType::StorageValidation));
        assert_eq!("Errored".parse(), Ok(AssetStatus::Error));
        assert!("".parse::<AssetStatus>().is_err());
    }
}
