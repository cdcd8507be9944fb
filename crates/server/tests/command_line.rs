//! Everything that can be said on the command line, and what it does not take.

mod support;

use support::run;

/// Every help text, golden: a changed option shows in review.
#[tokio::test]
async fn help_texts() {
    let commands: &[&[&str]] = &[
        &[],
        &["serve"],
        &["demo"],
        &["receive"],
        &["listen"],
        &["conformance-receiver"],
        &["check"],
        &["token"],
        &["token", "create"],
        &["webhook"],
        &["webhook", "add"],
        &["webhook", "deliveries"],
        &["webhook", "replay"],
        &["asset"],
        &["asset", "list"],
        &["asset", "download"],
        &["clip", "create"],
        &["account"],
        &["account", "expiration"],
        &["account", "secrets"],
    ];
    let mut text = String::new();
    for command in commands {
        let mut arguments = command.to_vec();
        arguments.push("--help");
        let outcome = run(&arguments, &[]).await;
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        text.push_str(&format!("$ mediahooks {}\n{}\n", arguments.join(" "), outcome.stdout));
    }
    insta::assert_snapshot!(text);
}

/// A wrong command line is exit code 2, and says what is wrong.
#[tokio::test]
async fn usage_errors() {
    let commands: &[&[&str]] = &[
        &["token", "list"],
        &["token", "create", "label", "--secret", "x"],
        &["clip", "create", "stream", "--secret", "x"],
        &["clip", "create", "stream", "--secret", "x", "--last", "30"],
        &["clip", "create", "stream", "--secret", "x", "--last", "30s", "--start", "12:00"],
        &["clip", "create", "stream", "--secret", "x", "--start", "noon"],
        &["serve", "--http", "8080"],
        &["serve", "--webhook-allow", "lan"],
        &["receive"],
        &["receive", "--webhook-secret", "c2VjcmV0", "--download", "files"],
        &["account", "expiration", "--secret", "x", "--clips", "366"],
    ];
    let mut text = String::new();
    for command in commands {
        let outcome = run(command, &[]).await;
        assert_eq!(outcome.code, Some(2), "{command:?}: {}", outcome.stderr);
        text.push_str(&format!("$ mediahooks {}\n{}\n", command.join(" "), outcome.stderr));
    }
    insta::assert_snapshot!(text);
}

/// What goes wrong later is exit code 1, and says what happened, why and what to do.
#[tokio::test]
async fn failures() {
    let nowhere: &[(&str, &str)] =
        &[("MEDIAHOOKS_SERVER", "http://127.0.0.1:1"), ("MEDIAHOOKS_API_SECRET", "x")];
    let outcome = run(&["token", "list"], nowhere).await;
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("cannot reach the server at http://127.0.0.1:1/"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("do:  start it with `mediahooks serve`"), "{}", outcome.stderr);

    let empty = tempfile::tempdir().unwrap();
    let data = empty.path().to_str().unwrap();
    for command in [&["check", "--data", data][..], &["account", "secrets", "--data", data]] {
        let outcome = run(command, &[]).await;
        assert_eq!(outcome.code, Some(1));
        assert!(outcome.stderr.contains("is not the data directory of a server"), "{}", outcome.stderr);
    }
}
