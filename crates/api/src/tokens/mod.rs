//! Publish tokens: the credentials of broadcasters. Spec: `millicast-api.md` 3.

pub(crate) mod edit;
pub(crate) mod handlers;
pub(crate) mod lists;
pub(crate) mod other;
pub(crate) mod wire;
