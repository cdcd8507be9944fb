//! Sends owed webhooks over HTTP.
//!
//! `database` says what is owed and when, `delivery` decides how a request is signed, where it may go
//! and what follows; this crate only does it. What always holds: a delivery is settled by nothing but
//! the durable record of its attempt, at most one attempt of a delivery is made at a time, and no
//! endpoint, however slow, takes the last slot of the others.
//!
//! - [`config`]: what the operator chooses;
//! - `dispatcher`: claims what is due and starts attempts;
//! - `attempt`: signs and sends;
//! - `keys`: signing keys, prepared once;
//! - [`downloads`]: fresh links in what is sent;
//! - `lanes`: what is claimed, how many attempts may be in flight, and whose;
//! - `exchange`: one HTTP request and its response;
//! - `endpoint`, `pool`: an endpoint made ready, and its open connections;
//! - `connect`, `tls`: from a host to a connection;
//! - [`resolver`]: the outbound guard between a host and a connection;
//! - `failure`: why there was no response;
//! - `health`: what is known of each endpoint, and how much it may be sent;
//! - `expire`: gives up what was held for too long;
//! - `settle`: decides what follows attempts and writes both down;
//! - `replay`: makes owed what is to be sent once more;
//! - `telemetry`: counts them;
//! - [`surroundings`] and [`transport`]: time, dice and network, which tests replace.

mod attempt;
pub mod config;
mod connect;
mod dispatcher;
pub mod downloads;
mod endpoint;
mod exchange;
mod expire;
mod failure;
mod health;
mod keys;
mod lanes;
mod pool;
mod replay;
pub mod resolver;
mod settle;
pub mod surroundings;
mod telemetry;
mod tls;
pub mod transport;

use std::sync::{Arc, Mutex};

use mediahooks_database::Database;
use mediahooks_model::chain;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use config::{Proxy, SenderConfig, SenderError};
pub use downloads::{DownloadLink, DownloadLinks};
pub use exchange::Exchange;
pub use resolver::Lookup;
pub use surroundings::{Clock, Dice};
pub use telemetry::describe_metrics;
pub use transport::{Exchanged, Transport};

use attempt::Attempter;
use dispatcher::Dispatcher;
use health::Endpoints;
use lanes::SharedLanes;
use settle::Settler;

/// Sends what the database says is owed, until it is told to stop.
pub struct Sender<T = Exchange> {
    database: Database,
    config: SenderConfig,
    transport: T,
    clock: Clock,
    dice: Dice,
}

impl Sender {
    /// Prepares the HTTP client; nothing is sent before [`Sender::run`].
    ///
    /// Errors: [`SenderError`] when `config` cannot work, or this machine has no certificates to trust.
    pub fn new(database: Database, config: SenderConfig) -> Result<Self, SenderError> {
        let exchange = Exchange::new(&config)?;
        Sender::within(database, config, exchange, Clock::default(), Dice::default())
    }
}

impl<T: Transport> Sender<T> {
    /// A sender in other surroundings than the real ones.
    ///
    /// Errors: [`SenderError`] when `config` cannot work.
    pub fn within(
        database: Database,
        config: SenderConfig,
        transport: T,
        clock: Clock,
        dice: Dice,
    ) -> Result<Self, SenderError> {
        config.check()?;
        Ok(Self { database, config, transport, clock, dice })
    }

    /// Sends until `shutdown` is cancelled or the database is closed. Then it claims nothing more,
    /// gives the requests in flight [`SenderConfig::grace`] to end, records them, and gives up the
    /// leases of the others.
    ///
    /// Dropping the future instead is a crash: requests in flight are cut, and what they were about is
    /// sent again by the next run of the same [`SenderConfig::owner`].
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { database, config, transport, clock, dice } = self;
        // Does not grow past what may be claimed.
        let (finished, to_settle) = mpsc::unbounded_channel();
        let lanes = Arc::new(SharedLanes::new(config.per_webhook, config.total));
        let endpoints = Endpoints::new(config.retry.clone(), config.health.clone(), config.per_webhook);
        let endpoints = Arc::new(endpoints);
        let settler = Settler::new(
            database.clone(),
            &config,
            endpoints.clone(),
            (clock, dice),
            to_settle,
            lanes.clone(),
        );
        let downloads = config.downloads.clone();
        let attempter = Attempter { transport, clock, keys: Mutex::default(), downloads, lanes, finished };
        let dispatcher = Dispatcher::new(database.clone(), &config, endpoints, attempter);
        let over = shutdown.child_token();
        let dispatched = async {
            dispatcher.run(shutdown).await;
            over.cancel();
        };
        let sending = async { tokio::join!(dispatched, settler.run(), replay::run(&database, clock, &over)) };
        tokio::select! {
            _ = sending => {}
            () = expire::run(&database, clock, config.hold_for) => {}
        }
        // After a failure here the leases run out by themselves.
        if let Err(error) = database.release_leases(&config.owner).await {
            tracing::debug!(error = chain(&error), "leases were not given up at shutdown");
        }
    }
}
