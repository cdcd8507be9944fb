//! Every `mediahooks …` that the documentation shows is understood: the subcommands exist and have the flags.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::PROGRAM;

/// Where commands are shown.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|it| it == "md")).collect();
    pages.extend([root.join("README.md"), root.join("examples/receivers/README.md")]);
    pages
}

/// What follows `mediahooks ` in code on this page, up to the end of the command.
fn commands(page: &str) -> Vec<String> {
    let mut code = Vec::new();
    let mut in_block = false;
    for line in page.replace("\\\n", " ").lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            code.push(line.split(" # ").next().unwrap_or_default().to_owned());
        } else {
            // Inline code may go on in the next line of the paragraph; commands here do not.
            code.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    let ends = [';', '|', ')', '"', '\''];
    let mut found = Vec::new();
    for piece in code {
        for (at, _) in piece.match_indices("mediahooks ") {
            let starts_a_word = piece[..at].chars().next_back().is_none_or(|before| " ($\"".contains(before));
            let rest = &piece[at + "mediahooks ".len()..];
            let is_option_of_cargo = piece[..at].trim_end().ends_with("-p");
            let is_picture = !rest.starts_with(|first: char| first.is_ascii_alphanumeric());
            if starts_a_word && !is_option_of_cargo && !is_picture {
                found.push(rest.split(ends).next().unwrap_or_default().to_owned());
            }
        }
    }
    found
}

/// The help of a subcommand, asked for once.
#[derive(Default)]
struct Help(BTreeMap<Vec<String>, String>);

impl Help {
    fn of(&mut self, subcommands: &[String]) -> &str {
        self.0.entry(subcommands.to_vec()).or_insert_with(|| {
            let output = Command::new(PROGRAM).args(subcommands).arg("--help").output().unwrap();
            assert!(output.status.success(), "{subcommands:?}");
            String::from_utf8(output.stdout).unwrap()
        })
    }

    fn has(&mut self, subcommands: &[String], subcommand: &str) -> bool {
        let names = self.of(subcommands).lines().skip_while(|line| *line != "Commands:").skip(1);
        let mut names = names.take_while(|line| line.starts_with(' '));
        names.any(|line| line.split_whitespace().next() == Some(subcommand))
    }
}

/// What is wrong with a command, if anything.
fn misunderstood(help: &mut Help, command: &str) -> Option<String> {
    let mut subcommands = Vec::new();
    let mut words = command.split_whitespace().peekable();
    while let Some(word) = words.next_if(|word| help.has(&subcommands, word)) {
        subcommands.push(word.to_owned());
    }
    if subcommands.is_empty() {
        return Some("no such subcommand".to_owned());
    }
    // A family of commands may be named alone.
    if help.of(&subcommands).contains("Commands:") && words.peek().is_some() {
        return Some(format!("a subcommand of {subcommands:?} is missing or does not exist"));
    }
    let flags = words.filter(|word| word.starts_with("--"));
    let flags = flags.map(|word| word.trim_end_matches(|end: char| !end.is_alphanumeric()));
    let known = |help: &str, flag: &str| {
        help.split(|end: char| end.is_whitespace() || end == '=' || end == ',').any(|word| word == flag)
    };
    let mut names = flags.map(|flag| flag.split('=').next().unwrap_or(flag));
    let unknown = names.find(|flag| !known(help.of(&subcommands), flag))?;
    Some(format!("{subcommands:?} has no {unknown}"))
}

#[test]
fn documented_commands_are_understood() {
    let mut help = Help::default();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for command in commands(&std::fs::read_to_string(&page).unwrap()) {
            seen += 1;
            if let Some(why) = misunderstood(&mut help, &command) {
                wrong.push(format!("{}: mediahooks {command}: {why}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 15, "only {seen} commands were found");
}
