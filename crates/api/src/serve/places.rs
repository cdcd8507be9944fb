//! Who has a place on the server, and who gives one up when all are taken.
//!
//! Pure: fed by [`super`] with who comes and goes; how its holder uses a place is asked when it matters. What always
//! holds: no more places are held than there are, nor by one address than it may. A place is taken away only for a
//! newcomer that gets it. Whoever has fewer than others is never the one to give way to them, unless
//! it makes no use of its place.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// A connection without a request that is older gives its place up to anybody. Younger ones may have one under way.
const IDLE_MIN: Duration = Duration::from_secs(5);

/// A connection whose client moved nothing on for so long gives its place up to whoever has fewer.
const STALLED_MIN: Duration = Duration::from_secs(60);

/// With fewer places than this, a client on this machine gets one whatever the others do: somebody may have to look at
/// a server that is attacked.
const LOCAL_MIN: usize = 8;

/// What the holder of a place does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has had everything, and asked for nothing more for so long.
    Idle(Duration),
    /// We wait for it: it was for so long that nothing moved on.
    Awaited(Duration),
    /// It waits for us.
    Served,
}

impl Standing {
    /// A word for logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle(_) => "idle",
            Self::Awaited(time) if time >= STALLED_MIN => "stalled",
            Self::Awaited(_) => "awaited",
            Self::Served => "served",
        }
    }

    fn unused_for(self) -> Duration {
        match self {
            Self::Idle(time) | Self::Awaited(time) => time,
            Self::Served => Duration::ZERO,
        }
    }
}

/// Names a place that is held. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlaceId(u64);

/// All places, and what is known of their holders.
#[derive(Debug)]
pub(crate) struct Places<T> {
    max: usize,
    per_address_max: usize,
    next: u64,
    held: BTreeMap<PlaceId, (IpAddr, T)>,
    /// Of every address that holds any.
    counts: HashMap<IpAddr, usize>,
}

/// A newcomer got a place.
#[derive(Debug)]
pub(crate) struct Admitted<T> {
    pub(crate) place: PlaceId,
    /// It was this one's, which has to leave.
    pub(crate) instead_of: Option<Displaced<T>>,
}

/// Somebody lost its place.
#[derive(Debug)]
pub(crate) struct Displaced<T> {
    pub(crate) holder: T,
    pub(crate) standing: Standing,
    /// Its address, as places are counted.
    pub(crate) address: IpAddr,
    /// How many places the address held until then.
    pub(crate) held: usize,
}

impl<T> Places<T> {
    /// `max` places, of which one address holds at most `per_address_max`.
    pub(crate) fn new(max: usize, per_address_max: usize) -> Self {
        Self { max, per_address_max, next: 0, held: BTreeMap::new(), counts: HashMap::new() }
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// How many clients of this `address` hold.
    pub(crate) fn held_by(&self, address: IpAddr) -> usize {
        self.counts.get(&network(address)).copied().unwrap_or(0)
    }

    /// Gives `newcomer` a place, or it back when there is none for it. When none is free, somebody gives way who may
    /// have to: of these the one whose unused time, times the places of its address, is most. So neither many
    /// connections that do something nor a single one that does nothing outweigh many that do nothing.
    pub(crate) fn admit(
        &mut self,
        address: IpAddr,
        newcomer: T,
        standing: impl Fn(&T) -> Standing,
    ) -> Result<Admitted<T>, T> {
        let (is_local, address) = (is_local(address), network(address));
        let own = self.held_by(address);
        let is_free = self.held.len() < self.max && own < self.per_address_max;
        let instead_of = if is_free {
            None
        } else {
            let may = |of: IpAddr, standing: Standing| {
                // With as many as it may have, its own connections are the only ones that make room.
                (own < self.per_address_max || of == address)
                    && (gives_way(standing, of == address, self.held_by(of), own)
                        || (is_local && own < LOCAL_MIN))
            };
            let worst = self
                .held
                .iter()
                .map(|(id, (of, holder))| (*id, *of, standing(holder)))
                .filter(|(_, of, standing)| may(*of, *standing))
                .max_by_key(|(id, of, standing)| {
                    let held = self.held_by(*of);
                    (standing.unused_for().as_millis() * held as u128, held, std::cmp::Reverse(*id))
                });
            let Some((id, of, standing)) = worst else { return Err(newcomer) };
            let held = self.held_by(of);
            let Some(holder) = self.leave(id) else { return Err(newcomer) };
            Some(Displaced { holder, standing, address: of, held })
        };
        let place = PlaceId(self.next);
        self.next += 1;
        self.held.insert(place, (address, newcomer));
        *self.counts.entry(address).or_default() += 1;
        Ok(Admitted { place, instead_of })
    }

    /// Frees a place, if it was not taken away before; answers with who held it.
    pub(crate) fn leave(&mut self, place: PlaceId) -> Option<T> {
        let (address, holder) = self.held.remove(&place)?;
        if let Some(count) = self.counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&address);
            }
        }
        Some(holder)
    }
}

/// Whether a holder whose address has `theirs` places may have to give one up to an address that has `own`.
fn gives_way(standing: Standing, is_own: bool, theirs: usize, own: usize) -> bool {
    match standing {
        Standing::Idle(time) if time >= IDLE_MIN => true,
        Standing::Awaited(time) if time >= STALLED_MIN => is_own || theirs > own,
        // It still has as many as the newcomer then: two addresses never take a place from one another in turns.
        _ => theirs >= own + 2,
    }
}

/// Whether a client calls the server by the name of its own machine. Through a proxy there everybody does.
fn is_local(address: IpAddr) -> bool {
    matches!(address.to_canonical(), IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST))
}

/// What one client has: an IPv4 address, or the /64 network in which it picks any IPv6 address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests;
