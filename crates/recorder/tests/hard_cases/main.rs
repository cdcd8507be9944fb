//! What breaks recorders in practice, one file per case: what is sent, and what the user gets.
//!
//! The numbers are those of the table in docs/media.md, which says the same for users.

#[path = "../common/mod.rs"]
mod common;
mod stage;

#[path = "10_the_wall_clock_is_set_by_an_hour.rs"]
mod case_10;
