//! Media assets: recordings, clips and timelines. Spec: `millicast-api.md` 6 and 7.

pub(crate) mod create;
pub(crate) mod export;
pub(crate) mod handlers;
pub(crate) mod list;
pub(crate) mod wire;
