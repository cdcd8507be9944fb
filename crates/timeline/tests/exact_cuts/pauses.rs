//! Slides, few pictures a second, cameras that stall: at each moment of a clip is shown what was on screen then.

use std::path::Path;
use std::process::Command;

use mediahooks_model::CutMode;
use mediahooks_testkit::ffmpeg::{complaints, ffmpeg, ffmpeg9, frame_numbers};
use mediahooks_testkit::mp4box;

use super::broadcast::{Broadcast, Format, Recording, clip};
use super::{h264, sound_is_in_time};

const PAUSES: [Recording; 4] = [
    h264("slides", "30", "not(mod(n,120))", h264!("2", "0")),
    h264("1-a-second", "30", "not(mod(n,30))", h264!("5", "0")),
    h264("5-a-second-b2", "30", "not(mod(n,6))", h264!("10", "2")),
    h264("stalls-b2", "30", "lt(mod(n,150),61)", h264!("30", "2")),
];

/// On pictures and between them, in pauses and over them.
const RANGES_MS: [(i64, i64); 5] = [(2500, 3700), (3300, 7650), (4100, 7900), (5010, 8500), (1337, 7907)];

/// What is on screen when, after the clip's start in microseconds.
fn screen(broadcast: &Broadcast, from_us: i64, to_us: i64) -> Vec<(i64, u32)> {
    let numbers = broadcast.on_screen(from_us, to_us);
    let at = |number: &u32| broadcast.frames.iter().find(|(_, own)| own == number).unwrap().0;
    let begins = at(&numbers[0]).max(from_us);
    numbers.iter().map(|number| ((at(number) - begins).max(0), *number)).collect()
}

/// When the pictures of a file are shown, in microseconds.
fn times(path: &Path) -> Vec<i64> {
    let mut command = Command::new("ffprobe");
    command.args(["-loglevel", "error", "-select_streams", "v:0", "-show_entries", "frame=pts_time"]);
    let output = command.args(["-of", "csv=p=0"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let seconds = text.lines().filter_map(|line| line.split(',').next()?.parse::<f64>().ok());
    seconds.map(|seconds| (seconds * 1e6).round() as i64).collect()
}

#[test]
fn a_clip_shows_at_each_moment_what_was_on_screen() {
    for recording in PAUSES {
        let broadcast = recording.broadcast();
        for (from_ms, to_ms) in RANGES_MS {
            let (from_us, to_us) = (from_ms * 1000, to_ms * 1000);
            let wanted = screen(&broadcast, from_us, to_us);
            let numbers: Vec<u32> = wanted.iter().map(|(_, number)| *number).collect();
            for format in [Format::Mp4, Format::Fragmented] {
                let name = format!("{} {from_ms}-{to_ms} {format:?}", broadcast.name);
                let range = Some((from_us, to_us));
                let (movie, path) = clip(&name, &[(&broadcast, range)], CutMode::Frame, false, format);
                for program in [ffmpeg(), ffmpeg9()] {
                    assert_eq!(frame_numbers(&program, &path), numbers, "{name}");
                }
                let seen = times(&path);
                assert_eq!(seen.len(), wanted.len(), "{name}: {seen:?}");
                for (seen, (at, number)) in seen.iter().zip(&wanted) {
                    assert!((seen - at).abs() <= 2000, "{name}: {number} at {seen}, not {at}");
                }
                // FFmpeg 5 wants to see more of a fragmented file before it knows its pictures than there is.
                let program = if format == Format::Mp4 { ffmpeg() } else { ffmpeg9() };
                assert_eq!(complaints(&program, &path), "", "{name}");
                mp4box::finds_nothing_wrong(&path);
                sound_is_in_time(&broadcast, from_us, &path, &name);
                let lasts_us = i64::try_from(movie.metadata.duration_ms.unwrap()).unwrap() * 1000;
                assert!((lasts_us - (to_us - from_us)).abs() <= 51_000, "{name}: {lasts_us}");
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}
