//! Signing keys, prepared once per webhook and secret.

use std::collections::HashMap;

use mediahooks_delivery::{InvalidSecret, SigningKey, WebhookSecret};
use mediahooks_model::{Timestamp, Webhook, WebhookId};

/// Keys kept at most; a server has a handful of webhooks, and beyond this they are prepared anew.
const KEYS_MAX: usize = 1024;

/// The keys of the webhooks sent to lately. A new secret replaces the old one's key at its first use, and the
/// end of the one before it takes that out.
#[derive(Default)]
pub(crate) struct Keys {
    by_webhook: HashMap<WebhookId, Prepared>,
}

struct Prepared {
    secret: String,
    previous: Option<String>,
    key: SigningKey,
}

impl Keys {
    /// The key of a webhook as it is now: its secret, and the one before it until its end.
    pub(crate) fn get(&mut self, webhook: &Webhook, now: Timestamp) -> Result<SigningKey, InvalidSecret> {
        let previous = webhook.secret_beside(now);
        if let Some(known) = self.by_webhook.get(&webhook.id)
            && known.secret == webhook.secret
            && known.previous.as_deref() == previous
        {
            return Ok(known.key.clone());
        }
        let mut key = SigningKey::new(&webhook.secret.parse::<WebhookSecret>()?);
        // One that cannot be read proves nothing to anybody; the newest is what counts.
        if let Some(previous) = previous.and_then(|previous| previous.parse::<WebhookSecret>().ok()) {
            key = key.beside(&previous);
        }
        if self.by_webhook.len() >= KEYS_MAX {
            self.by_webhook.clear();
        }
        let (secret, previous) = (webhook.secret.clone(), previous.map(str::to_owned));
        self.by_webhook.insert(webhook.id, Prepared { secret, previous, key: key.clone() });
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use mediahooks_delivery::signature_headers;
    use mediahooks_model::webhook::{PreviousSecret, Subscriptions};

    use super::*;

    fn webhook(secret: &str) -> Webhook {
        Webhook::new("https://example.com/", secret, Subscriptions::default())
    }

    fn sign(keys: &mut Keys, webhook: &Webhook, now: i64) -> Result<String, InvalidSecret> {
        let key = keys.get(webhook, Timestamp::from_millis(now))?;
        Ok(signature_headers(&key, "id", 0, b"body").standard)
    }

    #[test]
    fn a_refreshed_secret_is_used_at_once() {
        let mut keys = Keys::default();
        let mut sign = |secret: &str| sign(&mut keys, &webhook(secret), 0);
        let (old, new) = (sign("b2xk").unwrap(), sign("bmV3").unwrap());
        assert_ne!(old, new);
        assert_eq!(sign("bmV3").unwrap(), new);
        assert_eq!(sign("not base64!"), Err(InvalidSecret::NotBase64));
    }

    #[test]
    fn the_secret_before_signs_beside_the_new_one_until_its_end() {
        let mut keys = Keys::default();
        let (old, new) = (webhook("b2xk"), webhook("bmV3"));
        let previous =
            |secret: &str| Some(PreviousSecret { secret: secret.into(), until: Timestamp::from_millis(100) });
        let [old, alone] = [old, new.clone()].map(|webhook| sign(&mut keys, &webhook, 0).unwrap());
        let both = Webhook { previous_secret: previous("b2xk"), ..new.clone() };
        assert_eq!(sign(&mut keys, &both, 99).unwrap(), format!("{alone} {old}"));
        assert_eq!(sign(&mut keys, &both, 100).unwrap(), alone);
        let unreadable = Webhook { previous_secret: previous("not base64!"), ..new };
        assert_eq!(sign(&mut keys, &unreadable, 0).unwrap(), alone);
    }
}
