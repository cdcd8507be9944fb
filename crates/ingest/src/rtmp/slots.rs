//! Who may connect when all connections are in use: an encoder, rather than whoever does not publish.
//!
//! Pure: fed by [`super::server`]. What always holds: at most so many connections are in use, and none that publishes is
//! ever closed for another one.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// All connections in use; of `T` is asked whether it publishes.
#[derive(Debug)]
pub(super) struct Slots<T> {
    max: usize,
    next: u64,
    /// In the order in which they came.
    used: BTreeMap<u64, (IpAddr, T)>,
}

impl<T> Slots<T> {
    /// `max` connections at a time.
    pub(super) fn new(max: usize) -> Slots<T> {
        Slots { max, next: 0, used: BTreeMap::new() }
    }

    /// Takes another connection in. When all are in use, one has to go, and is returned: the oldest that does not
    /// publish, of the address that has most of these, the newcomer counted. `Err` when all others publish.
    pub(super) fn admit(
        &mut self,
        address: IpAddr,
        newcomer: T,
        publishes: impl Fn(&T) -> bool,
    ) -> Result<(u64, Option<T>), T> {
        let address = network(address);
        let mut displaced = None;
        if self.used.len() >= self.max {
            let mut waiting: HashMap<IpAddr, (usize, u64)> = HashMap::new();
            for (id, (address, _)) in self.used.iter().filter(|(_, (_, used))| !publishes(used)) {
                waiting.entry(*address).or_insert((0, *id)).0 += 1;
            }
            if let Some((count, _)) = waiting.get_mut(&address) {
                *count += 1;
            }
            let oldest = waiting.values().max_by_key(|(count, oldest)| (*count, std::cmp::Reverse(*oldest)));
            let Some((_, used)) = oldest.and_then(|(_, oldest)| self.used.remove(oldest)) else {
                return Err(newcomer);
            };
            displaced = Some(used);
        }
        let id = self.next;
        self.next += 1;
        self.used.insert(id, (address, newcomer));
        Ok((id, displaced))
    }

    /// A connection is over.
    pub(super) fn leave(&mut self, id: u64) {
        self.used.remove(&id);
    }
}

/// What one peer has: an IPv4 address, or the /64 network in which it picks any IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    /// Connections of these addresses, and whether they publish.
    fn slots(used: &[(u8, bool)]) -> Slots<(u8, bool)> {
        let mut slots = Slots::new(used.len());
        for used in used {
            slots.admit(address(used.0), *used, |used| used.1).unwrap();
        }
        slots
    }

    /// Which connection goes, by the order in which they came; `None` when the newcomer does.
    fn check(used: &[(u8, bool)], newcomer: u8, expected: Option<usize>) {
        let mut slots = slots(used);
        let admitted = slots.admit(address(newcomer), (newcomer, false), |used| used.1);
        let gone = (0..used.len()).find(|at| !slots.used.contains_key(&(*at as u64)));
        assert_eq!((admitted.is_ok(), gone), (expected.is_some(), expected), "{used:?} {newcomer}");
    }

    #[test]
    fn who_does_not_publish_gives_way() {
        check(&[(1, true), (1, true), (2, true)], 3, None);
        check(&[(1, true), (1, true), (2, false)], 3, Some(2));
        // That one of two had come a little earlier is no reason to let it stay.
        check(&[(1, false), (2, false), (3, false)], 4, Some(0));
        check(&[(1, false), (2, false), (2, false), (1, true), (1, true)], 3, Some(1));
        // A flood is at its own cost.
        check(&[(1, false), (2, false), (3, false)], 3, Some(2));
        check(&[], 1, None);
    }

    #[test]
    fn a_network_is_one_peer() {
        let [one, other] = ["2001:db8::1", "2001:db8::ffff:1"].map(|text| text.parse().unwrap());
        let mut slots = Slots::new(3);
        for (address, name) in [(address(1), 0), (one, 1), (other, 2)] {
            slots.admit(address, name, |_| false).unwrap();
        }
        let (id, gone) = slots.admit(address(2), 3, |_| false).unwrap();
        assert_eq!((gone, slots.used.len()), (Some(1), 3));
        slots.leave(id);
        assert_eq!(slots.used.len(), 2);
    }

    proptest! {
        #[test]
        fn a_flood_never_costs_another_address_its_only_one(
            max in 2..20usize, flood in prop::collection::vec(0..3u8, 1..200),
        ) {
            let mut slots = Slots::new(max);
            let (encoder, _) = slots.admit(address(9), (9, false), |used| used.1).unwrap();
            slots.admit(address(0), (0, false), |used| used.1).unwrap();
            // As long as one of the others has two.
            let mut total = 2;
            for number in flood {
                let admitted = slots.admit(address(number), (number, false), |used| used.1);
                total += usize::from(matches!(admitted, Ok((_, None))));
                prop_assert_eq!(slots.used.len(), total);
                prop_assert!(total <= max);
                if max > 4 {
                    prop_assert!(slots.used.contains_key(&encoder));
                }
            }
        }
    }
}
