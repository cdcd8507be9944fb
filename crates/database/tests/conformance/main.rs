//! What every backend of the database has to do, written against the public interface only.

mod account;
mod assets;
mod commit;
mod deliveries;
mod drain;
mod health;
mod index;
mod log;
mod media;
mod prune;
mod removal;
mod replay;
mod support;
mod tokens;
mod webhooks;
mod writing;
