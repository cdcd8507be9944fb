//! What goes into a fragment comes out of it, read by us and by an independent parser.

use mediahooks_media::{
    cmaf::{FragmentHead, FragmentTrack, encode_fragment_head, fragment_layout, parse_fragment},
    error::MuxError,
    sample::{SampleInfo, Ticks},
};
use mp4_atom::{Atom, Decode};
use proptest::{collection::vec, prelude::*};

fn samples() -> impl Strategy<Value = Vec<SampleInfo>> {
    let varied = (any::<u32>(), 0..2000u32, any::<i32>(), any::<bool>());
    let usual = (Just(3000), 0..2000u32, Just(0), Just(false));
    let constant = (Just(960), Just(160), Just(0), Just(true));
    let list = prop_oneof![vec(varied, 1..80), vec(usual, 1..80), vec(constant.boxed(), 1..80)];
    list.prop_map(|list| {
        let sample =
            |(duration, size, cts_offset, is_sync)| SampleInfo { duration, size, cts_offset, is_sync };
        list.into_iter().map(sample).collect()
    })
}

/// The head and, in place of media, as many zeros as the samples are long.
fn whole_fragment(head: &FragmentHead) -> Vec<u8> {
    let mut bytes = head.bytes.clone();
    bytes.resize(usize::try_from(head.total_len).expect("small"), 0);
    bytes
}

fn frame(duration: u32, size: u32, cts_offset: i32, is_sync: bool) -> SampleInfo {
    SampleInfo { duration, size, cts_offset, is_sync }
}

fn head_of(samples: &[SampleInfo]) -> FragmentHead {
    encode_fragment_head(1, &[FragmentTrack { track_id: 1, base_dts: Ticks(0), samples }])
        .expect("a fragment")
}

proptest! {
    #[test]
    fn parsing_is_the_inverse_of_encoding(
        sequence_number: u32,
        tracks in vec((any::<u32>(), 0..i64::MAX, samples()), 1..4),
        trailing in vec(any::<u8>(), 0..40),
    ) {
        let parts: Vec<_> = tracks
            .iter()
            .map(|(track_id, dts, samples)| FragmentTrack { track_id: *track_id, base_dts: Ticks(*dts), samples })
            .collect();
        let head = encode_fragment_head(sequence_number, &parts).expect("a fragment");
        let mut bytes = whole_fragment(&head);
        bytes.extend(trailing);
        let parsed = parse_fragment(&bytes).expect("our own fragment");
        prop_assert_eq!(parsed.sequence_number, sequence_number);
        prop_assert_eq!(parsed.len, head.total_len);
        prop_assert_eq!(parsed.tracks.len(), parts.len());
        let layout = fragment_layout(parts.iter().map(|part| part.samples)).expect("a fragment");
        prop_assert_eq!(layout.head_len, head.bytes.len() as u64);
        for (part, at) in parts.iter().zip(layout.decode_times) {
            let at = usize::try_from(at).expect("small");
            prop_assert_eq!(&bytes[at..at + 8], part.base_dts.0.to_be_bytes());
        }
        for ((parsed, part), offset) in parsed.tracks.iter().zip(&parts).zip(&head.data_offsets) {
            prop_assert_eq!(parsed.track_id, part.track_id);
            prop_assert_eq!(parsed.base_dts, part.base_dts);
            prop_assert_eq!(&parsed.samples, part.samples);
            prop_assert_eq!(parsed.data_offset, *offset);
        }
    }

    #[test]
    fn an_independent_parser_reads_the_same_samples(samples in samples(), dts in 0..i64::MAX) {
        let part = FragmentTrack { track_id: 7, base_dts: Ticks(dts), samples: &samples };
        let head = encode_fragment_head(9, &[part]).expect("a fragment");
        let moof = mp4_atom::Moof::decode(&mut head.bytes.as_slice()).expect("a moof");
        let traf = &moof.traf[0];
        prop_assert_eq!(moof.mfhd.sequence_number, 9);
        prop_assert_eq!(traf.tfhd.track_id, 7);
        prop_assert!(traf.tfhd.default_base_is_moof);
        prop_assert_eq!(traf.tfdt.as_ref().map(|tfdt| tfdt.base_media_decode_time), u64::try_from(dts).ok());
        let trun = &traf.trun[0];
        prop_assert_eq!(trun.data_offset.map(i64::from), i64::try_from(head.data_offsets[0]).ok());
        let read: Vec<_> = trun
            .samples
            .iter()
            .map(|entry| SampleInfo {
                duration: entry.duration.or(traf.tfhd.default_sample_duration).expect("a duration"),
                size: entry.size.or(traf.tfhd.default_sample_size).expect("a size"),
                cts_offset: i32::try_from(entry.cts.unwrap_or(0)).expect("32 bits"),
                is_sync: entry.flags.or(traf.tfhd.default_sample_flags).expect("flags") & 0x1_0000 == 0,
            })
            .collect();
        prop_assert_eq!(read, samples);
    }
}

#[test]
fn the_index_of_a_fragment_is_small() {
    // Four bytes each: only sizes differ.
    let video: Vec<_> = (0..60).map(|i| frame(1500, 1000 + i, 0, i == 0)).collect();
    assert!(head_of(&video).bytes.len() < 60 * 4 + 140);
    // Nothing each: constant bit rate audio.
    let audio = vec![frame(1024, 341, 0, true); 94];
    assert!(head_of(&audio).bytes.len() < 140);
    // B-frames and uneven durations: still no flags.
    let reordered: Vec<_> = (0..60).map(|i| frame(1500 + i % 2 * 90, 1000 + i, 3000, i == 0)).collect();
    assert!(head_of(&reordered).bytes.len() < 60 * 12 + 140);
}

#[test]
fn composition_offsets_are_signed_only_when_one_is_negative() {
    let version_of = |samples: &[SampleInfo]| {
        let head = head_of(samples).bytes;
        let at = head.windows(4).position(|window| window == mp4_atom::Trun::KIND.as_ref()).expect("a trun");
        head[at + 4]
    };
    assert_eq!(version_of(&[frame(1, 1, 5, true), frame(1, 1, 0, false)]), 0);
    assert_eq!(version_of(&[frame(1, 1, 5, true), frame(1, 1, -5, false)]), 1);
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let encode = |dts, samples: &[SampleInfo]| {
        encode_fragment_head(1, &[FragmentTrack { track_id: 1, base_dts: Ticks(dts), samples }]).err()
    };
    assert!(matches!(encode_fragment_head(1, &[]), Err(MuxError::Empty { .. })));
    assert!(matches!(encode(0, &[]), Some(MuxError::Empty { .. })));
    assert!(matches!(encode(-1, &[frame(1, 1, 0, true)]), Some(MuxError::NegativeTime { value: -1, .. })));
    let huge = vec![frame(1, u32::MAX, 0, true); 2];
    assert!(matches!(encode(0, &huge), Some(MuxError::Overflow { .. })));
}

#[test]
fn a_damaged_fragment_is_refused() {
    let samples = [frame(3000, 30, 0, true), frame(3000, 20, 0, false)];
    let whole = whole_fragment(&head_of(&samples));
    for len in 0..whole.len() {
        assert!(parse_fragment(&whole[..len]).is_err(), "cut to {len} bytes");
    }
    // One byte more in the `mdat` than the samples have.
    let mut longer = whole.clone();
    longer.push(0);
    let size_at = head_of(&samples).bytes.len() - 8 + 3;
    longer[size_at] += 1;
    assert!(parse_fragment(&longer).expect_err("does not fit").to_string().contains("the samples end at"));
}
