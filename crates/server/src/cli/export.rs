//! `mediahooks asset export`: has the server write a file, and moves it where it is wanted.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

use super::asset::path;
use super::remote::RemoteArgs;
use super::rest::{Rest, read};
use crate::output::failure::Failure;
use crate::output::human;
use crate::output::media::progress_bar;

/// An export, as far as it is shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Export {
    status: String,
    path: PathBuf,
    size_bytes: u64,
    written_bytes: u64,
    already_there: bool,
    #[serde(default)]
    copied_by: Option<String>,
}

/// Exports an asset, and moves its file to `to`.
pub async fn run(rest: &Rest, remote: &RemoteArgs, id: &str, to: Option<&Path>) -> anyhow::Result<()> {
    let url = format!("{}/export", path(id)?);
    let bar = progress_bar(to.unwrap_or(Path::new(id)));
    let (answer, export) = loop {
        let answer = rest.post(&url, &serde_json::json!({})).await?;
        let export: Export = read(&answer)?;
        bar.set_length(export.size_bytes);
        bar.set_position(export.written_bytes);
        if export.status == "complete" {
            break (answer, export);
        }
    };
    bar.finish_and_clear();
    let mut facts = answer;
    let target = match to {
        Some(to) => {
            move_file(&export.path, to)?;
            facts["path"] = to.display().to_string().into();
            to
        }
        None => &export.path,
    };
    remote.show(&facts, |_| {
        let how = match export.copied_by.as_deref() {
            Some("kernel") => ", copied by the kernel",
            Some(_) => ", copied through memory",
            None if export.already_there => ", which was there already",
            None => "",
        };
        Ok(format!("{}: {}{how}\n", target.display(), human::size(export.size_bytes)))
    })
}

/// Moves a file, as a whole or not at all; over file systems by a copy.
fn move_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    if !from.exists() {
        return Err(Failure::new(format!("the server has written {}, which is not here", from.display()))
            .because("--to moves the file, which only works on the server's machine".to_owned())
            .advise("leave --to away, or use `mediahooks asset download`")
            .into());
    }
    match fs::rename(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy(from, to).with_context(|| format!("cannot write {}", to.display()))?;
            fs::remove_file(from).with_context(|| format!("cannot remove {}", from.display()))?;
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot move {} to {}", from.display(), to.display()));
        }
    }
    sync_directory(to).with_context(|| format!("cannot sync the directory of {}", to.display()))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = to.with_file_name(name);
    let copied = fs::copy(from, &part)
        .and_then(|_| File::open(&part)?.sync_all())
        .and_then(|()| fs::rename(&part, to));
    if copied.is_err() {
        let _ = fs::remove_file(&part);
    }
    copied
}

fn sync_directory(of: &Path) -> io::Result<()> {
    let directory = of.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
