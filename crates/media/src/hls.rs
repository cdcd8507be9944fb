//! Playlists of HTTP Live Streaming, as text.
//!
//! Fed by the recorder with segments that exist already, and where they are. What always holds: the target duration is
//! not exceeded, and a tag is only there when the playlist's version knows it.
//!
//! Spec: draft-pantos-hls-rfc8216bis (RFC 8216 with low latency and fragmented MP4).

use std::fmt::Write;
use std::ops::Range;

/// `EXT-X-MAP` without `EXT-X-I-FRAMES-ONLY` needs 6 (§8); fragmented MP4 is usual from 7 on.
const VERSION: u8 = 7;

/// `EXT-X-SKIP`, and low latency with it, needs 9.
const VERSION_LOW_LATENCY: u8 = 9;

/// One rendition of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaPlaylist {
    /// Whether it may still grow, and lose its first segments.
    pub kind: PlaylistKind,
    /// No segment will be longer, in whole seconds; 0: as the longest one that there is.
    pub target_duration_s: u64,
    /// Number of the first segment.
    pub media_sequence: u64,
    /// Number of breaks before the first segment.
    pub discontinuity_sequence: u64,
    /// Whether no segment needs those before it to be decoded.
    pub is_independent: bool,
    /// Where players should begin, in microseconds from its beginning (negative: from its end), to the frame.
    pub start_us: Option<i64>,
    /// Absent: segments only.
    pub low_latency: Option<LowLatency>,
    /// In order.
    pub segments: Vec<PlaylistSegment>,
    /// Parts of the segment that is not whole yet.
    pub parts: Vec<Part>,
    /// Address of the part that will come next, if it is known.
    pub hint: Option<String>,
}

/// What may become of a playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlaylistKind {
    /// Nothing: it is whole.
    #[default]
    Whole,
    /// It is over, and what it has may go from its front.
    Ended,
    /// It grows, and loses segments at its front.
    Live,
}

/// What a player needs to know to be close to the live edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowLatency {
    /// No part is longer, in microseconds.
    pub part_target_us: u64,
    /// How far from the end players should stay, in microseconds; at least three parts.
    pub part_hold_back_us: u64,
}

/// A segment of a playlist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlaylistSegment {
    /// Whether clocks or codecs are others than before.
    pub is_discontinuity: bool,
    /// What has to be read before it; absent: what the segment before it has.
    pub map: Option<Place>,
    /// Wall clock of its first sample, as in RFC 3339.
    pub program_date_time: Option<String>,
    /// In microseconds.
    pub duration_us: u64,
    /// Its media.
    pub place: Place,
    /// Its media once more, in parts.
    pub parts: Vec<Part>,
}

/// A part of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// In microseconds.
    pub duration_us: u64,
    /// Relative to the playlist.
    pub uri: String,
    /// Whether decoding can begin with it.
    pub is_independent: bool,
}

/// Bytes of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Relative to the playlist.
    pub uri: String,
    /// Absent: all of it.
    pub range: Option<Range<u64>>,
}

/// What leads players to the one rendition that there is, and tells them beforehand what it takes to play it (§4.4.6.2).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MultivariantPlaylist {
    /// The media playlist, relative to this one.
    pub uri: String,
    /// The most that any part of it takes, in bits per second.
    pub bandwidth: u64,
    /// What all of it takes, likewise.
    pub average_bandwidth: u64,
    /// As in RFC 6381, of all that is in it.
    pub codecs: Vec<String>,
    /// Width and height of the largest pictures.
    pub resolution: Option<(u32, u32)>,
    /// Pictures per second.
    pub frame_rate: Option<f64>,
}

impl MultivariantPlaylist {
    /// The playlist as players read it.
    pub fn to_text(&self) -> String {
        let mut attributes = format!(
            "BANDWIDTH={},AVERAGE-BANDWIDTH={}",
            self.bandwidth.max(1),
            self.average_bandwidth.max(1)
        );
        attributes.push_str(&format!(",CODECS=\"{}\"", self.codecs.join(",")));
        if let Some((width, height)) = self.resolution {
            attributes.push_str(&format!(",RESOLUTION={width}x{height}"));
        }
        if let Some(frame_rate) = self.frame_rate {
            attributes.push_str(&format!(",FRAME-RATE={frame_rate:.3}"));
        }
        format!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-STREAM-INF:{attributes}\n{}\n", self.uri)
    }
}

impl MediaPlaylist {
    /// The playlist as players read it.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing into a string does not fail.
        let _ = self.write(&mut out);
        out
    }

    /// The longest segment in whole seconds, as `EXT-X-TARGETDURATION` counts (§4.4.3.1: rounded to the nearest).
    fn longest_s(&self) -> u64 {
        let parts = self.parts.iter().map(|part| part.duration_us).sum();
        let lengths = self.segments.iter().map(|segment| segment.duration_us).chain([parts]);
        lengths.map(|us| (us + 500_000) / 1_000_000).max().unwrap_or(0).max(1)
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let version = if self.low_latency.is_some() { VERSION_LOW_LATENCY } else { VERSION };
        writeln!(out, "#EXTM3U\n#EXT-X-VERSION:{version}")?;
        writeln!(out, "#EXT-X-TARGETDURATION:{}", self.target_duration_s.max(self.longest_s()))?;
        if let Some(LowLatency { part_target_us, part_hold_back_us }) = self.low_latency {
            let hold_back = seconds(part_hold_back_us);
            writeln!(out, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={hold_back}")?;
            writeln!(out, "#EXT-X-PART-INF:PART-TARGET={}", seconds(part_target_us))?;
        }
        if self.kind == PlaylistKind::Whole {
            writeln!(out, "#EXT-X-PLAYLIST-TYPE:VOD")?;
        }
        writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", self.media_sequence)?;
        if self.discontinuity_sequence > 0 {
            writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuity_sequence)?;
        }
        if self.is_independent {
            writeln!(out, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        }
        if let Some(start_us) = self.start_us {
            let sign = if start_us < 0 { "-" } else { "" };
            let offset = seconds(start_us.unsigned_abs());
            writeln!(out, "#EXT-X-START:TIME-OFFSET={sign}{offset},PRECISE=YES")?;
        }
        for segment in &self.segments {
            segment.write(out)?;
        }
        for part in &self.parts {
            part.write(out)?;
        }
        if let Some(hint) = &self.hint {
            writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{hint}\"")?;
        }
        if matches!(self.kind, PlaylistKind::Whole | PlaylistKind::Ended) {
            writeln!(out, "#EXT-X-ENDLIST")?;
        }
        Ok(())
    }
}

impl PlaylistSegment {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        if self.is_discontinuity {
            writeln!(out, "#EXT-X-DISCONTINUITY")?;
        }
        if let Some(Place { uri, range }) = &self.map {
            write!(out, "#EXT-X-MAP:URI=\"{uri}\"")?;
            match range {
                Some(range) => writeln!(out, ",BYTERANGE=\"{}\"", byte_range(range))?,
                None => writeln!(out)?,
            }
        }
        if let Some(time) = &self.program_date_time {
            writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{time}")?;
        }
        for part in &self.parts {
            part.write(out)?;
        }
        writeln!(out, "#EXTINF:{},", seconds(self.duration_us))?;
        if let Some(range) = &self.place.range {
            writeln!(out, "#EXT-X-BYTERANGE:{}", byte_range(range))?;
        }
        writeln!(out, "{}", self.place.uri)
    }
}

impl Part {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let independent = if self.is_independent { ",INDEPENDENT=YES" } else { "" };
        let duration = seconds(self.duration_us);
        writeln!(out, "#EXT-X-PART:DURATION={duration},URI=\"{}\"{independent}", self.uri)
    }
}

/// Length and offset, as `BYTERANGE` has them.
fn byte_range(range: &Range<u64>) -> String {
    format!("{}@{}", range.end.saturating_sub(range.start), range.start)
}

/// Microseconds in seconds with decimals.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(duration_us: u64) -> PlaylistSegment {
        let range = Some(100..250);
        PlaylistSegment {
            duration_us,
            place: Place { uri: "a.mp4".into(), range },
            ..PlaylistSegment::default()
        }
    }

    #[test]
    fn a_whole_playlist() {
        let first = PlaylistSegment {
            map: Some(Place { uri: "a.mp4".into(), range: Some(0..100) }),
            program_date_time: Some("2026-01-31T18:30:05.123Z".into()),
            ..segment(1_499_999)
        };
        let second = PlaylistSegment { is_discontinuity: true, ..segment(400_000) };
        let playlist = MediaPlaylist {
            segments: vec![first, second],
            is_independent: true,
            start_us: Some(640_000),
            ..MediaPlaylist::default()
        };
        insta::assert_snapshot!(playlist.to_text());
    }

    #[test]
    fn a_live_playlist_with_parts() {
        let part = |number: u32, is_independent| Part {
            duration_us: 1_000_000,
            uri: format!("{number}.m4s"),
            is_independent,
        };
        let first = PlaylistSegment {
            map: Some(Place { uri: "init.mp4".into(), range: None }),
            parts: vec![part(4, true), part(5, false)],
            place: Place { uri: "4-5.m4s".into(), range: None },
            ..segment(2_000_000)
        };
        let playlist = MediaPlaylist {
            kind: PlaylistKind::Live,
            target_duration_s: 4,
            media_sequence: 17,
            discontinuity_sequence: 1,
            low_latency: Some(LowLatency { part_target_us: 1_000_000, part_hold_back_us: 3_000_000 }),
            is_independent: false,
            start_us: Some(-3_000_000),
            segments: vec![first],
            parts: vec![part(6, true)],
            hint: Some("7.m4s".into()),
        };
        insta::assert_snapshot!(playlist.to_text());
    }

    #[test]
    fn an_independent_parser_reads_the_same() {
        let range = Some(0..100);
        let first = PlaylistSegment { map: Some(Place { uri: "a.mp4".into(), range }), ..segment(2_040_000) };
        let playlist = MediaPlaylist { segments: vec![first, segment(960_000)], ..MediaPlaylist::default() };
        let text = playlist.to_text();
        let (_, parsed) = m3u8_rs::parse_media_playlist(text.as_bytes()).unwrap();
        assert_eq!(parsed.target_duration, 2);
        let read: Vec<_> =
            parsed.segments.iter().map(|segment| (segment.duration, segment.uri.as_str())).collect();
        assert_eq!(read, [(2.04, "a.mp4"), (0.96, "a.mp4")]);
        let byte_range = parsed.segments[1].byte_range.as_ref().unwrap();
        assert_eq!((byte_range.length, byte_range.offset), (150, Some(100)));
    }

    #[test]
    fn a_multivariant_playlist_is_read_by_an_independent_parser() {
        let playlist = MultivariantPlaylist {
            uri: "live.m3u8?a=b".into(),
            bandwidth: 3_000_000,
            average_bandwidth: 2_500_000,
            codecs: vec!["avc1.64001f".into(), "mp4a.40.2".into()],
            resolution: Some((1280, 720)),
            frame_rate: Some(29.97),
        };
        let (_, parsed) = m3u8_rs::parse_master_playlist(playlist.to_text().as_bytes()).unwrap();
        let [variant] = &parsed.variants[..] else { panic!("{parsed:?}") };
        assert_eq!((variant.uri.as_str(), variant.bandwidth), ("live.m3u8?a=b", 3_000_000));
        assert_eq!(variant.average_bandwidth, Some(2_500_000));
        assert_eq!(variant.codecs.as_deref(), Some("avc1.64001f,mp4a.40.2"));
        let resolution = variant.resolution.unwrap();
        assert_eq!((resolution.width, resolution.height, variant.frame_rate), (1280, 720, Some(29.97)));
    }

    #[test]
    fn the_target_is_the_longest_segment_rounded() {
        for (us, target) in [(1_499_999, 1), (1_500_000, 2), (9_999_999, 10), (100, 1)] {
            let playlist = MediaPlaylist { segments: vec![segment(us)], ..MediaPlaylist::default() };
            assert!(playlist.to_text().contains(&format!("TARGETDURATION:{target}\n")), "{us}");
        }
    }
}
