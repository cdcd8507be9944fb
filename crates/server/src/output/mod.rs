//! What people read: tables, sizes, times in their own zone, errors.
//!
//! Everything here turns facts into text; printing is left to the callers.

pub mod failure;
pub mod hook;
pub mod human;
pub mod media;
pub mod style;
pub mod table;
