//! Webhooks: where to tell what happened, test calls and the delivery log.
//! Spec: `millicast-api.md` 12 and 13.

pub(crate) mod deliveries;
pub(crate) mod edit;
pub(crate) mod handlers;
pub(crate) mod test_call;
pub(crate) mod wire;
