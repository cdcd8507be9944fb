//! What a fragmented file has before its fragments, however much it is. Samples are referred to, so that they need no
//! bytes here.

use bytes::Bytes;
use mediahooks_media::cmaf::{FragmentSamples, FragmentSpan, FragmentedBuilder, FragmentedTrack, SourceSpan};
use mediahooks_media::codec::CodecConfig;
use mediahooks_media::mp4::Edit;
use mediahooks_media::sample::{SampleInfo, Ticks, TrackConfig};
use mediahooks_media::virtual_file::{Piece, PieceError, VirtualFile};

/// No fragment is made again.
#[derive(Debug)]
struct NoSamples;

impl FragmentSamples for NoSamples {
    fn read(&self, source: u32) -> Result<Vec<SourceSpan>, PieceError> {
        panic!("nothing is to be read of {source}")
    }

    fn weight(&self) -> usize {
        0
    }
}

/// A file of `chunks` chunks of one sample of 100 MB each before all fragments: what it generates, and its length.
fn header(chunks: u32) -> (Vec<u8>, u64) {
    let avcc =
        hex::decode("014d400dffe10019674d400deca0a0cfcf8088000003000800000301e078a14cb001000568ebe3cb20");
    let codec = CodecConfig::h264(Bytes::from(avcc.unwrap())).unwrap();
    let configs = [TrackConfig::new(90_000, codec)];
    let edit = Edit { empty: 0, media_time: 0, duration: 1000 };
    let tracks = [FragmentedTrack { track_id: 1, configs: &configs, edit: Some(edit) }];
    let mut builder = FragmentedBuilder::new(&tracks, 0).unwrap();
    for source in 0..chunks {
        let sample = SampleInfo { duration: 3000, size: 100_000_000, cts_offset: 0, is_sync: source == 0 };
        let base_dts = Ticks(i64::from(source) * 3000);
        builder
            .push_head(
                source,
                &[FragmentSpan { track: 0, config: 0, base_dts, offset: 0, samples: &[sample] }],
            )
            .unwrap();
    }
    let file = builder.finish(NoSamples, 1000, Ticks(90_000)).unwrap();
    let mut bytes = Vec::new();
    while let Piece::Bytes(piece) = file.piece(bytes.len() as u64..file.len()).unwrap() {
        bytes.extend(piece);
    }
    (bytes, file.len())
}

fn position(bytes: &[u8], name: &[u8; 4]) -> Option<usize> {
    bytes.windows(4).position(|window| window == name)
}

#[test]
fn a_head_may_be_longer_than_32_bits_can_tell() {
    let (bytes, len) = header(50);
    let mdat = position(&bytes, b"mdat").unwrap();
    assert_eq!(bytes[mdat - 4..mdat], [0, 0, 0, 1]);
    let size = u64::from_be_bytes(bytes[mdat + 4..mdat + 12].try_into().unwrap());
    assert_eq!((size, mdat as u64 - 4 + size), (50 * 100_000_000 + 16, len));
    let table = position(&bytes, b"co64").unwrap() + 8;
    assert_eq!(bytes[table..table + 4], 50_u32.to_be_bytes());
    for (number, entry) in bytes[table + 4..table + 4 + 50 * 8].chunks(8).enumerate() {
        let offset = u64::from_be_bytes(entry.try_into().unwrap());
        assert_eq!(offset, mdat as u64 + 12 + number as u64 * 100_000_000);
    }
    assert_eq!(position(&bytes, b"stco"), None);
}

#[test]
fn a_short_head_has_short_fields() {
    let (bytes, len) = header(3);
    let mdat = position(&bytes, b"mdat").unwrap();
    let size = u32::from_be_bytes(bytes[mdat - 4..mdat].try_into().unwrap());
    assert_eq!((u64::from(size), mdat as u64 - 4 + u64::from(size)), (300_000_008, len));
    assert!(position(&bytes, b"stco").is_some() && position(&bytes, b"co64").is_none());
}
