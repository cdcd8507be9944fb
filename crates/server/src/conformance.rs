//! `mediahooks conformance-receiver`: a hostile endpoint that anyone can point a webhook sender at.
//!
//! Prints what there is to try, then what each sender did. Knows nothing of who sends.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use mediahooks_hostile::mode::LINES;
use mediahooks_hostile::{Door, Event, Hostile, Mode};

use crate::cli::print;
use crate::output::failure::Failure;
use crate::output::human;
use crate::output::style::{Style, Tone};

/// `mediahooks conformance-receiver`
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ConformanceArgs {
    /// Where plain HTTP is served; the ports after it are for TLS, each of its own kind.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// Write the authority behind its certificates, and a client certificate with its key, into this directory.
    #[arg(long, value_name = "DIR")]
    certificates: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Each path misbehaves in its own way: it hangs, drips, floods, breaks off or redirects. Point a sender at one of them, \
send it an event, and see what it does; what a good sender does is printed beside it. Its certificates are made at \
every start.";

/// Misbehaves until a signal comes.
pub async fn run(args: ConformanceArgs) -> anyhow::Result<()> {
    let started = Hostile::start(args.listen.ip(), args.listen.port()).await;
    let (hostile, mut events) = started.map_err(|error| {
        Failure::new(format!("cannot listen on {} and the ports after it", args.listen))
            .caused_by(&error)
            .advise("choose another address with --listen; port 0 takes free ones")
    })?;
    if let Some(directory) = &args.certificates {
        write_certificates(directory, &hostile).map_err(|error| {
            Failure::new(format!("cannot write certificates into {}", directory.display())).caused_by(&error)
        })?;
    }
    let style = Style::of_stdout();
    print(&introduction(style, &hostile))?;
    let told = async {
        while let Some(event) = events.recv().await {
            print(&format!("{}\n", line(style, &event)))?;
        }
        Ok(())
    };
    tokio::select! {
        outcome = told => outcome,
        outcome = crate::serve::until_signal() => outcome,
    }
}

fn write_certificates(directory: &std::path::Path, hostile: &Hostile) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let pems = hostile.pems();
    std::fs::write(directory.join("ca.pem"), &pems.authority)?;
    std::fs::write(directory.join("client.pem"), &pems.client_certificate)?;
    std::fs::write(directory.join("client.key"), &pems.client_key)
}

fn introduction(style: Style, hostile: &Hostile) -> String {
    let mut text = String::from("A hostile endpoint for webhook senders\n\n");
    for door in Door::ALL {
        text.push_str(&format!("  {:<32} {}\n", hostile.url(door, ""), door.describe()));
    }
    let title = format!("  {:<21} {:<38} {}", "path", "what it does", "a good sender");
    text.push_str(&format!("\n{}\n", style.paint(Tone::Quiet, &title)));
    for line in &LINES {
        text.push_str(&format!("  {:<21} {:<38} {}\n", line.path, line.does, line.expects));
    }
    text.push('\n');
    text
}

fn line(style: Style, event: &Event) -> String {
    let time = human::time_of_day(human::now());
    match event {
        Event::Request(request) => {
            let what = format!(
                "{time}  {} {} ({:?}, request {} on its connection, {} bytes, webhook-id {})",
                request.method,
                request.target,
                request.version,
                request.on_connection + 1,
                request.body.len(),
                Some(request.header("webhook-id")).filter(|id| !id.is_empty()).unwrap_or("missing"),
            );
            let is_followed = Mode::of_path(&request.target) == Mode::Followed;
            if is_followed {
                style.paint(Tone::Bad, &format!("{what}: A REDIRECT WAS FOLLOWED"))
            } else {
                what
            }
        }
        Event::Left { mode, sent_bytes, after } => {
            format!("{time}  {mode:?}: the sender left after {after:.1?}, {sent_bytes} bytes were sent to it")
        }
        Event::NoTls { door, reason } => {
            style.paint(Tone::Quiet, &format!("{time}  {door:?}: no TLS ({reason})"))
        }
    }
}
