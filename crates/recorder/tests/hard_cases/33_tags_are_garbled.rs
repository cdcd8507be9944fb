//! Bytes in the middle of a broadcast make no sense: truncated tags, unknown types, broken configurations. Or samples are
//! lost on the way.
//!
//! Kept: every whole sample, at its time; the picture or sound before a loss lasts until the next. Counted: each garbled
//! tag, as `dropped`; more than a second without anything, as `gap`. The connection stays.

use bytes::Bytes;
use mediahooks_media::sample::TrackKind;
use mediahooks_testkit::synthetic::{Source, Tag};

use crate::stage::{Finished, Stage, numbers};
use crate::ticks::{Broadcast, PICTURE, SECOND, SOUND};

/// Six seconds of which some tags are no tags, and how many.
fn garbled() -> (Vec<Tag>, u64) {
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(6));
    let garbage: [&'static [u8]; 6] =
        [b"", b"\x27", b"\x27\x01\x00", b"\x97\x00", b"\xff\xff\xff\xff\xff\xff", b"\x07\x09zzz"];
    let mut count = 0;
    for (place, tag) in tags.iter_mut().enumerate().skip(20).step_by(11) {
        if !tag.is_key() {
            tag.body = Bytes::from_static(garbage[place % garbage.len()]);
            count += 1;
        }
    }
    (tags, count)
}

fn check(stage: &Stage, recording: &Finished, tags: &[Tag], garbled: u64) {
    let kept = recording.pictures().len() + recording.sounds().len();
    assert_eq!(kept as u64, tags.len() as u64 - 2 - garbled);
    for sample in recording.shown() {
        assert_eq!(sample.at_ms, i64::from(sample.number) * 40);
    }
    assert_eq!(stage.count("dropped", &[]), garbled);
    assert!(stage.count("dropped", &[("reason", "malformed_tag")]) > garbled / 3);
}

#[tokio::test]
async fn the_rest_is_kept() {
    let stage = Stage::new().await;
    let (tags, garbled) = garbled();
    stage.broadcast(&tags).await;
    check(&stage, &stage.recording().await, &tags, garbled);
}

#[tokio::test]
async fn the_connection_stays() {
    let stage = Stage::new().await;
    let (tags, garbled) = garbled();
    stage.over_rtmp(&tags).await;
    check(&stage, &stage.recording().await, &tags, garbled);
}

#[tokio::test]
async fn what_is_lost_leaves_the_rest_at_its_time() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(6));
    // Not the key frames, which are every 25th.
    let lost = |tag: &Tag| {
        let picture = [&b"<picture 40>"[..], b"<picture 87>", b"<picture 88>"];
        let sound = [&b"<sound 100>"[..], b"<sound 150>", b"<sound 151>", b"<sound 200>"];
        picture.iter().chain(&sound).any(|lost| tag.body.ends_with(lost))
    };
    tags.retain(|tag| !lost(tag));
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    let shown = recording.shown();
    assert_eq!((shown.len(), recording.sounds().len()), (147, 278));
    for (sample, next) in shown.iter().zip(&shown[1..]) {
        assert_eq!(sample.at_ms, i64::from(sample.number) * 40);
        assert_eq!(sample.until_ms, next.at_ms, "{sample:?}");
    }
    for sample in recording.heard() {
        let early_ms = i64::from(sample.number) * 1024 * 1000 / 48_000 - sample.at_ms;
        assert!((-1..=1).contains(&early_ms), "{sample:?}");
    }
    assert_eq!((stage.count("dropped", &[]), stage.count("jump", &[])), (0, 0));
}

/// Pictures and sound are missing for 0.4 s and for 1.6 s, a key frame among them, as a loss of packets leaves it.
#[tokio::test]
async fn what_a_loss_of_packets_leaves_is_at_its_time() {
    let stage = Stage::new().await;
    let mut broadcast = Broadcast::default();
    broadcast.add(0, 10 * SECOND, (PICTURE, SOUND));
    let tenths = |from: i64, to: i64| from * SECOND / 10..to * SECOND / 10;
    let lost = [tenths(22, 26), tenths(52, 68)];
    let is_sent = |at: i64| !lost.iter().any(|lost| lost.contains(&at));
    let sent = |times: &[i64]| {
        let left = (0u32..).zip(times).filter(|(_, at)| is_sent(**at));
        left.map(|(number, _)| number).collect::<Vec<_>>()
    };
    let times = |kind: TrackKind| match kind {
        TrackKind::Video => &broadcast.pictures,
        TrackKind::Audio => &broadcast.sounds,
    };
    broadcast.send(&stage, 0, |kind, number| is_sent(times(kind)[number])).await;
    let recording = stage.recording().await;
    let (shown, heard) = (recording.shown(), recording.heard());
    assert_eq!(numbers(&shown), sent(&broadcast.pictures));
    assert_eq!(numbers(&heard), sent(&broadcast.sounds));
    broadcast.assert_in_time(&recording);
    // Of the picture before, until the first one after.
    let stays = |number: u32| {
        let sample = shown.iter().find(|sample| sample.number == number).unwrap();
        sample.until_ms - sample.at_ms
    };
    assert_eq!((stays(54), stays(129)), (440, 1640));
    let clip = stage.clips(1_000, 8_000).await.remove(0);
    let wanted = sent(&broadcast.pictures).into_iter().filter(|number| (25..200).contains(number));
    assert_eq!(numbers(&clip.shown()), wanted.collect::<Vec<_>>());
    broadcast.assert_in_time(&clip);
    for kind in ["video", "audio"] {
        // That of more than a second.
        assert_eq!(stage.count("gap", &[("kind", kind)]), 1);
        let ms = stage.count("gap_ms", &[("kind", kind)]);
        assert!((1_600..1_665).contains(&ms), "{kind}: {ms}");
    }
    assert_eq!((stage.count("dropped", &[]), stage.count("jump", &[])), (0, 0));
}
