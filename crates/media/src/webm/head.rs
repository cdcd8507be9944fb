//! All that lies before the first cluster: what the file is, its tracks, and where to find each moment.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    ebml::{self, id},
    file::{CLUSTER_HEAD, Clusters, Place, VirtualWebm, block_head_len},
    track,
};
use crate::{error::MuxError, sample::TrackConfig};

/// The program as files name it. Without a version: the same file stays the same after an update.
const APP: &[u8] = b"mediahooks";
/// 2001-01-01 00:00 UTC in microseconds since 1970, where dates of EBML begin (RFC 8794 §7.6).
const DATE_ORIGIN_US: i64 = 978_307_200_000_000;
/// Nanoseconds of a tick of the file's clock: a millisecond, as RTMP stamps.
const TICK_NS: u64 = 1_000_000;

/// What a file is as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WebmInfo {
    /// How long it plays, in microseconds.
    pub duration_us: u64,
    /// When its first moment was captured, in microseconds since 1970-01-01 00:00 UTC.
    pub captured_us: Option<i64>,
}

/// A cluster in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// Time that those of its blocks are counted from, in milliseconds.
    pub time_ms: u64,
    /// How many blocks it has.
    pub blocks: u64,
    /// Bytes of their samples together.
    pub bytes: u64,
    /// Where players may begin in it.
    pub cue: Option<Cue>,
}

/// A moment that players find at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cue {
    /// Index of the track that has a sync sample then.
    pub track: usize,
    /// When, in milliseconds.
    pub time_ms: u64,
}

/// Lays out a file of `tracks`, each with its configurations, of which the blocks of `clusters` are told by
/// `source` when they are read.
///
/// Errors: [`MuxError::NotInWebm`]; [`MuxError::Empty`] without tracks or clusters, and for a track without a
/// configuration; [`MuxError::NoDimensions`]; [`MuxError::Overflow`] for more than 126 tracks.
pub fn layout(
    info: WebmInfo,
    tracks: &[&[TrackConfig]],
    clusters: &[Cluster],
    source: Arc<dyn Clusters>,
) -> Result<VirtualWebm, MuxError> {
    if tracks.is_empty() || clusters.is_empty() {
        return Err(MuxError::Empty { what: "a file without tracks or without clusters" });
    }
    let mut places = Vec::with_capacity(clusters.len());
    let mut media_len = 0;
    for cluster in clusters {
        places.push(Place { start: media_len, time_ms: cluster.time_ms });
        media_len += CLUSTER_HEAD + cluster.blocks * block_head_len() + cluster.bytes;
    }
    let info = info_element(info);
    let tracks = tracks_element(tracks)?;
    // What the index says depends on its own length, which does not depend on what it says.
    let cues_len = cues_element(clusters, &places, 0).len() as u64;
    let info_at = seek_head(0, 0, 0).len() as u64;
    let tracks_at = info_at + info.len() as u64;
    let cues_at = tracks_at + tracks.len() as u64;
    let clusters_at = cues_at + cues_len;

    let mut head = Vec::new();
    append_ebml_header(&mut head);
    ebml::put_id(&mut head, id::SEGMENT);
    ebml::put_wide_size(&mut head, clusters_at + media_len);
    head.extend(seek_head(info_at, tracks_at, cues_at));
    head.extend(info);
    head.extend(tracks);
    head.extend(cues_element(clusters, &places, clusters_at));
    Ok(VirtualWebm::new(Bytes::from(head), places, media_len, source))
}

fn append_ebml_header(out: &mut Vec<u8>) {
    ebml::master(out, id::EBML, |out| {
        ebml::number(out, id::EBML_VERSION, 1);
        ebml::number(out, id::EBML_READ_VERSION, 1);
        ebml::number(out, id::EBML_MAX_ID_LENGTH, 4);
        ebml::number(out, id::EBML_MAX_SIZE_LENGTH, 8);
        ebml::bytes(out, id::DOC_TYPE, b"webm");
        ebml::number(out, id::DOC_TYPE_VERSION, 4);
        ebml::number(out, id::DOC_TYPE_READ_VERSION, 2);
    });
}

/// Positions are counted from the first byte after the segment's size.
fn seek_head(info_at: u64, tracks_at: u64, cues_at: u64) -> Vec<u8> {
    let mut out = Vec::new();
    ebml::master(&mut out, id::SEEK_HEAD, |out| {
        for (element, at) in [(id::INFO, info_at), (id::TRACKS, tracks_at), (id::CUES, cues_at)] {
            ebml::master(out, id::SEEK, |out| {
                ebml::bytes(out, id::SEEK_ID, &element.to_be_bytes());
                ebml::wide_number(out, id::SEEK_POSITION, at);
            });
        }
    });
    out
}

fn info_element(info: WebmInfo) -> Vec<u8> {
    let mut out = Vec::new();
    ebml::master(&mut out, id::INFO, |out| {
        ebml::number(out, id::TIMESTAMP_SCALE, TICK_NS);
        ebml::float(out, id::DURATION, info.duration_us as f64 / 1000.0);
        if let Some(captured_us) = info.captured_us {
            let ns = captured_us.saturating_sub(DATE_ORIGIN_US).saturating_mul(1000);
            ebml::bytes(out, id::DATE_UTC, &ns.to_be_bytes());
        }
        ebml::bytes(out, id::MUXING_APP, APP);
        ebml::bytes(out, id::WRITING_APP, APP);
    });
    out
}

fn tracks_element(tracks: &[&[TrackConfig]]) -> Result<Vec<u8>, MuxError> {
    let mut entries = Vec::new();
    for (index, configs) in tracks.iter().enumerate() {
        track::append_entry(&mut entries, track_number(index)?, configs)?;
    }
    let mut out = Vec::new();
    ebml::master(&mut out, id::TRACKS, |out| out.extend(entries));
    Ok(out)
}

/// Tracks are numbered from 1, in one byte with a length marker.
pub(super) fn track_number(index: usize) -> Result<u8, MuxError> {
    const MAX: u8 = 126;
    let number = u8::try_from(index + 1).ok().filter(|number| *number <= MAX);
    number.ok_or(MuxError::Overflow { field: "TrackNumber", value: index as u64 + 1, max: MAX.into() })
}

fn cues_element(clusters: &[Cluster], places: &[Place], clusters_at: u64) -> Vec<u8> {
    let mut out = Vec::new();
    ebml::master(&mut out, id::CUES, |out| {
        for (cluster, place) in clusters.iter().zip(places) {
            let Some(cue) = cluster.cue else { continue };
            ebml::bytes(out, id::CUE_POINT, &cue_point(cue, clusters_at + place.start));
        }
    });
    out
}

fn cue_point(cue: Cue, cluster_at: u64) -> Vec<u8> {
    let mut positions = Vec::with_capacity(16);
    ebml::number(&mut positions, id::CUE_TRACK, cue.track as u64 + 1);
    ebml::wide_number(&mut positions, id::CUE_CLUSTER_POSITION, cluster_at);
    let mut point = Vec::with_capacity(32);
    ebml::wide_number(&mut point, id::CUE_TIME, cue.time_ms);
    ebml::bytes(&mut point, id::CUE_TRACK_POSITIONS, &positions);
    point
}
