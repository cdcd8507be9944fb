#!/usr/bin/env bash
# Everything that has to hold: installs the tools it needs, then format, lints, documentation, tests, licences.
# Continuous integration runs this and nothing else. Prints each step with the time it took.
#
#   ./scripts/test.sh              all of it
#   ./scripts/test.sh --fast       without the documentation and without cargo-deny
set -euo pipefail
cd "$(dirname "$0")/.."

fast=false
for argument in "$@"; do
    case $argument in
        --fast) fast=true ;;
        *) echo "usage: $0 [--fast]" >&2; exit 2 ;;
    esac
done

summary=()
all_begun=$SECONDS

# Runs a function or command as a step. What it runs is a condition here, so `set -e` does not reach into it:
# a function of several commands has to see to its failures itself.
step() {
    local name=$1 begun=$SECONDS
    shift
    printf '\n==> %s\n' "$name"
    if ! "$@"; then
        printf '\n==> %s FAILED after %d s\n' "$name" "$((SECONDS - begun))" >&2
        exit 1
    fi
    summary+=("$(printf '%5d s  %s' "$((SECONDS - begun))" "$name")")
    printf '==> %s: %d s\n' "$name" "$((SECONDS - begun))"
}

clippy() { cargo clippy --locked --workspace --all-targets -- -D warnings; }
documentation() { RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --quiet; }

tests() {
    if cargo nextest --version > /dev/null 2>&1; then
        cargo nextest run --locked --workspace
    else
        cargo test --locked --workspace --lib --bins --tests
    fi
}

# The receiver library is published: each of its features has to compile alone.
receiver_features() {
    local features tree
    tree=$(cargo tree --locked --offline -p mediahooks-receiver --edges normal --all-features) || return 1
    if grep --invert-match mediahooks-receiver <<< "$tree" | grep --quiet mediahooks; then
        echo 'the receiver library depends on another crate of ours, without which it could not be published' >&2
        return 1
    fi
    for features in '' axum download fake-sender; do
        cargo clippy --locked --quiet -p mediahooks-receiver --lib --no-default-features --features "$features" -- -D warnings ||
            return 1
    done
}

documentation_examples() { cargo test --locked --workspace --doc --quiet; }

# cargo-deny as a program of its own, kept in target/tools.
deny_version=0.20.2
licences() {
    if ! cargo deny --version > /dev/null 2>&1; then
        echo "building cargo-deny $deny_version into target/tools, once; this takes a few minutes"
        cargo install cargo-deny --version "$deny_version" --locked --quiet --root target/tools || return 1
    fi
    # The crates of other systems too, which no build here has downloaded.
    cargo fetch --locked --quiet || return 1
    cargo deny --locked --offline check licenses bans sources
}

# Advisories need a database from the network, so their absence is told and is no failure; an advisory is one.
advisories() {
    local said
    said=$(mktemp)
    if cargo deny --locked fetch db > "$said" 2>&1; then
        rm -f "$said"
        cargo deny --locked --offline check advisories
    else
        printf 'NOT CHECKED: the advisory database could not be fetched:\n%s\n' "$(tail -3 "$said")"
        rm -f "$said"
        summary+=('         advisories: NOT CHECKED, their database could not be fetched')
    fi
}

# Sourced, since it exports where the tools are.
tools() { source scripts/install-test-tools.sh; }
step 'test tools' tools
step 'format (cargo fmt)' cargo fmt --all --check
step 'lints (cargo clippy)' clippy
step 'receiver library, feature by feature' receiver_features
step 'tests' tests
step 'documentation examples' documentation_examples
if ! $fast; then
    step 'documentation (cargo doc)' documentation
    step 'licences, bans, sources (cargo deny)' licences
    step 'advisories (cargo deny)' advisories
fi

printf '\nAll of it holds, in %d s:\n' "$((SECONDS - all_begun))"
printf '%s\n' "${summary[@]}"
