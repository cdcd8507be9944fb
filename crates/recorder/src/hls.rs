//! Playlists of finished files.

use mediahooks_media::hls::{MediaPlaylist, MultivariantPlaylist, Place, PlaylistKind, PlaylistSegment};
use mediahooks_model::Metadata;
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

/// What leads to the playlist at `uri`, which leads through a file.
pub(crate) fn multivariant(guide: &Guide, metadata: &Metadata, uri: &str) -> MultivariantPlaylist {
    let rate = |bytes: u64, us: i64| {
        u64::try_from(i128::from(bytes) * 8_000_000 / i128::from(us.max(1))).unwrap_or(u64::MAX)
    };
    let ends = guide.groups.iter().skip(1).map(|group| group.start_us).chain([guide.end_us]);
    let rates = guide.groups.iter().zip(ends).map(|(group, end_us)| rate(group.len, end_us - group.start_us));
    let bytes = guide.groups.iter().map(|group| group.len).sum();
    let begin_us = guide.groups.first().map_or(0, |group| group.start_us);
    let pictures = metadata.tracks.iter().find(|track| track.kind == "video");
    MultivariantPlaylist {
        uri: uri.to_owned(),
        bandwidth: rates.max().unwrap_or(0),
        average_bandwidth: rate(bytes, guide.end_us - begin_us),
        codecs: guide.codecs.clone(),
        resolution: pictures.and_then(|track| track.width.zip(track.height)),
        frame_rate: pictures.and_then(|track| track.framerate),
    }
}
