//! What handlers take from a request, read as leniently as the hosted service's clients need.

pub(crate) mod auth;
pub(crate) mod base;
pub(crate) mod json;
pub(crate) mod members;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod value;
