//! Bounds the connections of one client address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The open connections of every client address; one without any has no entry.
#[derive(Clone)]
pub(crate) struct Peers {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_peer_max: usize,
}

/// One admitted connection, until dropped.
pub(crate) struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    /// Admits at most `per_peer_max` connections of one address at a time.
    pub(crate) fn new(per_peer_max: usize) -> Self {
        Self { open: Arc::default(), per_peer_max }
    }

    /// Admits one more connection of `address`, or none when it has as many as it may.
    pub(crate) fn admit(&self, address: IpAddr) -> Option<Place> {
        let peer = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(peer).or_default();
        if *count >= self.per_peer_max {
            return None;
        }
        *count += 1;
        Some(Place { peers: self.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

/// What one client has: an IPv4 address, or the /64 network in which it picks any IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_cannot_take_the_places_of_another() {
        let peers = Peers::new(2);
        let [first, mapped, other, six, neighbour, far] =
            ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
                .map(|text| text.parse::<IpAddr>().unwrap());
        let held = (peers.admit(first).unwrap(), peers.admit(mapped).unwrap());
        assert!(peers.admit(first).is_none());
        assert!(peers.admit(other).is_some());
        let _six = (peers.admit(six).unwrap(), peers.admit(neighbour).unwrap());
        assert!(peers.admit(six).is_none());
        assert!(peers.admit(far).is_some());
        drop(held);
        assert!(peers.admit(first).is_some());
        assert_eq!(peers.open.lock().unwrap().len(), 1, "addresses without a connection are forgotten");
    }
}
