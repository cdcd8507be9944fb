//! Daylight saving ends: local time shows an hour twice.
//!
//! Nothing here is named or ordered by local time: both recordings are kept, and their files have different
//! names in UTC. Tried in Berlin, on the last Sunday of October.

use std::process::Command;

use mediahooks_testkit::synthetic::{SimulatedClock, Source};

use crate::stage::Stage;

/// 2023-10-29T00:30:00Z: half past two in Berlin, for the first time.
const HALF_PAST_TWO_S: i64 = 1_698_539_400;

/// The zone of a process is set when it begins.
#[test]
fn recordings_an_hour_apart_do_not_meet() {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", "case_11::in_berlin", "--ignored", "--nocapture"]).env("TZ", "Europe/Berlin");
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[tokio::test]
#[ignore = "the test above runs it, in another zone"]
async fn in_berlin() {
    for at_s in [HALF_PAST_TWO_S, HALF_PAST_TWO_S + 3600] {
        let shown = Command::new("date").args([&format!("-d@{at_s}"), "+%d %H:%M"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), "29 02:30", "the zone is known");
    }
    let stage = Stage::new().await;
    stage.clock.0.set_wall(HALF_PAST_TWO_S * 1_000_000 - SimulatedClock::new().wall_us());
    for _ in 0..2 {
        let mut source = Source { audio: false, ..Source::default() };
        let mut tags = source.headers();
        tags.extend(source.seconds(2));
        stage.broadcast(&tags).await;
        stage.clock.0.pass_until(3_600_000_000);
    }
    let recordings = stage.recordings().await;
    assert_eq!(recordings.len(), 2);
    let (mut names, mut objects) = (Vec::new(), Vec::new());
    for recording in &recordings {
        assert_eq!(recording.pictures(), (0..50).collect::<Vec<_>>());
        let id = recording.asset.id;
        names.push(stage.bench.recorder.open_download(id).await.unwrap().file_name);
        let exported = stage.bench.recorder.export(id).await.unwrap().done().await.unwrap();
        assert!(std::fs::read(&exported.path).unwrap() == recording.file);
        objects.push(exported.path);
    }
    assert_eq!(names, ["stage 2023-10-29T00-30-00Z.mp4", "stage 2023-10-29T01-30-00Z.mp4"]);
    assert_ne!(objects[0], objects[1]);
}
