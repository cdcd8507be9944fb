//! Other languages' programs and libraries, as `scripts/install-test-tools.sh` installs them.
//!
//! Each function gives a command that finds the pinned libraries, and panics with advice when something is
//! missing: a test that cannot run has failed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Python with `standardwebhooks` and Flask.
pub fn python() -> Command {
    let venv = directory().join("python/bin/python");
    let program = if venv.exists() { venv } else { PathBuf::from("python3") };
    have(Command::new(&program).args(["-c", "import flask, standardwebhooks"]), "Python with its packages");
    let mut command = Command::new(program);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Node.js, which requires `standardwebhooks` and Express from wherever a script lies.
pub fn node() -> Command {
    node_with("node", "require('express'); require('standardwebhooks')")
}

/// Node.js with the packages of `judges/package.json`.
pub fn judge() -> Command {
    node_with("judges", "require('mp4box')")
}

/// The packages of `judges/package.json`, such as hls.js.
pub fn judges() -> PathBuf {
    let modules = directory().join("judges/node_modules");
    assert!(
        modules.join("hls.js").exists(),
        "hls.js is needed by this test; run scripts/install-test-tools.sh"
    );
    modules
}

/// Node.js, which finds the packages in `folder` of the tools from wherever a script lies.
fn node_with(folder: &str, probe: &str) -> Command {
    let modules = directory().join(folder).join("node_modules");
    let node = || {
        let mut command = Command::new("node");
        command.env("NODE_PATH", &modules);
        command
    };
    have(node().args(["-e", probe]), "Node.js with its packages");
    node()
}

/// The Go tool, which downloads nothing.
pub fn go() -> Command {
    have(Command::new("go").arg("version"), "Go");
    let mut command = Command::new("go");
    command.env("GOCACHE", directory().join("go-cache")).env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
    command
}

/// PHP on the command line.
pub fn php() -> Command {
    have(Command::new("php").arg("--version"), "PHP");
    Command::new("php")
}

/// Runs a prepared command to its end and returns what it printed; panics when it fails.
pub fn output(command: &mut Command) -> String {
    let output = command.output().expect("it was found a moment ago");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn have(probe: &mut Command, what: &str) {
    let found = probe.stdin(Stdio::null()).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    assert!(is_there, "{what} is needed by this test; run scripts/install-test-tools.sh");
}

/// `target/tools` of this checkout; of the main checkout, where this one is a worktree without tools.
fn directory() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let own = root.join("target/tools");
    // A worktree has a file `.git`: `gitdir: /main/checkout/.git/worktrees/name`.
    let main = std::fs::read_to_string(root.join(".git")).ok().and_then(|link| {
        let git = link.trim().strip_prefix("gitdir: ")?;
        Some(Path::new(git).ancestors().nth(3)?.join("target/tools"))
    });
    if own.join("judges").exists() { own } else { main.unwrap_or(own) }
}
