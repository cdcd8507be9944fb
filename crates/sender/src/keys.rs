//! Signing keys, prepared once per webhook and secret.

use std::collections::HashMap;

use mediahooks_delivery::{InvalidSecret, SigningKey, WebhookSecret};
use mediahooks_model::{Webhook, WebhookId};

/// Keys kept at most; a server has a handful of webhooks, and beyond this they are prepared anew.
const KEYS_MAX: usize = 1024;

/// The keys of the webhooks sent to lately. A new secret replaces the old one's key at its first use.
#[derive(Default)]
pub(crate) struct Keys {
    by_webhook: HashMap<WebhookId, (String, SigningKey)>,
}

impl Keys {
    /// The key of a webhook as it is now.
    pub(crate) fn get(&mut self, webhook: &Webhook) -> Result<SigningKey, InvalidSecret> {
        if let Some((known, key)) = self.by_webhook.get(&webhook.id)
            && *known == webhook.secret
        {
            return Ok(key.clone());
        }
        let key = SigningKey::new(&webhook.secret.parse::<WebhookSecret>()?);
        if self.by_webhook.len() >= KEYS_MAX {
            self.by_webhook.clear();
        }
        self.by_webhook.insert(webhook.id, (webhook.secret.clone(), key.clone()));
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use mediahooks_delivery::signature_headers;
    use mediahooks_model::webhook::Subscriptions;

    use super::*;

    #[test]
    fn a_refreshed_secret_is_used_at_once() {
        let mut keys = Keys::default();
        let mut sign = |secret: &str| {
            let webhook = Webhook::new("https://example.com/", secret, Subscriptions::default());
            keys.get(&webhook).map(|key| signature_headers(&key, "id", 0, b"body").standard)
        };
        let (old, new) = (sign("b2xk").unwrap(), sign("bmV3").unwrap());
        assert_ne!(old, new);
        assert_eq!(sign("bmV3").unwrap(), new);
        assert_eq!(sign("not base64!"), Err(InvalidSecret::NotBase64));
    }
}
