//! Downloads of files by signed links. Spec: RFC 9110 sections 8.8, 13 and 14.

pub(crate) mod conditions;
pub(crate) mod handler;
pub(crate) mod link;
mod multipart;
pub(crate) mod playlist;
pub(crate) mod range;
