//! Gives up what was held for too long.
//!
//! An endpoint that never returns would be owed more and more. What always holds: nothing is given up before
//! its event is as old as the operator chose, and what is given up is in the delivery log and in the log.

use std::time::Duration;

use mediahooks_database::Database;
use mediahooks_model::chain;

use crate::surroundings::Clock;
use crate::telemetry;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(15 * 60);

/// Deliveries of one transaction, so that other writers hardly notice.
const BATCH: u32 = 500;

/// Runs until it is dropped: each batch is a transaction of its own.
pub(crate) async fn run(database: &Database, clock: Clock, hold_for: Duration) {
    loop {
        let now = clock.now();
        match database.expire_deliveries(now.minus(hold_for), now, BATCH).await {
            Ok(0) => {}
            Ok(expired) => {
                telemetry::expired(expired);
                tracing::warn!(expired, "webhooks were given up that nobody accepted for too long");
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "webhooks held for too long could not be given up")
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
