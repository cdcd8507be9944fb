//! Fragments that are made when they are read are those that a file would keep, or an error.

use bytes::Bytes;
use mediahooks_media::cmaf::{
    FragmentSamples, FragmentSpan, FragmentedBuilder, FragmentedMp4, FragmentedTrack, SourceSpan,
};
use mediahooks_media::codec::CodecConfig;
use mediahooks_media::sample::{SampleInfo, Ticks, TrackConfig};
use mediahooks_media::virtual_file::{Extent, Piece, PieceError, VirtualFile};

/// Two segments, the second one of another configuration.
#[derive(Debug, Clone)]
struct Samples([Vec<SourceSpan>; 2]);

impl FragmentSamples for Samples {
    fn read(&self, source: u32) -> Result<Vec<SourceSpan>, PieceError> {
        let spans = self.0.get(source as usize).cloned();
        spans.ok_or_else(|| PieceError { reason: "there is no such segment".to_owned() })
    }

    fn weight(&self) -> usize {
        0
    }
}

fn samples() -> Samples {
    let pictures = |count: u32| -> Vec<SampleInfo> {
        let picture = |number: u32| SampleInfo {
            duration: 3000,
            size: 100 + number,
            cts_offset: i32::try_from(number % 3 * 3000).unwrap(),
            is_sync: number.is_multiple_of(4),
        };
        (0..count).map(picture).collect()
    };
    let sounds: Vec<SampleInfo> = (0..9)
        .map(|size| SampleInfo { duration: 1024, size: 20 + size, cts_offset: 0, is_sync: true })
        .collect();
    let spans = |config, count| {
        vec![
            SourceSpan { track: 0, config, offset: 500, samples: pictures(count) },
            SourceSpan { track: 1, config: 0, offset: 5000, samples: sounds.clone() },
        ]
    };
    Samples([spans(0, 8), spans(1, 10)])
}

fn configs() -> [Vec<TrackConfig>; 2] {
    let h264 = |avcc: &str| {
        let codec = CodecConfig::h264(Bytes::from(hex::decode(avcc).unwrap())).unwrap();
        TrackConfig::new(90_000, codec)
    };
    let aac = CodecConfig::aac(Bytes::from_static(&[0x11, 0x90])).unwrap();
    [
        vec![
            h264("014d400dffe10019674d400deca0a0cfcf8088000003000800000301e078a14cb001000568ebe3cb20"),
            h264(
                "0164000dffe1001a6764000dacd941519e226c0440000003004000000f03c50a658001000668ebe3cb22c0fdf8f800",
            ),
        ],
        vec![TrackConfig::new(48_000, aac)],
    ]
}

fn file(samples: &Samples, read: Samples, is_kept: bool) -> FragmentedMp4<Samples> {
    let configs = configs();
    let tracks: Vec<FragmentedTrack<'_>> = (1..)
        .zip(&configs)
        .map(|(track_id, configs)| FragmentedTrack { track_id, configs, edit: None })
        .collect();
    let mut builder = FragmentedBuilder::new(&tracks, 0).unwrap();
    for (source, spans) in (0..).zip(&samples.0) {
        let spans: Vec<FragmentSpan<'_>> = spans
            .iter()
            .map(|span| FragmentSpan {
                track: span.track,
                config: span.config,
                base_dts: Ticks(i64::from(source) * 90_000),
                offset: span.offset,
                samples: &span.samples,
            })
            .collect();
        if is_kept {
            builder.push_made(source, &spans).unwrap();
        } else {
            builder.push_remade(source, &spans).unwrap();
        }
    }
    builder.finish(read, 1000, Ticks(180_000)).unwrap()
}

/// More bytes than a file has.
const WHOLE: u64 = 1 << 32;

/// What is generated, and places of the rest, in steps of at most `step` bytes.
fn pieces(file: &impl VirtualFile, step: u64) -> Vec<(Option<u8>, u32, u64)> {
    let mut all = Vec::new();
    while (all.len() as u64) < file.len() {
        let at = all.len() as u64;
        match file.piece(at..file.len().min(at + step)).unwrap() {
            Piece::Bytes(bytes) => all.extend(bytes.iter().map(|byte| (Some(*byte), 0, 0))),
            Piece::Extent(Extent { source, offset, len }) => {
                all.extend((offset..offset + len).map(|offset| (None, source, offset)));
            }
        }
    }
    all
}

#[test]
fn what_is_made_again_is_what_a_file_would_keep() {
    let (samples, mut read) = (samples(), samples());
    // How long the last one lasts is told when the file is planned.
    read.0.iter_mut().flatten().for_each(|span| span.samples.last_mut().unwrap().duration = 7);
    let kept = pieces(&file(&samples, read.clone(), true), WHOLE);
    for step in [1, 7, 100, WHOLE] {
        assert!(pieces(&file(&samples, read.clone(), false), step) == kept, "{step}");
    }
}

#[test]
fn other_samples_than_were_planned_are_told() {
    let damage: [fn(&mut Samples); 3] = [
        |samples| samples.0[1][0].samples[0].size += 1,
        |samples| samples.0[1].truncate(1),
        |samples| samples.0[1][0].samples.clear(),
    ];
    for damage in damage {
        let mut read = samples();
        damage(&mut read);
        let file = file(&samples(), read, false);
        let second = file.fragments().nth(1).unwrap();
        assert!(file.piece(second.clone()).is_err());
        assert!(file.piece(0..second.start).is_ok());
    }
}
