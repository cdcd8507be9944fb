//! What a playlist shows of the segments that are stored by now. Pure.
//!
//! A segment of a playlist is a group of stored ones: it begins with a sync sample and ends before the next one. The
//! last one of a live timeline may still grow, and is shown in parts only.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use mediahooks_database::SegmentSpan;
use mediahooks_media::hls::{LowLatency, MediaPlaylist, Part, Place, PlaylistKind, PlaylistSegment};

/// Whole segments whose parts are listed: players that are so far behind the end do not look for parts.
const GROUPS_IN_PARTS: usize = 3;

/// The shortest that parts are said to be, in microseconds: what is stored is about as long.
const PART_TARGET_MIN_US: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct View {
    /// In order; the first one begins a group.
    pub spans: Vec<SegmentSpan>,
    /// The number of the first group.
    pub number: u64,
    /// Of each run, its number of tracks.
    pub tracks: BTreeMap<u32, usize>,
    pub is_live: bool,
    /// Whether nothing was left out at its front.
    pub is_whole: bool,
}

/// Leaves as few groups at the end as last for `window`; tells whether that is everything.
pub(super) fn keep_last(spans: &mut Vec<SegmentSpan>, window: Duration) -> bool {
    let window_us = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
    let (mut from, mut group) = (spans.len(), spans.len());
    let (mut last_us, mut group_us) = (0u64, 0u64);
    while from > 0 && (group_us < window_us || group == spans.len()) {
        from -= 1;
        last_us = last_us.saturating_add(duration_us(spans, from));
        if spans.get(from).is_some_and(|span| span.starts_with_sync) {
            (group, group_us) = (from, last_us);
        }
    }
    spans.drain(..group);
    group == 0
}

/// How long a stored segment is, in microseconds: until the next one begins. How long the newest is, is told by its
/// own samples, of which as many belong to the next one as did of the one before.
fn duration_us(spans: &[SegmentSpan], at: usize) -> u64 {
    let Some(span) = spans.get(at) else { return 0 };
    let of_run = |other: Option<&SegmentSpan>| other.filter(|other| other.run == span.run).copied();
    let us = match of_run(spans.get(at + 1)) {
        Some(next) => next.media_start_us - span.media_start_us,
        None => {
            let before = at.checked_sub(1).and_then(|before| of_run(spans.get(before)));
            let shared = before.map_or(0, |before| (before.media_end_us - span.media_start_us).max(0));
            let whole = span.media_end_us - span.media_start_us;
            if shared < whole { whole - shared } else { whole }
        }
    };
    u64::try_from(us).unwrap_or(0).max(1000)
}

impl View {
    /// Places of the groups among the segments.
    fn groups(&self) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = Vec::new();
        let mut run = None;
        for (at, span) in self.spans.iter().enumerate() {
            match groups.last_mut() {
                Some(last) if !span.starts_with_sync && run == Some(span.run) => last.end = at + 1,
                _ => groups.push(at..at + 1),
            }
            run = Some(span.run);
        }
        groups
    }

    /// The number of the group that still grows, or, when none does, of the one that would be next.
    pub(super) fn open_number(&self) -> u64 {
        let whole = self.groups().len().saturating_sub(usize::from(self.is_live));
        self.number.saturating_add(whole as u64)
    }

    /// Whether a group is there, or a part of it.
    pub(super) fn has(&self, number: u64, part: Option<u64>) -> bool {
        let open = self.open_number();
        if !self.is_live || number < open {
            return true;
        }
        let parts = self.groups().last().map_or(0, |group| group.len() as u64);
        number == open && part.is_some_and(|part| part < parts)
    }

    /// The playlist, in which `suffix` ends every address.
    pub(super) fn playlist(&self, suffix: &str) -> MediaPlaylist {
        let mut groups = self.groups();
        let open = if self.is_live { groups.pop() } else { None };
        let in_parts_from = groups.len().saturating_sub(GROUPS_IN_PARTS);
        let mut run = None;
        let segments: Vec<PlaylistSegment> = groups
            .iter()
            .enumerate()
            .filter_map(|(at, group)| {
                let is_in_parts = self.is_live && at >= in_parts_from;
                let segment = self.segment(group.clone(), run, is_in_parts, suffix)?;
                run = self.spans.get(group.start).map(|span| span.run);
                Some(segment)
            })
            .collect();
        let of_open: Vec<Part> = open.into_iter().flatten().filter_map(|at| self.part(at, suffix)).collect();
        let parts = segments.iter().flat_map(|segment| &segment.parts).chain(&of_open);
        let longest_us = parts.map(|part| part.duration_us).max().unwrap_or(0).max(PART_TARGET_MIN_US);
        // A tenth of a second more or less says nothing.
        let part_target_us = longest_us.div_ceil(100_000) * 100_000;
        MediaPlaylist {
            kind: match (self.is_live, self.is_whole) {
                (true, _) => PlaylistKind::Live,
                (false, true) => PlaylistKind::Whole,
                (false, false) => PlaylistKind::Ended,
            },
            target_duration_s: 0,
            media_sequence: self.number,
            // Each run but the first begins with a break.
            discontinuity_sequence: self.spans.first().map_or(0, |span| u64::from(span.run)),
            // Whether groups are closed is not in a summary.
            is_independent: false,
            start_us: None,
            low_latency: self
                .is_live
                .then_some(LowLatency { part_target_us, part_hold_back_us: 3 * part_target_us }),
            segments,
            parts: of_open,
            hint: None,
        }
    }

    /// The segment of a group that follows a segment of `run_before`.
    fn segment(
        &self,
        group: Range<usize>,
        run_before: Option<u32>,
        in_parts: bool,
        suffix: &str,
    ) -> Option<PlaylistSegment> {
        let (first, last) = (self.spans.get(group.start)?, self.spans.get(group.end.checked_sub(1)?)?);
        let begins_run = run_before != Some(first.run);
        let tracks = self.tracks.get(&first.run).copied().unwrap_or(0);
        let parts = group.clone().filter(|_| in_parts).filter_map(|at| self.part(at, suffix)).collect();
        Some(PlaylistSegment {
            is_discontinuity: begins_run && run_before.is_some(),
            map: begins_run
                .then(|| Place { uri: format!("init-{}-{tracks}.mp4{suffix}", first.run), range: None }),
            program_date_time: Some(first.wall_start().to_string()),
            duration_us: group.map(|at| duration_us(&self.spans, at)).sum(),
            place: Place { uri: format!("{}-{}.m4s{suffix}", first.sequence, last.sequence), range: None },
            parts,
        })
    }

    fn part(&self, at: usize, suffix: &str) -> Option<Part> {
        let span = self.spans.get(at)?;
        Some(Part {
            duration_us: duration_us(&self.spans, at),
            uri: format!("{0}-{0}.m4s{suffix}", span.sequence),
            is_independent: span.starts_with_sync,
        })
    }
}

#[cfg(test)]
mod tests {
    use mediahooks_model::TimelineId;
    use uuid::Uuid;

    use super::*;

    /// Segments of a second, the sound of each of which reaches 20 ms into the next one.
    fn span(sequence: u64, run: u32, starts_with_sync: bool) -> SegmentSpan {
        let start_us = 10_000_000 + i64::try_from(sequence).unwrap() * 1_000_000;
        SegmentSpan {
            timeline: TimelineId(Uuid::nil()),
            sequence,
            run,
            media_start_us: start_us,
            media_end_us: start_us + 1_020_000,
            wall_offset_us: 1_700_000_000_000_000,
            starts_with_sync,
        }
    }

    /// Groups of two segments, then another run.
    fn view(count: u64, is_live: bool) -> View {
        let spans =
            (4..4 + count).map(|sequence| span(sequence, u32::from(sequence >= 10), sequence % 2 == 0));
        View { spans: spans.collect(), number: 2, tracks: [(0, 2), (1, 1)].into(), is_live, is_whole: false }
    }

    #[test]
    fn a_live_timeline_has_whole_groups_and_parts_of_the_open_one() {
        insta::assert_snapshot!(view(9, true).playlist("?signature=x").to_text());
    }

    #[test]
    fn one_that_is_over_is_shown_to_its_end() {
        insta::assert_snapshot!(View { is_whole: true, ..view(3, false) }.playlist("").to_text());
    }

    #[test]
    fn a_request_waits_for_what_is_not_there() {
        // Groups 2 (4, 5), 3 (6, 7) and the beginning of 4 (8).
        let live = view(5, true);
        assert_eq!(live.open_number(), 4);
        assert!(live.has(3, None) && live.has(3, Some(7)) && live.has(4, Some(0)));
        assert!(!live.has(4, None) && !live.has(4, Some(1)) && !live.has(5, Some(0)));
        assert!(view(5, false).has(5, None), "nothing more will come");
    }

    #[test]
    fn a_window_begins_with_a_group() {
        let spans = || view(9, true).spans;
        for (seconds, first, whole) in
            [(0, 12, false), (1, 12, false), (2, 10, false), (5, 8, false), (60, 4, true)]
        {
            let mut kept = spans();
            assert_eq!(keep_last(&mut kept, Duration::from_secs(seconds)), whole, "{seconds} s");
            assert_eq!(kept[0].sequence, first, "{seconds} s");
        }
    }
}
