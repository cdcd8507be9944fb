//! What a playlist shows of the segments that are stored by now. Pure.
//!
//! A segment of a playlist is a group of stored ones: it begins with a sync sample and ends before the next one. A group
//! that is longer than the playlist's [`pace`] is parted, so that no segment is longer than the playlist says, whatever
//! comes. The last one of a live timeline may still grow, and is shown in parts only.
//! What always holds: where segments begin depends on nothing but where the stored ones do.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use mediahooks_database::SegmentSpan;
use mediahooks_media::hls::{LowLatency, MediaPlaylist, Part, Place, PlaylistKind, PlaylistSegment};

/// Whole segments whose parts are listed: players that are so far behind the end do not look for parts.
const GROUPS_IN_PARTS: usize = 3;

/// How long parts are said to be at most, in microseconds. Stored segments are shorter, but for a picture that stays
/// without any sound.
const PART_TARGET_US: u64 = 1_200_000;

/// What [`pace`] chooses from, in seconds. The more, the further behind are players without low latency: three segments.
const PACES_S: [u64; 3] = [4, 6, 10];

/// By how much a group may be longer than a pace without being parted: none is so much longer without a stored segment
/// that begins in between.
const PACE_SLACK_US: i64 = 200_000;

/// See the module.
#[derive(Debug)]
pub(super) struct View {
    /// In order; the first one begins a segment of the playlist.
    pub spans: Vec<SegmentSpan>,
    /// The number of that segment, from 0 at the beginning of the asset.
    pub number: u64,
    /// See [`pace`].
    pub pace_s: u64,
    /// Of each run, its number of tracks.
    pub tracks: BTreeMap<u32, usize>,
    pub is_live: bool,
}

/// After how many seconds a group is parted: the first one tells, and it never changes. `None` while that may still
/// become longer. `spans` are the asset's first.
pub(super) fn pace(spans: &[SegmentSpan], is_live: bool) -> Option<u64> {
    let first = spans.first()?;
    let of_group = |span: &&SegmentSpan| span.run == first.run && !span.starts_with_sync;
    let last = spans.iter().skip(1).take_while(of_group).last().unwrap_or(first);
    let next = spans.iter().find(|span| span.sequence > last.sequence);
    let end_us = match next {
        Some(next) if next.run == first.run => next.media_start_us,
        // So long it is at least, whatever comes.
        None if is_live => last.media_start_us,
        _ => last.media_end_us,
    };
    let long_us = end_us.saturating_sub(first.media_start_us).saturating_sub(PACE_SLACK_US);
    let [shorter @ .., longest] = PACES_S;
    let fits = |pace: &u64| u64::try_from(long_us).unwrap_or(0) <= pace * 1_000_000;
    match shorter.into_iter().find(fits) {
        // It may still grow.
        Some(_) if next.is_none() && is_live => None,
        Some(pace) => Some(pace),
        None => Some(longest),
    }
}

/// Tells where the segments of a playlist begin, one stored segment after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Divider {
    pace_us: i64,
    /// How many have begun.
    pub begun: u64,
    open: Option<Open>,
}

/// The segment of a playlist that stored ones go into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    sequence: u64,
    run: u32,
    start_us: i64,
}

impl Divider {
    /// Before the first one.
    pub(super) fn new(pace_s: u64) -> Self {
        Self {
            pace_us: i64::try_from(pace_s).unwrap_or(i64::MAX).saturating_mul(1_000_000),
            begun: 0,
            open: None,
        }
    }

    /// The stored segment that the newest one begins with, if any has begun.
    pub(super) fn begin(&self) -> Option<u64> {
        self.open.map(|open| open.sequence)
    }

    /// Whether one begins with `span`.
    pub(super) fn begins(&mut self, span: &SegmentSpan) -> bool {
        let goes_on = self.open.is_some_and(|open| {
            open.run == span.run
                && !span.starts_with_sync
                && span.media_start_us.saturating_sub(open.start_us) < self.pace_us
        });
        if !goes_on {
            self.begun += 1;
            self.open = Some(Open { sequence: span.sequence, run: span.run, start_us: span.media_start_us });
        }
        !goes_on
    }
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
    /// Places of the playlist's segments among the stored ones.
    fn groups(&self) -> Vec<Range<usize>> {
        let mut divider = Divider::new(self.pace_s);
        let mut groups: Vec<Range<usize>> = Vec::new();
        for (at, span) in self.spans.iter().enumerate() {
            let begins = divider.begins(span);
            match groups.last_mut().filter(|_| !begins) {
                Some(last) => last.end = at + 1,
                None => groups.push(at..at + 1),
            }
        }
        groups
    }

    /// Leaves as few segments at the end as last for `window`, at least one.
    pub(super) fn keep_last(&mut self, window: Duration) {
        let window_us = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let (groups, mut kept_us) = (self.groups(), 0u64);
        let mut kept = groups.len();
        while kept > 0 && (kept_us < window_us || kept == groups.len()) {
            kept -= 1;
            let group = groups.get(kept).cloned().unwrap_or_default();
            kept_us = group.map(|at| duration_us(&self.spans, at)).fold(kept_us, u64::saturating_add);
        }
        self.spans.drain(..groups.get(kept).map_or(0, |group| group.start));
        self.number = self.number.saturating_add(kept as u64);
    }

    /// The longest that a segment is said to be, in seconds: one goes on for less than the pace, and for what is stored
    /// at once. It never changes (RFC 8216 §6.2.1).
    fn target_s(&self) -> u64 {
        self.pace_s + 1
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
        MediaPlaylist {
            kind: match (self.is_live, self.number == 0) {
                (true, _) => PlaylistKind::Live,
                (false, true) => PlaylistKind::Whole,
                (false, false) => PlaylistKind::Ended,
            },
            target_duration_s: self.target_s(),
            media_sequence: self.number,
            // Each run but the first begins with a break.
            discontinuity_sequence: self.spans.first().map_or(0, |span| u64::from(span.run)),
            // Whether groups are closed is not in a summary.
            is_independent: false,
            start_us: None,
            low_latency: self.is_live.then_some(LowLatency {
                part_target_us: PART_TARGET_US,
                part_hold_back_us: 3 * PART_TARGET_US,
            }),
            segments,
            parts: of_open,
            hint: self.spans.last().filter(|_| self.is_live).map(|last| media(last.sequence + 1, suffix)),
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
            // A picture may stay for minutes where there is no sound.
            duration_us: group
                .map(|at| duration_us(&self.spans, at))
                .fold(0, u64::saturating_add)
                .min(self.target_s() * 1_000_000),
            place: Place { uri: format!("{}-{}.m4s{suffix}", first.sequence, last.sequence), range: None },
            parts,
        })
    }

    fn part(&self, at: usize, suffix: &str) -> Option<Part> {
        let span = self.spans.get(at)?;
        Some(Part {
            duration_us: duration_us(&self.spans, at).min(PART_TARGET_US),
            uri: media(span.sequence, suffix),
            is_independent: span.starts_with_sync,
        })
    }
}

/// The address of one stored segment.
fn media(sequence: u64, suffix: &str) -> String {
    format!("{sequence}-{sequence}.m4s{suffix}")
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
        View { spans: spans.collect(), number: 2, pace_s: 4, tracks: [(0, 2), (1, 1)].into(), is_live }
    }

    #[test]
    fn a_live_timeline_has_whole_groups_and_parts_of_the_open_one() {
        insta::assert_snapshot!(view(9, true).playlist("?signature=x").to_text());
    }

    #[test]
    fn one_that_is_over_is_shown_to_its_end() {
        insta::assert_snapshot!(View { number: 0, ..view(3, false) }.playlist("").to_text());
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
        for (seconds, first, number) in [(0, 12, 6), (1, 12, 6), (2, 10, 5), (5, 8, 4), (60, 4, 2)] {
            let mut view = view(9, true);
            view.keep_last(Duration::from_secs(seconds));
            assert_eq!((view.spans[0].sequence, view.number), (first, number), "{seconds} s");
        }
    }

    /// A timeline of stored segments of a second, with a sync sample at each of `syncs`.
    fn timeline(len: u64, syncs: &[u64]) -> Vec<SegmentSpan> {
        (0..len).map(|sequence| span(sequence, 0, syncs.contains(&sequence))).collect()
    }

    #[test]
    fn the_first_group_sets_the_pace() {
        for (len, syncs, is_live, expected) in [
            (3, &[0][..], true, None),
            (3, &[0], false, Some(4)),
            (3, &[0, 2], true, Some(4)),
            (5, &[0, 4], true, Some(4)),
            (6, &[0, 5], true, Some(6)),
            (7, &[0], true, None),
            // Too long for less, whatever comes.
            (8, &[0], true, Some(10)),
            (600, &[0], true, Some(10)),
        ] {
            assert_eq!(pace(&timeline(len, syncs), is_live), expected, "{len} {syncs:?}");
        }
        assert_eq!(pace(&[], true), None);
    }

    #[test]
    fn a_long_group_is_parted_and_no_segment_is_longer_than_the_playlist_says() {
        let spans = timeline(25, &[0, 2, 4]);
        let view = View { spans, number: 0, pace_s: 4, tracks: [(0, 2)].into(), is_live: true };
        let groups = view.groups();
        assert_eq!(groups, [0..2, 2..4, 4..8, 8..12, 12..16, 16..20, 20..24, 24..25]);
        // One whose last picture stays.
        let mut spans = timeline(6, &[0, 2]);
        spans.iter_mut().skip(2).for_each(|span| span.media_start_us += 60_000_000);
        let playlist = View { spans, ..view }.playlist("");
        assert_eq!(playlist.target_duration_s, 5);
        let lengths: Vec<u64> = playlist.segments.iter().map(|segment| segment.duration_us).collect();
        assert_eq!(lengths, [5_000_000]);
        assert!(playlist.to_text().contains("#EXT-X-TARGETDURATION:5\n"));
    }

    #[test]
    fn segments_begin_where_they_did_wherever_a_divider_goes_on() {
        let spans = timeline(40, &[0, 3, 17]);
        let mut whole = Divider::new(4);
        let begins: Vec<bool> = spans.iter().map(|span| whole.begins(span)).collect();
        for from in 1..40 {
            let mut before = Divider::new(4);
            spans[..from].iter().for_each(|span| {
                before.begins(span);
            });
            // From the segment on that is open there.
            let begin = before.begin().unwrap() as usize;
            let view = View {
                spans: spans[begin..].to_vec(),
                number: before.begun - 1,
                pace_s: 4,
                tracks: BTreeMap::new(),
                is_live: false,
            };
            let expected: Vec<usize> = (begin..40).filter(|at| begins[*at]).map(|at| at - begin).collect();
            let starts: Vec<usize> = view.groups().iter().map(|group| group.start).collect();
            assert_eq!(starts, expected, "{from}");
            assert_eq!(view.open_number(), whole.begun, "{from}");
        }
    }
}
