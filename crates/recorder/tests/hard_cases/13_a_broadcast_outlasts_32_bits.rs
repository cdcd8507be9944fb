//! A broadcast of 27 hours: longer than 32 and than 33 bits of 90 kHz ticks (13.25 h and 26.5 h), than a signed 32-bit
//! number of microseconds, and than `recording_max` (24 h).
//!
//! Kept: every picture, in two recordings of which the first is a day long; its boxes hold the long times.
//! Covers case 34 (a stream of more than a day), too.

use mediahooks_model::Limits;
use mediahooks_testkit::player::moov;
use mediahooks_testkit::synthetic::Source;

use crate::common::token;
use crate::stage::{Stage, numbers};

#[tokio::test]
async fn times_are_right_after_a_day() {
    let stage = Stage::with(token(), Limits::default()).await;
    let mut source = Source { picture_us: 60_000_000, group: 1, audio: false, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(27 * 3600));
    stage.broadcast(&tags).await;
    let recordings = stage.recordings().await;
    let lengths: Vec<i64> = recordings.iter().map(|recording| recording.duration_ms() / 60_000).collect();
    assert_eq!(lengths.iter().sum::<i64>(), 27 * 60 - 1, "{lengths:?}: the last picture has no end");
    let pictures: Vec<u32> = recordings.iter().flat_map(|recording| recording.pictures()).collect();
    assert_eq!(pictures, (0..1620).collect::<Vec<_>>());
    let day = &recordings[0];
    assert!((1439..=1440).contains(&lengths[0]), "{lengths:?}");
    let shown = day.shown();
    assert_eq!(numbers(&shown).len(), day.pictures().len());
    for sample in &shown {
        assert_eq!(sample.at_ms, i64::from(sample.number) * 60_000);
    }
    let moov = moov(&day.file);
    let ticks = moov.trak[0].mdia.mdhd.duration;
    assert!(ticks > u64::from(u32::MAX), "{ticks} ticks");
    // Clips from near the day's end, and from where 33 bits are full.
    for (minute, pictures) in [(1380, 1380..1390), (1585, 1585..1595)] {
        let clip = &stage.clips(minute * 60_000, (minute + 10) * 60_000).await[0];
        assert_eq!(numbers(&clip.shown()), pictures.collect::<Vec<_>>());
    }
}
