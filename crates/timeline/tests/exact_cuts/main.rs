//! Clips of encoded broadcasts, decoded: the frames that are shown are those of the range, by the numbers in
//! their pictures, and the sound is in time with them. `MEDIAHOOKS_WHOLE_MATRIX=1` cuts every kind of
//! broadcast; else a few that differ in everything. Encoded files stay in the target directory.

mod broadcast;
mod browser;
mod chromium;
mod webm;

use std::path::Path;
use std::process::Command;

use broadcast::{Broadcast, Format, Recording, clip};
use mediahooks_model::CutMode;
use mediahooks_testkit::ffmpeg::{complaints, ffmpeg, ffmpeg9, frame_numbers};
use mediahooks_testkit::mp4box;

const SECOND: i64 = 1_000_000;

macro_rules! h264 {
    ($group:literal, $reordered:literal) => {
        &[
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-g",
            $group,
            "-keyint_min",
            $group,
            "-sc_threshold",
            "0",
            "-bf",
            $reordered,
            "-pix_fmt",
            "yuv420p",
            "-c:a",
            "aac",
            "-b:a",
            "64k",
        ]
    };
}

// It uses the macro.
mod pauses;

const fn h264(
    name: &'static str,
    rate: &'static str,
    kept: &'static str,
    codecs: &'static [&'static str],
) -> Recording {
    Recording { name, rate, seconds: 12, size: "256x144", kept, codecs, encoder: ffmpeg }
}

/// Frames that come irregularly: two of three, one of five and one of seven of them, for some time each.
const IRREGULAR: &str = "if(lt(mod(n,90),30),mod(n,3),if(lt(mod(n,90),60),not(mod(n,5)),not(mod(n,7))))";

/// Groups of 1, 2 and 10 s, with and without reordering, at every usual rate.
const QUICK: [Recording; 4] = [
    h264("25-2s-b2", "25", "", h264!("50", "2")),
    h264("29.97-10s-b2", "30000/1001", "", h264!("300", "2")),
    h264("60-1s", "60", "", h264!("60", "0")),
    h264("vfr-2s-b2", "30", IRREGULAR, h264!("30", "2")),
];

const WHOLE: [Recording; 10] = [
    h264("25-1s", "25", "", h264!("25", "0")),
    h264("25-10s", "25", "", h264!("250", "0")),
    h264("25-1s-b3", "25", "", h264!("25", "3")),
    h264("29.97-1s-b2", "30000/1001", "", h264!("30", "2")),
    h264("29.97-2s", "30000/1001", "", h264!("60", "0")),
    h264("30-1s-b2", "30", "", h264!("30", "2")),
    h264("30-2s-b3", "30", "", h264!("60", "3")),
    h264("30-10s-b2", "30", "", h264!("300", "2")),
    h264("60-2s-b2", "60", "", h264!("120", "2")),
    h264("vfr-10s", "30", IRREGULAR, h264!("150", "0")),
];

/// Ranges in milliseconds: on and between frames, within and over groups, and nearly all.
const RANGES_MS: [(i64, i64); 6] =
    [(1000, 2000), (337, 1861), (2957, 5003), (3001, 3999), (5480, 9513), (41, 11_700)];

#[test]
fn the_first_and_the_last_frame_are_those_of_the_range() {
    let whole = std::env::var_os("MEDIAHOOKS_WHOLE_MATRIX").is_some();
    let recordings = QUICK.iter().chain(WHOLE.iter().filter(|_| whole));
    for recording in recordings {
        let broadcast = recording.broadcast();
        let ranges = RANGES_MS.iter().take(if whole { RANGES_MS.len() } else { 4 });
        for &(from_ms, to_ms) in ranges {
            let range = (from_ms * 1000, to_ms * 1000);
            let formats = if whole || from_ms % 2 == 1 { 2 } else { 1 };
            for &format in [Format::Mp4, Format::Fragmented].iter().take(formats) {
                let name = format!("{} {from_ms}-{to_ms} {format:?}", broadcast.name);
                let (movie, path) = clip(&name, &[(&broadcast, Some(range))], CutMode::Frame, false, format);
                let (shown, wanted) =
                    (frame_numbers(&ffmpeg(), &path), broadcast.on_screen(range.0, range.1));
                assert_eq!(shown, wanted, "{name}");
                if format == Format::Fragmented {
                    assert_eq!(frame_numbers(&ffmpeg9(), &path), wanted, "{name}");
                }
                assert_eq!(complaints(&ffmpeg(), &path), "", "{name}");
                mp4box::finds_nothing_wrong(&path);
                let beeps = sound_is_in_time(&broadcast, range.0, &path, &name);
                assert!(to_ms - from_ms < 2000 || beeps > 0, "{name}");
                let played_us = i64::try_from(movie.metadata.duration_ms.unwrap()).unwrap() * 1000;
                assert!((played_us - (range.1 - range.0)).abs() < SECOND / 4, "{name}: {played_us}");
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

/// The beep of a second is heard when the frame of that second is shown. Returns how many were.
fn sound_is_in_time(broadcast: &Broadcast, from_us: i64, path: &Path, name: &str) -> usize {
    let first_us = broadcast.frames.iter().map(|(us, _)| *us).find(|us| *us >= from_us).unwrap();
    // Where the picture before stays for some time, the file begins at once.
    let first_us = if first_us - from_us <= 50_000 { first_us } else { from_us };
    // When frame 0 was shown or would have been: the encoder's time 0.
    let (us, number) = broadcast.frames[0];
    let zero_us = us - i64::from(number) * broadcast.frame_us;
    let beeps = beeps_us(path);
    for beep_us in &beeps {
        let late_us = (first_us + beep_us - zero_us + SECOND / 2).rem_euclid(SECOND) - SECOND / 2;
        assert!(late_us.abs() <= 10_000, "{name}: a beep is {late_us} µs late");
    }
    beeps.len()
}

/// When beeps begin in a file, in microseconds; not those that had begun before it.
fn beeps_us(path: &Path) -> Vec<i64> {
    let mut command = Command::new(ffmpeg());
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"]).arg(path);
    command.args(["-map", "0:a", "-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", "48000"]);
    let output = command.args(["-f", "s16le", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let loud = output
        .stdout
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs() > 2000);
    let (mut beeps, mut heard) = (Vec::new(), -SECOND);
    for (sample, loud) in (0i64..).zip(loud) {
        if loud && sample - heard > 12_000 && sample > 500 {
            beeps.push(sample * SECOND / 48_000);
        }
        if loud {
            heard = sample;
        }
    }
    beeps
}

#[test]
fn a_clip_over_runs_of_different_size_shows_all_of_both_in_time() {
    let (small, large) = (QUICK[0].broadcast(), LARGE.broadcast());
    let cases = [Format::Mp4, Format::Fragmented];
    let cases = cases.map(|format| [(false, format, "joined collapsed"), (true, format, "joined held")]);
    for (hold, format, name) in cases.into_iter().flatten() {
        let parts = [(&small, Some((2 * SECOND, 12_080_000))), (&large, None)];
        let (movie, path) = clip(name, &parts, CutMode::Frame, hold, format);
        let shown = frame_numbers_of_any_size(&path);
        let expected = [small.numbers(2 * SECOND, 12_080_000), large.numbers(0, 60 * SECOND)].concat();
        assert_eq!(shown, expected, "{name} {format:?}");
        assert_eq!(complaints(&ffmpeg(), &path), "", "{name} {format:?}");
        mp4box::finds_nothing_wrong(&path);
        assert_eq!(movie.metadata.gaps.len(), 1);
    }
}

/// From pictures that are stored in order to reordered ones, and back; from the first picture on, and from one in the
/// middle of a group.
#[test]
fn a_held_break_lasts_as_long_for_every_reader() {
    let (plain, reordered) = (PLAIN.broadcast(), QUICK[0].broadcast());
    for (first, second) in [(&plain, &reordered), (&reordered, &plain)] {
        for begins_us in [0, 1_130_000] {
            // From a key frame on, six seconds after the other one began.
            let goes_on_us = second.frames.iter().find(|(_, number)| *number == 150).unwrap().0;
            let (ends_us, to_us) = (3 * SECOND + 200_000, goes_on_us + 3 * SECOND);
            let parts = [(first, Some((begins_us, ends_us))), (second, Some((goes_on_us, to_us)))];
            let wanted = [first.numbers(begins_us, ends_us), second.numbers(goes_on_us, to_us)].concat();
            for format in [Format::Mp4, Format::Fragmented] {
                let name = format!("held {} {begins_us}", first.name);
                let (movie, path) = clip(&name, &parts, CutMode::Frame, true, format);
                let gap_us = i64::try_from(movie.metadata.gaps[0].duration_ms).unwrap() * 1000;
                for program in [ffmpeg(), ffmpeg9()] {
                    assert_eq!(frame_numbers(&program, &path), wanted, "{name} {format:?}");
                    let times = times_us(&program, &path);
                    let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
                    let (long, usual): (Vec<i64>, Vec<i64>) = steps.partition(|step| *step > 41_000);
                    assert!(usual.iter().all(|step| *step > 39_000), "{name} {format:?}: {times:?}");
                    assert!(
                        matches!(long[..], [step] if step >= gap_us),
                        "{name} {format:?}: {long:?}, {gap_us}"
                    );
                }
                mp4box::finds_nothing_wrong(&path);
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

/// When a program shows the pictures of a file, in microseconds.
fn times_us(program: &Path, path: &Path) -> Vec<i64> {
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"]).arg(path);
    command.args(["-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "1/1000000"]);
    let output = command.args(["-f", "framecrc", "-"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let frames = text.lines().filter(|line| !line.starts_with('#'));
    frames.map(|line| line.split(',').nth(2).unwrap().trim().parse().unwrap()).collect()
}

/// 25 frames per second without reordering.
const PLAIN: Recording = h264("25-2s", "25", "", h264!("50", "0"));

/// 25 frames per second, but larger pictures than those of [`QUICK`]'s first.
const LARGE: Recording =
    Recording { size: "384x216", seconds: 4, ..h264("25-large", "25", "", h264!("25", "0")) };

/// As [`frame_numbers`], where ffmpeg would scale later pictures to the size of the first.
fn frame_numbers_of_any_size(path: &Path) -> Vec<u32> {
    let mut command = Command::new(ffmpeg());
    command
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"])
        .arg(path)
        .args(["-autoscale", "0"]);
    command.args([
        "-map",
        "0:v:0",
        "-vf",
        "crop=256:16:0:0,scale=16:1:flags=area",
        "-fps_mode",
        "passthrough",
    ]);
    let output = command.args(["-pix_fmt", "gray", "-f", "rawvideo", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let number = |row: &[u8]| {
        row.iter().enumerate().fold(0, |number, (bit, luma)| number | (u32::from(*luma > 127) << bit))
    };
    output.stdout.chunks_exact(16).map(number).collect()
}
