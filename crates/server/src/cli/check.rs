//! `mediahooks check`: the offline verifier.

use std::path::PathBuf;
use std::process;

use clap::Args;
use indicatif::ProgressBar;
use mediahooks_database::{Database, DatabaseError, Options};
use mediahooks_recorder::check::{CheckReport, check};
use mediahooks_storage::DiskStorage;
use serde_json::json;

use super::remote::print;
use crate::output::failure::Failure;
use crate::output::{human, table};
use crate::serve::account::{DATABASE_FILE, MEDIA_DIRECTORY};

/// `mediahooks check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The data directory of a stopped server, or a copy of one.
    #[arg(long, value_name = "DIR", env = "MEDIAHOOKS_DATA", default_value = "./mediahooks-data")]
    data: PathBuf,
    /// Accept the loss of segments whose note among the newest ones is damaged, so that all else is tidied again. Changes the
    /// database: keep a copy. Without it nothing is changed.
    #[arg(long)]
    repair: bool,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// Checks, prints what was found, and ends with exit code 1 when something is wrong.
pub async fn run(args: CheckArgs) -> anyhow::Result<()> {
    let media = args.data.join(MEDIA_DIRECTORY);
    if !args.data.join(DATABASE_FILE).exists() || !media.is_dir() {
        return Err(Failure::new(format!("{} is not the data directory of a server", args.data.display()))
            .advise("name it with --data")
            .into());
    }
    let path = args.data.join(DATABASE_FILE);
    let or_running = |error| match error {
        DatabaseError::InUse { .. } => anyhow::Error::new(
            Failure::new(format!("the server on {} is running", args.data.display()))
                .advise("stop it first, or check a copy"),
        ),
        error => error.into(),
    };
    let mut repaired = Vec::new();
    if args.repair {
        let database = Database::open(&path, Options::default()).map_err(or_running)?;
        repaired = database.give_up_damaged_slots().await?;
        database.close().await?;
    }
    let database = Database::open_read_only(&path).map_err(or_running)?;
    let storage = DiskStorage::open(media)?;
    let bar = ProgressBar::no_length();
    let report = check(&database, &storage, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })
    .await?;
    bar.finish_and_clear();
    print(&if args.json { as_json(&report, &repaired) } else { in_words(&report, &repaired) })?;
    if report.is_well() { Ok(()) } else { process::exit(1) }
}

fn as_json(report: &CheckReport, repaired: &[String]) -> String {
    let json = json!({
        "well": report.is_well(), "segments": report.segments, "bytes": report.bytes,
        "files": report.files, "repaired": repaired, "problems": report.problems, "notes": report.notes,
    });
    format!("{json:#}\n")
}

fn in_words(report: &CheckReport, repaired: &[String]) -> String {
    let mut text = table::text(&table::facts([
        ("Segments", format!("{} ({})", report.segments, human::size(report.bytes))),
        ("Files", report.files.to_string()),
    ]));
    let lines = |label, texts: &[String]| -> String {
        texts.iter().map(|text| format!("{label}: {}\n", table::cell(text))).collect()
    };
    text.push_str(&lines("repaired", repaired));
    text.push_str(&lines("note", &report.notes));
    text.push_str(&lines("problem", &report.problems));
    text.push_str(match report.problems.len() {
        0 => "All is well.\n",
        1 => "1 problem.\n",
        _ => "Several problems.\n",
    });
    text
}
