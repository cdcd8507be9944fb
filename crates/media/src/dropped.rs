//! Why something of a broadcast is not kept: the words of a counter's label, of logs and of docs/media.md.

use std::fmt;

/// Declares the reasons with their words, which are part of the interface.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// Why a sample, or what might have been one, is not kept.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

reasons! {
    /// The track has not begun with a picture that can be decoded by itself.
    BeforeFirstKeyFrame = "before_first_key_frame",
    /// The decoder's configuration has not come.
    NoConfiguration = "no_configuration",
    /// The timestamp fits neither before nor after what it came with.
    TimestampJump = "timestamp_jump",
    /// It has no bytes.
    EmptySample = "empty_sample",
    /// The tag has no body.
    EmptyTag = "empty_tag",
    /// What the tag says of itself cannot be.
    MalformedTag = "malformed_tag",
    /// The tag is of a type that the specification does not know.
    UnknownPacketType = "unknown_packet_type",
    /// The rest of an aggregate message, whose lengths do not add up.
    AggregateCutOff = "aggregate_cut_off",
    /// The codec is not one of those that are kept.
    UnsupportedCodec = "unsupported_codec",
    /// A track of this kind is kept already.
    AdditionalTrack = "additional_track",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_tells_every_reason_and_no_other() {
        let text = include_str!("../../../docs/media.md");
        let table = text.split("| `reason` of `dropped` | |").nth(1).unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let told: Vec<_> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
        let all: Vec<_> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(told, all);
        let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(all.iter().all(is_word), "{all:?}");
    }
}
