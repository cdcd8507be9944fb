//! The first thing a newcomer runs, as a newcomer runs it.

mod support;

use mediahooks_testkit::ffmpeg;
use support::{redact, run};

#[tokio::test]
async fn the_demo_shows_every_hook_and_leaves_two_files() {
    let directory = tempfile::tempdir().unwrap();
    let outcome = run(&["demo", "--output", directory.path().to_str().unwrap()], &[]).await;
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.stderr, "", "nothing went wrong on the way");
    assert!(!outcome.stdout.contains('\x1b'), "colours are for terminals");

    let text = redact(&outcome.stdout);
    for hook in [
        "feeds.started",
        "media.processing  recording",
        "media.processing  clip",
        "media.completed   clip",
        "feeds.ended",
        "media.completed   recording",
        "media.deleted     recording",
        "media.deleted     clip",
    ] {
        let line =
            text.lines().find(|line| line.contains(hook)).unwrap_or_else(|| panic!("no {hook}:\n{text}"));
        assert!(line.contains("verified sha256"), "{line}");
    }
    assert!(text.contains("All 8 webhooks came, in order and verified."), "{text}");

    let mut frames: Vec<Vec<u32>> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| ffmpeg::frame_numbers(&ffmpeg::ffmpeg(), &entry.unwrap().path()))
        .collect();
    frames.sort_by_key(Vec::len);
    let [clip, recording] = &frames[..] else { panic!("{} files", frames.len()) };
    assert_eq!(*recording, (0..360).collect::<Vec<_>>());
    assert!(clip.len() > 100 && clip.windows(2).all(|pair| pair[1] == pair[0] + 1), "{clip:?}");
}
