//! Carries out replays: goes on with each as its deliveries are settled.
//!
//! The database keeps each replay's place and says how much of it may be owed at one time; this only keeps
//! it going. What always holds: while no replay runs, it sleeps until one begins.

use std::time::Duration;

use mediahooks_database::{Database, DatabaseError, ReplayStep};
use mediahooks_model::{ReplayId, chain};
use tokio_util::sync::CancellationToken;

use crate::surroundings::Clock;

/// The pause while as much is owed as may be. At 256 at one time, a replay delivers up to 12,800 a second.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest pause of replays that are held up: by an endpoint that is slow, or down.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Carries out replays until `shutdown` or the end of the database.
pub(crate) async fn run(database: &Database, clock: Clock, shutdown: &CancellationToken) {
    let mut begun = database.subscribe_replays();
    let mut pause = PAUSE;
    while !shutdown.is_cancelled() {
        begun.mark_unchanged();
        let outcome = match database.running_replays().await {
            Ok(running) => step_all(database, clock, running).await,
            Err(error) => Err(error),
        };
        pause = match outcome {
            Ok(Some(ReplayStep::Advanced)) => Duration::ZERO,
            Ok(Some(_)) => (pause * 2).clamp(PAUSE, PAUSE_MAX),
            Ok(None) => Duration::MAX,
            Err(DatabaseError::Closed) => return,
            Err(error) => {
                tracing::error!(error = chain(&error), "replays cannot go on; trying again");
                PAUSE_MAX
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
            changed = begun.changed() => if changed.is_err() { return },
        }
        pause = pause.min(PAUSE_MAX);
    }
}

/// Goes on with each; absent when there was none.
async fn step_all(
    database: &Database,
    clock: Clock,
    running: Vec<ReplayId>,
) -> Result<Option<ReplayStep>, DatabaseError> {
    let mut outcome = None;
    for id in running {
        match database.step_replay(id, clock.now()).await? {
            ReplayStep::Advanced => outcome = Some(ReplayStep::Advanced),
            ReplayStep::Over => {
                tracing::info!(replay = %id, "a replay has looked at all its events");
                outcome = outcome.or(Some(ReplayStep::Advanced));
            }
            ReplayStep::Full => outcome = outcome.or(Some(ReplayStep::Full)),
        }
    }
    Ok(outcome)
}
