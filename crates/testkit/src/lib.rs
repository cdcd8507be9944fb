//! What tests of the whole server share: the built program as a process, receivers that behave as told,
//! real encoders and decoders, and other languages.
//!
//! For tests only: everything here panics with a reason instead of returning an error. What always holds:
//! no wait is longer than [`PATIENCE`], and no process outlives the value that stands for it.

pub mod browser;
pub mod counters;
pub mod faulty;
pub mod ffmpeg;
pub mod hls_js;
pub mod mp4box;
pub mod pace;
pub mod player;
pub mod power;
pub mod receiver;
pub mod server;
pub mod synthetic;
pub mod tools;

use std::time::Duration;

pub use receiver::{Answer, Received, ScriptedReceiver};
pub use server::{Port, Rest, ServerOptions, TestServer};

/// No test waits longer for another process.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Awaits `future` for at most [`PATIENCE`]; `what` says in the panic what did not happen.
pub async fn patiently<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: not within {} s", PATIENCE.as_secs()),
    }
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    patiently(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}
