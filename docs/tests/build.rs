//! Puts the Rust of `docs/webhooks.md` where a test can include it.

use std::path::Path;
use std::{env, fs};

#[path = "src/blocks.rs"]
mod blocks;

fn main() {
    let page = "../webhooks.md";
    println!("cargo::rerun-if-changed={page}");
    println!("cargo::rerun-if-changed=src/blocks.rs");
    let markdown = fs::read_to_string(page).expect("docs/webhooks.md");
    let code = blocks::blocks(&markdown, "rust").concat();
    let out = env::var_os("OUT_DIR").expect("set by cargo");
    fs::write(Path::new(&out).join("webhooks.rs"), code).expect("OUT_DIR can be written");
}
