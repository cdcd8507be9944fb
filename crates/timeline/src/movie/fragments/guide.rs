//! The parts of a fragmented file that can be played on their own.
//!
//! Fed by the writer with a [`Mark`] for every group of pictures; short groups that follow each other are put together.

use mediahooks_media::cmaf::FragmentedMp4;
use mediahooks_model::Timestamp;

use super::super::cut;
use super::super::join::Joined;
use super::remade::RemadeSamples;

/// Up to how long short groups of pictures are put together for players, in microseconds: as long as they expect
/// segments to be, and few enough for a playlist of many hours.
const GROUP_US: i64 = 6_000_000;

/// The parts of a fragmented file that can be played on their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guide {
    /// Bytes of `ftyp` and `moov`.
    pub init_len: u64,
    /// In file order, one behind the other; never empty.
    pub groups: Vec<GuideGroup>,
    /// When the last one ends, in microseconds of the file.
    pub end_us: i64,
    /// When the first picture is shown that was asked for, in microseconds after the first group begins.
    pub start_offset_us: i64,
    /// What the file is encoded with, as in RFC 6381.
    pub codecs: Vec<String>,
    /// Whether every picture of every group can be decoded without the groups before it. Not with open groups, whose
    /// first pictures are shown before their sync sample.
    pub is_independent: bool,
}

impl Guide {
    /// Bytes of memory that it holds.
    pub fn weight(&self) -> usize {
        let codecs: usize = self.codecs.iter().map(|codec| size_of_val(codec) + codec.len()).sum();
        size_of::<Self>() + self.groups.capacity() * size_of::<GuideGroup>() + codecs
    }
}

/// Fragments that begin with a sync sample: a group of pictures, or several short ones, or sound where there are no
/// pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuideGroup {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// When it is shown, in microseconds of the file.
    pub start_us: i64,
    /// Wall clock at which that was captured.
    pub wall: Timestamp,
    /// Whether the stream was interrupted before it.
    pub follows_break: bool,
}

/// Where a group of fragments begins.
pub(super) struct Mark {
    /// Number of its first fragment.
    pub(super) fragment: usize,
    /// When it is shown, in microseconds of the file.
    pub(super) start_us: i64,
    pub(super) wall_us: i64,
    pub(super) follows_break: bool,
    pub(super) is_open: bool,
}

/// Makes the guide of a file whose last group ends at `end_us`; `asked_us` is the moment that was asked for.
pub(super) fn guide(
    file: &FragmentedMp4<RemadeSamples>,
    joined: &Joined,
    marks: &[Mark],
    end_us: i64,
    asked_us: Option<i64>,
) -> Guide {
    let fragments: Vec<_> = file.fragments().collect();
    let next = marks.iter().skip(1).map(|mark| (mark.fragment, mark.start_us));
    let ends = next.chain([(fragments.len(), end_us)]);
    let mut groups: Vec<GuideGroup> = Vec::new();
    for (mark, (end, end_us)) in marks.iter().zip(ends) {
        let place = end.checked_sub(1).and_then(|last| fragments.get(mark.fragment).zip(fragments.get(last)));
        let Some((first, last)) = place else { continue };
        let is_more = |group: &&mut GuideGroup| {
            !mark.follows_break && end_us.saturating_sub(group.start_us) <= GROUP_US
        };
        match groups.last_mut().filter(is_more) {
            Some(group) => group.len = last.end - group.offset,
            None => groups.push(GuideGroup {
                offset: first.start,
                len: last.end - first.start,
                start_us: mark.start_us,
                wall: Timestamp::from_micros(mark.wall_us),
                follows_break: mark.follows_break,
            }),
        }
    }
    let first_us = joined.pieces.first().map_or(0, |piece| cut::to_us(piece.shown.start));
    let mut codecs: Vec<String> = Vec::new();
    for config in joined.tracks.iter().flat_map(|track| &track.configs) {
        let codec = config.codec.codec_string();
        if !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    Guide {
        codecs,
        init_len: file.init_len(),
        groups,
        end_us,
        is_independent: marks.iter().all(|mark| !mark.is_open),
        start_offset_us: asked_us.map_or(0, |asked| asked.saturating_sub(first_us).max(0)),
    }
}
