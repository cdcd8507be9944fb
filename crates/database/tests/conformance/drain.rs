//! Whatever claims, records, failures, crashes and clocks do in whatever order: nothing that is owed is forgotten,
//! nothing is claimed while somebody else has it, and every subject's events stay in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{ClaimedDelivery, Room, Settled};
use mediahooks_model::webhook::Disabled;
use mediahooks_model::{AssetInput, DeliveryId, Webhook, WebhookId};

use crate::support::*;

const LEASE: Duration = Duration::from_secs(1);
const WEBHOOKS: i64 = 3;
const ASSETS: u64 = 6;

/// Numbers that a seed draws: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

struct Trial {
    fresh: Fresh,
    dice: Dice,
    now_ms: i64,
    /// How many events of each asset happened.
    events: HashMap<u64, u64>,
    /// Under way, with the end of the lease.
    claimed: HashMap<DeliveryId, (ClaimedDelivery, i64)>,
    settled: HashSet<DeliveryId>,
    /// The last settled delivery per webhook and asset.
    last: HashMap<(WebhookId, String), DeliveryId>,
}

impl Trial {
    async fn begin(seed: u64) -> Self {
        let fresh = Fresh::open().await;
        for n in 0..WEBHOOKS {
            fresh.db.create_webhook(webhook(&format!("https://{n}.example/"))).await.unwrap();
        }
        Self {
            fresh,
            dice: Dice(seed),
            now_ms: 0,
            events: HashMap::new(),
            claimed: HashMap::new(),
            settled: HashSet::new(),
            last: HashMap::new(),
        }
    }

    async fn anything(&mut self) {
        match self.dice.below(12) {
            0..=2 => self.happen().await,
            3..=5 => {
                let (most, total) = (self.dice.below(5), self.dice.below(9));
                self.claim(u32::try_from(most).unwrap(), u32::try_from(total).unwrap()).await;
            }
            6..=8 => self.settle_some().await,
            9 => self.now_ms += i64::try_from(self.dice.below(900)).unwrap(),
            10 => self.suspend_or_enable().await,
            _ => self.lose_leases().await,
        }
    }

    async fn happen(&mut self) {
        let asset = self.dice.below(ASSETS);
        let count = self.events.entry(asset).or_default();
        let change = match *count {
            0 => clip(asset),
            1 => step(asset, fail()),
            2 => step(asset, AssetInput::Delete),
            _ => return,
        };
        *count += 1;
        self.fresh.db.commit(vec![change], at(self.now_ms)).await.unwrap();
    }

    async fn claim(&mut self, most: u32, total: u32) -> usize {
        let room = move |_: &Arc<Webhook>, leased: u32| Room { more: most.saturating_sub(leased), at: None };
        let now = self.now_ms;
        let claimed = self.fresh.db.claim_deliveries("me", at(now), LEASE, room, total).await.unwrap();
        let count = claimed.len();
        assert!(count <= total as usize);
        for one in claimed {
            assert!(!self.settled.contains(&one.id), "{} was settled", one.id);
            let end = now + i64::try_from(LEASE.as_millis()).unwrap();
            if let Some((_, end)) = self.claimed.insert(one.id, (one, end)) {
                assert!(end <= now, "claimed while leased until {end}, at {now}");
            }
        }
        count
    }

    async fn settle_some(&mut self) {
        let mut ids: Vec<_> = self.claimed.keys().copied().collect();
        ids.sort_unstable();
        let mut settlements = Vec::new();
        for id in ids {
            if self.dice.below(2) == 0 {
                continue;
            }
            let Some((one, _)) = self.claimed.remove(&id) else { continue };
            let settled = match self.dice.below(5) {
                0 => Settled::Retry { at: at(self.now_ms + i64::try_from(self.dice.below(2000)).unwrap()) },
                1 => Settled::Exhausted,
                _ => Settled::Delivered,
            };
            if !matches!(settled, Settled::Retry { .. }) {
                self.over(&one);
            }
            settlements.push(settlement(&one, settled));
        }
        self.fresh.db.settle(settlements, vec![], "me", at(self.now_ms)).await.unwrap();
    }

    fn over(&mut self, one: &ClaimedDelivery) {
        self.settled.insert(one.id);
        let asset = one.body.split("\"mediaAssetId\":\"").nth(1).unwrap()[..32].to_owned();
        let before = self.last.insert((one.webhook.id, asset), one.id);
        assert!(before.is_none_or(|before| before < one.id), "out of order");
    }

    async fn suspend_or_enable(&mut self) {
        let id = WebhookId(1 + i64::try_from(self.dice.below(3)).unwrap());
        if self.dice.below(2) == 0 {
            let until = at(self.now_ms + i64::try_from(self.dice.below(3000)).unwrap());
            let disabled = Disabled { until: Some(until), reason: None };
            self.fresh.db.suspend_webhook(id, disabled).await.unwrap();
        } else {
            self.fresh.change(id, at(self.now_ms), |webhook| webhook.disabled = None).await;
        }
    }

    async fn lose_leases(&mut self) {
        match self.dice.below(4) {
            0 => self.fresh = std::mem::replace(&mut self.fresh, Fresh::open().await).reopen(),
            1 => self.fresh.db.release_leases("me").await.unwrap(),
            _ => {
                let mut ids: Vec<_> = self.claimed.keys().copied().collect();
                ids.sort_unstable();
                ids.truncate(3);
                for id in &ids {
                    self.claimed.remove(id);
                }
                return self.fresh.db.return_leases("me", ids).await.unwrap();
            }
        }
        self.claimed.clear();
    }

    /// Everything is accepted from now on, and the clock goes where the database says that something is due.
    async fn drain(mut self) {
        for n in 1..=WEBHOOKS {
            self.fresh.change(WebhookId(n), at(self.now_ms), |webhook| webhook.disabled = None).await;
        }
        while let Some(due) = self.fresh.db.next_due(at(self.now_ms)) {
            self.now_ms += i64::try_from(due.since(at(self.now_ms)).as_micros().div_ceil(1000)).unwrap();
            self.claim(9, 99).await;
            let claimed: Vec<_> = self.claimed.drain().map(|(_, (one, _))| one).collect();
            claimed.iter().for_each(|one| self.over(one));
            let settlements = claimed.iter().map(|one| settlement(one, Settled::Delivered)).collect();
            self.fresh.db.settle(settlements, vec![], "me", at(self.now_ms)).await.unwrap();
        }
        let owed = self.events.values().sum::<u64>() * u64::try_from(WEBHOOKS).unwrap();
        assert_eq!(self.settled.len() as u64, owed, "nothing is due any more, and something is owed");
        assert!(!self.fresh.db.has_leases());
    }
}

#[tokio::test]
async fn whatever_happens_everything_owed_is_settled_once_and_in_order() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut trial = Trial::begin(seed).await;
        for _ in 0..120 {
            trial.anything().await;
        }
        trial.drain().await;
    }
}
