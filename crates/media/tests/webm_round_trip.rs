//! A WebM laid out by reference is, once its pieces are put together, a file in which an independent parser
//! finds every sample as it was, and the same bytes in whatever ranges they are read.

use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use matroska_demuxer::{Frame, MatroskaFile, Primaries, Range, TrackType};
use mediahooks_media::{
    codec::CodecConfig,
    colour::{ColourInfo, ContentLight, MasteringDisplay},
    error::MuxError,
    sample::TrackConfig,
    virtual_file::{Extent, Piece, PieceError, VirtualFile},
    webm::{Block, CLUSTER_MS_MAX, Cluster, Clusters, Cue, VirtualWebm, WebmInfo, layout},
};
use proptest::{collection::vec, prelude::*};

const SOURCE_LEN: usize = 5000;

/// 64x48.
fn vp9() -> TrackConfig {
    let record = Bytes::from_static(&[0, 10, 0xA3, 9, 16, 9, 0, 0]);
    let frame = hex::decode("824983420003f002f60638241c184200").expect("hexadecimal");
    let codec = CodecConfig::vp9(record).expect("a record");
    let codec = codec.with_dimensions_from_sample(&frame).expect("a key frame");
    let mastering = MasteringDisplay {
        red: (35_400, 14_600),
        green: (8_500, 39_850),
        blue: (6_550, 2_300),
        white: (15_635, 16_450),
        luminance_max: 10_000_000,
        luminance_min: 50,
    };
    let light = ContentLight { pixel_max: 1000, picture_max: 400 };
    let told = ColourInfo { colour: None, mastering: Some(mastering), light: Some(light) };
    TrackConfig { told, ..TrackConfig::new(90_000, codec) }
}

/// With a pre-skip of 312.
fn opus() -> TrackConfig {
    let head = hex::decode("4f707573486561640102380180bb0000000000").expect("hexadecimal");
    TrackConfig::new(48_000, CodecConfig::opus_from_id_header(&head).expect("a header"))
}

/// Clusters whose blocks are in memory.
#[derive(Debug, Clone)]
struct Known(Vec<Vec<Block>>);

impl Clusters for Known {
    fn blocks(&self, cluster: usize) -> Result<Vec<Block>, PieceError> {
        Ok(self.0[cluster].clone())
    }

    fn weight(&self) -> usize {
        1000
    }
}

fn file(clusters: &Known, told: &Known) -> Result<VirtualWebm, MuxError> {
    let numbers: Vec<Cluster> = clusters.0.iter().map(|blocks| in_numbers(blocks)).collect();
    let (video, audio) = ([vp9()], [opus()]);
    let info = WebmInfo { duration_us: 61_500, captured_us: Some(978_307_201_000_000) };
    layout(info, &[&video, &audio], &numbers, Arc::new(told.clone()))
}

fn in_numbers(blocks: &[Block]) -> Cluster {
    let cue = blocks.iter().find(|block| block.track == 0 && block.is_sync);
    Cluster {
        time_ms: blocks[0].time_ms,
        blocks: blocks.len() as u64,
        bytes: blocks.iter().map(|block| block.sample.len).sum(),
        cue: cue.map(|block| Cue { track: 0, time_ms: block.time_ms }),
    }
}

fn sources() -> Vec<Vec<u8>> {
    (0..3u8).map(|number| (0..SOURCE_LEN).map(|at| (at as u8).wrapping_mul(7) ^ number).collect()).collect()
}

/// Reads a range, each time as much as `step` at most.
fn read(file: &VirtualWebm, range: std::ops::Range<u64>, step: u64) -> Vec<u8> {
    let (sources, mut at, mut out) = (sources(), range.start, Vec::new());
    while at < range.end {
        let piece = file.piece(at..range.end.min(at.saturating_add(step))).expect("a piece");
        assert!((1..=step.min(range.end - at)).contains(&piece.len()), "{piece:?}");
        at += piece.len();
        match piece {
            Piece::Bytes(bytes) => out.extend(bytes),
            Piece::Extent(Extent { source, offset, len }) => {
                out.extend(&sources[source as usize][offset as usize..][..len as usize]);
            }
        }
    }
    out
}

fn blocks() -> impl Strategy<Value = Vec<Vec<Block>>> {
    let block = (0..2usize, 0..200u64, any::<bool>(), 0..3u32, 0..4000u64, 1..900u64);
    let cluster = (0..5000u64, vec(block, 1..12));
    vec(cluster, 1..8).prop_map(|clusters| {
        let mut time_ms = 0;
        let build = |(gap_ms, blocks): (u64, Vec<_>)| {
            time_ms += gap_ms;
            let block = |(track, late_ms, is_sync, source, offset, len)| {
                time_ms += late_ms;
                Block { track, time_ms, is_sync, sample: Extent { source, offset, len } }
            };
            blocks.into_iter().map(block).collect()
        };
        clusters.into_iter().map(build).collect()
    })
}

proptest! {
    #[test]
    fn every_sample_is_found_again(clusters in blocks()) {
        let known = Known(clusters);
        let file = file(&known, &known).expect("a file");
        let bytes = read(&file, 0..file.len(), u64::MAX);
        prop_assert_eq!(bytes.len() as u64, file.len());
        let mut parsed = MatroskaFile::open(Cursor::new(&bytes)).expect("a readable file");
        let (sources, mut frame) = (sources(), Frame::default());
        for block in known.0.iter().flatten() {
            prop_assert!(parsed.next_frame(&mut frame).expect("a readable frame"));
            prop_assert_eq!(frame.track, block.track as u64 + 1);
            prop_assert_eq!(frame.timestamp, block.time_ms);
            prop_assert_eq!(frame.is_keyframe, Some(block.is_sync));
            let sample = block.sample;
            let sent = &sources[sample.source as usize][sample.offset as usize..][..sample.len as usize];
            prop_assert_eq!(frame.data.as_slice(), sent);
        }
        prop_assert!(!parsed.next_frame(&mut frame).expect("the end"));
    }

    #[test]
    fn any_range_has_the_same_bytes(
        clusters in blocks(),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        step in 1..2000u64,
    ) {
        let known = Known(clusters);
        let file = file(&known, &known).expect("a file");
        let bytes = read(&file, 0..file.len(), u64::MAX);
        let (a, b) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
        let (from, to) = (a.min(b), a.max(b));
        prop_assert_eq!(read(&file, from as u64..to as u64, step), &bytes[from..to]);
    }

    #[test]
    fn a_seek_finds_the_cluster_of_a_moment(clusters in blocks(), which in any::<prop::sample::Index>()) {
        let known = Known(clusters);
        let cues: Vec<u64> =
            known.0.iter().filter_map(|blocks| in_numbers(blocks).cue).map(|cue| cue.time_ms).collect();
        prop_assume!(!cues.is_empty());
        let wanted = cues[which.index(cues.len())];
        let file = file(&known, &known).expect("a file");
        let bytes = read(&file, 0..file.len(), u64::MAX);
        let mut parsed = MatroskaFile::open(Cursor::new(&bytes)).expect("a readable file");
        parsed.seek(wanted).expect("a seek");
        let mut frame = Frame::default();
        prop_assert!(parsed.next_frame(&mut frame).expect("a readable frame"));
        let earlier = known.0.iter().flatten().filter(|block| block.time_ms < wanted).map(|block| block.time_ms);
        let lowest = earlier.max().unwrap_or(wanted).min(wanted);
        prop_assert!(frame.timestamp >= lowest.saturating_sub(CLUSTER_MS_MAX) && frame.timestamp <= wanted);
    }
}

fn two_clusters() -> Known {
    let block = |track, time_ms, is_sync, len| Block {
        track,
        time_ms,
        is_sync,
        sample: Extent { source: 0, offset: 10, len },
    };
    Known(vec![
        vec![block(0, 0, true, 100), block(1, 7, true, 20), block(0, 40, false, 50)],
        vec![block(0, 60_000, true, 300)],
    ])
}

#[test]
fn the_head_tells_what_the_file_is() {
    let known = two_clusters();
    let file = file(&known, &known).expect("a file");
    let bytes = read(&file, 0..file.len(), u64::MAX);
    let parsed = MatroskaFile::open(Cursor::new(&bytes)).expect("a readable file");
    assert_eq!(parsed.ebml_header().doc_type(), "webm");
    let info = parsed.info();
    assert_eq!((info.timestamp_scale().get(), info.duration()), (1_000_000, Some(61.5)));
    // A second after 2001 began.
    assert_eq!((info.date_utc(), info.muxing_app()), (Some(1_000_000_000), "mediahooks"));
    let [video, audio] = parsed.tracks() else { panic!("{:?}", parsed.tracks()) };
    assert_eq!((video.track_type(), video.codec_id()), (TrackType::Video, "V_VP9"));
    // Profile 0, level 1.0, 10 bits, 4:2:0.
    assert_eq!(video.codec_private(), Some(&[1, 1, 0, 2, 1, 10, 3, 1, 10, 4, 1, 1][..]));
    let picture = video.video().expect("a picture");
    assert_eq!((picture.pixel_width().get(), picture.pixel_height().get()), (64, 48));
    let colour = picture.colour().expect("a colour");
    assert_eq!((colour.primaries(), colour.range()), (Some(Primaries::Bt2020), Some(Range::Full)));
    assert_eq!((colour.bits_per_channel(), colour.chroma_subsampling_vert()), (Some(10), Some(1)));
    // The parser takes other elements for MaxCLL and MaxFALL.
    let light = [&[0x55, 0xBC, 0x82, 0x03, 0xE8][..], &[0x55, 0xBD, 0x82, 0x01, 0x90]].concat();
    assert!(bytes.windows(light.len()).any(|window| window == light));
    let mastering = colour.mastering_metadata().expect("a screen");
    assert_eq!(mastering.primary_r_chromaticity_x(), Some(0.708));
    assert_eq!((mastering.luminance_max(), mastering.luminance_min()), (Some(1000.0), Some(0.005)));
    assert_eq!((audio.track_type(), audio.codec_id()), (TrackType::Audio, "A_OPUS"));
    assert_eq!((audio.codec_delay(), audio.seek_pre_roll()), (Some(6_500_000), Some(80_000_000)));
    assert!(audio.codec_private().is_some_and(|head| head.starts_with(b"OpusHead")));
    let sound = audio.audio().expect("a sound");
    assert_eq!((sound.sampling_frequency(), sound.channels().get()), (48_000.0, 2));
    assert!(file.weight() > 1000);
}

#[test]
fn what_has_changed_since_is_an_error_and_not_another_file() {
    let laid_out = two_clusters();
    let check = |change: &dyn Fn(&mut Vec<Block>)| {
        let mut told = laid_out.clone();
        change(&mut told.0[0]);
        let file = file(&laid_out, &told).expect("a file");
        let clusters_at = file.len() - (20 + 310) - (20 + 200);
        assert!(file.piece(clusters_at..file.len()).is_err());
        assert!(file.piece(file.len() - 320..file.len()).is_ok());
    };
    check(&|blocks| blocks[1].sample.len += 1);
    check(&|blocks| blocks.truncate(2));
    check(&|blocks| blocks.clear());
    check(&|blocks| blocks[2].time_ms = CLUSTER_MS_MAX + 1);
    check(&|blocks| blocks[0].track = 126);
}

#[test]
fn what_cannot_be_a_file_is_refused() {
    let info = WebmInfo { duration_us: 0, captured_us: None };
    let source = Arc::new(two_clusters());
    let clusters: Vec<Cluster> = source.0.iter().map(|blocks| in_numbers(blocks)).collect();
    let aac =
        [TrackConfig::new(48_000, CodecConfig::aac(Bytes::from_static(&[0x11, 0x90])).expect("a record"))];
    let refused = |tracks: &[&[TrackConfig]], clusters: &[Cluster]| {
        layout(info, tracks, clusters, source.clone()).expect_err("no file")
    };
    assert_eq!(refused(&[&aac], &clusters), MuxError::NotInWebm { codec: "AAC" });
    assert!(matches!(refused(&[], &clusters), MuxError::Empty { .. }));
    assert!(matches!(refused(&[&[opus()]], &[]), MuxError::Empty { .. }));
    assert!(matches!(refused(&[&[]], &clusters), MuxError::Empty { .. }));
    let unsized_vp8 = CodecConfig::vp8(Bytes::from_static(&[0, 10, 0x82, 2, 2, 2, 0, 0])).expect("a record");
    let unsized_vp8 = [TrackConfig::new(90_000, unsized_vp8)];
    assert_eq!(refused(&[&unsized_vp8], &clusters), MuxError::NoDimensions { codec: "VP8" });
}
