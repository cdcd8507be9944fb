//! The sender and its database on a simulated clock, against endpoints that misbehave by the dice.
//!
//! What runs is the real sender and the real database, the latter without threads; time jumps to the next
//! timer, so days take seconds and the same seed gives the same run. Every request is checked as it arrives
//! (`world`). Each test has a short run by default; the long ones are asked for by environment variables:
//!
//! - `MEDIAHOOKS_SIMULATION_TRIALS`: seeded trials with crashes;
//! - `MEDIAHOOKS_SIMULATION_EVENTS`: events in the test of order;
//! - `MEDIAHOOKS_SIMULATION_SEED`: the first seed.

mod crashes;
mod house;
mod isolation;
mod order;
mod outage;
mod world;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// The first seed.
fn seed() -> u64 {
    setting("MEDIAHOOKS_SIMULATION_SEED", 1)
}
