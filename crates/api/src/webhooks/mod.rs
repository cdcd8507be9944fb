//! Webhooks: where to tell what happened, test calls, the delivery log, and sending once more.
//! Spec: `millicast-api.md` 12 and 13.

pub(crate) mod deliveries;
pub(crate) mod edit;
pub(crate) mod handlers;
pub(crate) mod replays;
pub(crate) mod test_call;
pub(crate) mod wire;
