//! How soon a clip is there: from its request to `completed`, and on to the first byte of its file, for 10 s and
//! for 8 h, anywhere in a timeline of 12 h, one after the other and eight at once. Prints what it cost and by how much
//! the memory of the process was more at the peak than before.
//!
//! Run with `cargo bench -p mediahooks-recorder`. The index is that of a broadcast at 60 frames per second with
//! B-frames and AAC; there are no media bytes, as none are read.

// The other bench uses more of it.
#[allow(dead_code)]
mod broadcast;

use std::fmt;
use std::time::{Duration, Instant};

use broadcast::{Broadcast, SECONDS, now};
use futures::StreamExt;
use mediahooks_database::{Database, Options};
use mediahooks_model::{AssetState, Limits, Timestamp};
use mediahooks_recorder::{ClipRequest, Download, Recorder, RecorderSettings};
use mediahooks_storage::DiskStorage;

/// They are of the header; there are no stored bytes here.
const FIRST_BYTES: u64 = 1024;

/// Clips that are made and read together.
const AT_ONCE: u64 = 8;

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let database =
        Database::open(&directory.path().join("bench.db"), Options::default()).expect("a database");
    database.account_or_create("dkxfvY".parse().expect("an id"), now()).await.expect("an account");
    let begun = now().minus(Duration::from_secs(SECONDS));
    Broadcast { number: 1, stream: "stage", begun }.store(&database).await;
    let storage = DiskStorage::open(directory.path().join("media")).expect("a directory");
    let recorder = Recorder::open(database, storage, RecorderSettings::from(Limits::default()))
        .await
        .expect("a recorder");
    for (length_s, places) in [(10, 200), (8 * 3600, 12)] {
        let memory = Memory::now();
        let (mut completed, mut first_bytes) = (Vec::new(), Vec::new());
        for place in 0..places {
            let from_s = (SECONDS - length_s) * place / places;
            let (_, [complete, first_byte]) = clip(&recorder, begun, from_s, length_s).await;
            completed.push(complete);
            first_bytes.push(first_byte);
        }
        println!("{length_s} s: completed {}", words(completed));
        println!("{length_s} s: first byte {}; {memory}", words(first_bytes));
    }
    let length_s = 8 * 3600;
    let (memory, asked) = (Memory::now(), Instant::now());
    let clips = (0..AT_ONCE).map(|place| {
        let recorder = recorder.clone();
        let from_s = (SECONDS - length_s) * place / AT_ONCE + 1;
        tokio::spawn(async move { clip(&recorder, begun, from_s, length_s).await })
    });
    let clips = futures::future::join_all(clips).await;
    println!(
        "{AT_ONCE} at once of {length_s} s, all open: {:.0} ms; {memory}",
        asked.elapsed().as_secs_f64() * 1e3
    );
    drop(clips);
}

/// Makes a clip and opens its file: that, and how long it took until it was complete and until the first bytes.
async fn clip(
    recorder: &Recorder,
    begun: Timestamp,
    from_s: u64,
    length_s: u64,
) -> (Download, [Duration; 2]) {
    let asked = Instant::now();
    let request = request(begun.plus_micros(from_s as i64 * 1_000_000 + 20_000), length_s);
    let clip = recorder.create_clips(request).await.expect("a clip").remove(0);
    assert!(matches!(clip.state, AssetState::Complete { .. }), "{clip:?}");
    let completed = asked.elapsed();
    let download = recorder.open_download(clip.id).await.expect("a file");
    let piece = Box::pin(download.read(0..FIRST_BYTES)).next().await.expect("a piece").expect("bytes");
    assert!(!piece.is_empty());
    (download, [completed, asked.elapsed()])
}

fn words(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    format!("p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms", at(0.5), at(0.99), at(1.0))
}

fn request(start: Timestamp, length_s: u64) -> ClipRequest {
    ClipRequest {
        stop: Some(start.plus(Duration::from_secs(length_s))),
        ..ClipRequest::new("stage".parse().expect("a name"), start, now())
    }
}

/// The memory that this process had at some moment; from Linux, elsewhere nothing.
struct Memory {
    resident_kib: u64,
}

impl Memory {
    /// What it has now. What is the most of it is counted from here.
    fn now() -> Self {
        // Tells the kernel to forget the peak up to now.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self { resident_kib: of_status("VmRSS:") }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = |now: u64| now.saturating_sub(self.resident_kib) / 1024;
        let (peak, now) = (more(of_status("VmHWM:")), more(of_status("VmRSS:")));
        write!(f, "{} MiB, {peak} more at the peak, {now} after", self.resident_kib / 1024)
    }
}

/// A figure of this process, in KiB.
fn of_status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let figure = status.lines().find_map(|line| line.strip_prefix(name));
    figure.and_then(|figure| figure.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
