//! The encoder's clock and the server's drift apart, by 800 ppm: half a second in ten minutes.
//!
//! Kept: everything, with sound and picture in step, as both are on the encoder's clock. Clips by wall clock
//! stay right within a frame to the end.

use mediahooks_testkit::synthetic::Source;

use crate::stage::{Finished, Sample, Stage};

#[tokio::test]
async fn clips_are_right_to_the_end() {
    let stage = Stage::new().await;
    let mut source = Source { picture_us: 200_000, group: 5, audio: false, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(600));
    for tag in &mut tags {
        // A second of the encoder takes less than one of ours.
        tag.sent_us -= tag.sent_us * 800 / 1_000_000;
    }
    stage.broadcast(&tags).await;
    for at_ms in [30_000, 300_000, 590_000] {
        let clips = stage.clips(at_ms, at_ms + 4000).await;
        let shown = clips[0].shown();
        // The one before is on screen when it begins, unless the first one of it comes at once.
        let held = usize::from(shown[1].at_ms < 190);
        let first = shown[held].number;
        // By our clock, picture n is sent at n * 200 ms * 0.9992.
        let wanted = (at_ms as f64 / 199.84).ceil() as i64;
        assert!((i64::from(first) - wanted).abs() <= 1, "{first} instead of {wanted} at {at_ms} ms");
    }
    assert_eq!(stage.recording().await.pictures().len(), 3000);
    assert_eq!(stage.count("jump", &[]), 0);
}

/// Pictures of 29.97 Hz and sound of 44.1 kHz: neither has a whole number of milliseconds, which RTMP rounds to.
#[tokio::test]
async fn sound_and_picture_are_in_step_at_both_ends_of_two_hours() {
    const PICTURE_US: i64 = 33_367;
    const TWO_HOURS_S: i64 = 7200;
    let stage = Stage::new().await;
    let mut source = Source { picture_us: PICTURE_US, group: 60, sample_rate: 44_100, ..Source::default() };
    let mut publisher = stage.publish("stage", &[]).await;
    stage.push(&mut publisher, &source.headers()).await;
    for _ in 0..TWO_HOURS_S / 10 {
        stage.push(&mut publisher, &source.seconds(10)).await;
    }
    stage.end(publisher).await;

    // How much later than the pictures the sound is played, at its worst, where samples have been `near`.
    let late_ms = |file: &Finished, near: fn(&[Sample]) -> Vec<Sample>| -> f64 {
        let lag = |at_ms: i64, sent_us: f64| at_ms as f64 - sent_us / 1000.0;
        let pictures = near(&file.shown());
        let sounds = near(&file.heard());
        let of_pictures = pictures.iter().map(|p| lag(p.at_ms, f64::from(p.number) * PICTURE_US as f64));
        let of_sounds = sounds.iter().map(|s| lag(s.at_ms, f64::from(s.number) * 1024e6 / 44_100.0));
        let (of_pictures, of_sounds): (Vec<_>, Vec<_>) = (of_pictures.collect(), of_sounds.collect());
        let most = |lags: &[f64]| lags.iter().copied().fold(f64::MIN, f64::max);
        let least = |lags: &[f64]| lags.iter().copied().fold(f64::MAX, f64::min);
        (most(&of_sounds) - least(&of_pictures)).max(most(&of_pictures) - least(&of_sounds))
    };
    let recording = stage.recording().await;
    let sent_ms = source.pictures() * PICTURE_US / 1000;
    assert!((recording.duration_ms() - sent_ms).abs() < 50, "{} of {sent_ms} ms", recording.duration_ms());
    let begin = late_ms(&recording, |samples| samples[1..200].to_vec());
    let end = late_ms(&recording, |samples| samples[samples.len() - 200..].to_vec());
    assert!(begin < 10.0 && end < 10.0, "{begin} ms, {end} ms");

    for at_ms in [2_000, TWO_HOURS_S * 1000 - 12_000] {
        let clip = &stage.clips(at_ms, at_ms + 10_000).await[0];
        let late = late_ms(clip, |samples| samples[1..samples.len() - 1].to_vec());
        assert!(late < 10.0, "{late} ms in the clip at {at_ms} ms");
    }
}
