//! What is left when nothing is stored: signed requests over kept connections, one after another on each.

use std::sync::Arc;
use std::time::Instant;

use mediahooks_database::ClaimedDelivery;
use mediahooks_delivery::{SigningKey, WebhookSecret, signature_headers};
use mediahooks_model::{DeliveryId, EventId};
use mediahooks_sender::{Exchange, Transport as _};
use uuid::Uuid;

use crate::house::{SECRET, config, now, webhook};
use crate::receiver::Receiver;
use crate::usage::Usage;

const REQUESTS: usize = 100_000;
const BODY_BYTES: usize = 330;

pub async fn run() {
    let config = config();
    let connections = config.per_webhook as usize;
    let receiver = Receiver::start(false);
    let exchange = Arc::new(Exchange::new(&config).unwrap());
    let key = SigningKey::new(&SECRET.parse::<WebhookSecret>().unwrap());
    let delivery = ClaimedDelivery {
        id: DeliveryId(1),
        webhook: Arc::new(webhook(receiver.url(0), None)),
        attempt: 1,
        probes: 0,
        previous: None,
        event: EventId(Uuid::now_v7()),
        timestamp: now(),
        kind: "media.completed".into(),
        body: "x".repeat(BODY_BYTES),
    };
    let before = Usage::now(&receiver);
    let begin = Instant::now();
    let posting: Vec<_> = (0..connections)
        .map(|_| {
            let (exchange, delivery, key) = (exchange.clone(), delivery.clone(), key.clone());
            tokio::spawn(async move {
                for _ in 0..REQUESTS / connections {
                    let (id, body) = (delivery.event.to_string(), delivery.body.clone());
                    let headers = signature_headers(&key, &id, now().as_seconds(), body.as_bytes());
                    let exchanged = exchange.send(&delivery, &headers, body.into()).await;
                    assert_eq!(exchanged.error, None);
                }
            })
        })
        .collect();
    for posting in posting {
        posting.await.unwrap();
    }
    let (took, used) = (begin.elapsed().as_secs_f64(), Usage::now(&receiver).since(&before));
    let thousands = REQUESTS as f64 / 1000.0;
    println!(
        "limit without storage: {:.0}/s over {connections} connections; per 1,000: {:.3} CPU s ours + {:.3} receiver",
        REQUESTS as f64 / took,
        used.ours / thousands,
        used.receiver / thousands,
    );
}
