//! What delivery costs on the real path: the state of an asset changes, its event and deliveries are
//! committed, the sender claims, signs and posts them and records what came of it.
//!
//! `cargo bench -p mediahooks-sender --bench deliveries -- [MODE ...]` with the modes `limit`, `latency`,
//! `one`, `hundred`, `fanout` and `backlog` (all of them when none is named). The endpoints are a minimal
//! HTTP/1.1 server on a thread of its own, whose CPU time is told apart; the load is part of what is
//! measured. `docs/performance.md` has figures and method.

mod house;
mod limit;
mod receiver;
mod usage;

use std::path::Path;
use std::time::{Duration, Instant};

use house::{House, Load};
use receiver::Receiver;
use usage::{Usage, resident_mib};

/// Changes of assets per second in the latency run, and how many.
const CALM_PER_SECOND: u32 = 50;
const CALM_EVENTS: usize = 500;

/// Events of a throughput run.
const EVENTS: usize = 60_000;

/// Changes that are committed at the same time.
const COMMITTERS: usize = 64;

/// Deliveries that wait when the backlog run starts, and how many of them it watches.
const BACKLOG: usize = 1_000_000;
const BACKLOG_WATCHED: usize = 100_000;

fn main() {
    let mut arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // The program starts itself anew on the backlog it prepared.
    if let [mode, path] = arguments.as_slice()
        && mode == "on-backlog"
    {
        return block_on(on_backlog(Path::new(path)));
    }
    if arguments.is_empty() {
        arguments = ["limit", "latency", "one", "hundred", "fanout", "backlog"].map(String::from).to_vec();
    }
    for mode in arguments {
        match mode.as_str() {
            "limit" => block_on(limit::run()),
            "latency" => block_on(latency()),
            "one" => block_on(throughput("1 endpoint", Load::OneEach(1))),
            "hundred" => block_on(throughput("100 endpoints", Load::OneEach(100))),
            "fanout" => block_on(throughput("100 endpoints, all events to each", Load::AllEach(100))),
            "backlog" => backlog(),
            other => eprintln!("there is no mode `{other}`"),
        }
    }
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work);
}

/// From the commit of a change to its request, with nothing else to do.
async fn latency() {
    let receiver = Receiver::start(true);
    let house = House::new(&receiver, Load::OneEach(1)).await;
    let sender = house.send();
    // The first connection, the first statements.
    house.create(0).await;
    receiver.wait_for(1).await;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / CALM_PER_SECOND);
    let mut changes = Vec::new();
    for n in 1..=CALM_EVENTS {
        ticks.tick().await;
        let asked = Instant::now();
        house.create(n).await;
        changes.push((n, asked, Instant::now()));
    }
    receiver.wait_for(CALM_EVENTS + 1).await;
    let arrivals = receiver.arrivals();
    let since = |from: fn(&(usize, Instant, Instant)) -> Instant| {
        let mut all: Vec<f64> = changes
            .iter()
            .map(|change| arrivals[&house::asset_id(change.0)].saturating_duration_since(from(change)))
            .map(|took| took.as_secs_f64() * 1e3)
            .collect();
        all.sort_unstable_by(f64::total_cmp);
        (all[all.len() / 2], all[all.len() * 99 / 100], all[all.len() - 1])
    };
    for (what, (p50, p99, max)) in
        [("commit answered", since(|change| change.2)), ("commit asked for", since(|change| change.1))]
    {
        println!(
            "latency at {CALM_PER_SECOND}/s, {what} → request: p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms"
        );
    }
    sender.stop().await;
}

/// Changes as fast as they are taken, and everything they cause delivered and recorded.
async fn throughput(name: &str, load: Load) {
    let receiver = Receiver::start(false);
    let house = House::new(&receiver, load).await;
    let sender = house.send();
    house.create(0).await;
    house.wait_until_recorded(&receiver, load.deliveries(1)).await;

    let before = (Usage::now(&receiver), house.transactions(), receiver.connections());
    let begin = Instant::now();
    let assets = EVENTS / 2 / load.copies();
    house.run_assets(1, assets, COMMITTERS).await;
    let committed = begin.elapsed();
    let deliveries = load.deliveries(assets * 2);
    house.wait_until_recorded(&receiver, deliveries + load.deliveries(1)).await;
    let (took, used) = (begin.elapsed().as_secs_f64(), Usage::now(&receiver).since(&before.0));
    let thousands = deliveries as f64 / 1000.0;
    println!(
        "{name}: {:.0}/s ({deliveries} deliveries in {took:.2} s; the last change was committed after {:.2} s); \
         per 1,000: {:.3} CPU s ours + {:.3} receiver, {:.1} transactions; {} connections; {:.0} MiB",
        deliveries as f64 / took,
        committed.as_secs_f64(),
        used.ours / thousands,
        used.receiver / thousands,
        (house.transactions() - before.1) as f64 / thousands,
        receiver.connections(),
        resident_mib().0,
    );
    sender.stop().await;
}

/// A million deliveries wait, and the server is started.
fn backlog() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mediahooks.sqlite");
    block_on(async {
        let begin = Instant::now();
        house::owe(&path, BACKLOG).await;
        println!("backlog: {BACKLOG} deliveries written in {:.1} s", begin.elapsed().as_secs_f64());
    });
    let this = std::env::current_exe().unwrap();
    let status = std::process::Command::new(this).arg("on-backlog").arg(&path).status().unwrap();
    assert!(status.success());
}

async fn on_backlog(path: &Path) {
    let receiver = Receiver::start(false);
    let empty = resident_mib().0;
    let begin = Instant::now();
    let house = House::open(path, &receiver).await;
    let opened = begin.elapsed();
    let sender = house.send();
    receiver.wait_for(1).await;
    let first = begin.elapsed();
    println!(
        "backlog: opened after {:.3} s, first request after {:.3} s; {empty:.0} MiB before, {:.0} MiB now",
        opened.as_secs_f64(),
        first.as_secs_f64(),
        resident_mib().0
    );
    let before = Usage::now(&receiver);
    receiver.wait_for(BACKLOG_WATCHED).await;
    let (took, used) = ((begin.elapsed() - first).as_secs_f64(), Usage::now(&receiver).since(&before));
    let (now, peak) = resident_mib();
    let thousands = BACKLOG_WATCHED as f64 / 1000.0;
    println!(
        "backlog: drains at {:.0}/s; per 1,000: {:.3} CPU s ours + {:.3} receiver; {now:.0} MiB now, {peak:.0} MiB at most",
        BACKLOG_WATCHED as f64 / took,
        used.ours / thousands,
        used.receiver / thousands,
    );
    sender.stop().await;
}
