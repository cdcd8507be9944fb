//! Playlists of finished files.

use mediahooks_media::hls::{MediaPlaylist, Place, PlaylistKind, PlaylistSegment};
use mediahooks_timeline::movie::Guide;

/// The playlist of a file that is found at `uri`: by byte range, a segment per group of fragments.
pub(crate) fn playlist(guide: &Guide, uri: &str) -> MediaPlaylist {
    let mark = if uri.contains('?') { '&' } else { '?' };
    let ends = guide.groups.iter().skip(1).map(|group| group.start_us).chain([guide.end_us]);
    let segments =
        guide.groups.iter().zip(ends).enumerate().map(|(number, (group, end_us))| PlaylistSegment {
            is_discontinuity: group.follows_break,
            map: (number == 0).then(|| Place { uri: uri.to_owned(), range: Some(0..guide.init_len) }),
            program_date_time: Some(group.wall.to_string()),
            duration_us: u64::try_from(end_us - group.start_us).unwrap_or(0),
            // FFmpeg 9 fetches neighbours of one address in one request, and ends after the first of them.
            place: Place {
                uri: format!("{uri}{mark}segment={number}"),
                range: Some(group.offset..group.offset + group.len),
            },
            parts: Vec::new(),
        });
    MediaPlaylist {
        kind: PlaylistKind::Whole,
        is_independent: guide.is_independent,
        start_us: Some(guide.start_offset_us).filter(|us| *us > 0),
        segments: segments.collect(),
        ..MediaPlaylist::default()
    }
}
