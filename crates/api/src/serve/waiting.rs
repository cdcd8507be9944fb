//! Newcomers for whom there was no place, while they wait for one.
//!
//! Pure. What always holds: at most [`WAITING_MAX`] wait, at most [`PER_ADDRESS_MAX`] of one address, none longer than it
//! was told to.

use std::net::IpAddr;

use tokio::time::Instant;

use super::places::network;

/// How many wait at one time.
const WAITING_MAX: usize = 256;

/// How many of one address.
const PER_ADDRESS_MAX: usize = 32;

/// Those who wait, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Waiting<T>(Vec<Waiter<T>>);

/// One who waits.
#[derive(Debug)]
pub(crate) struct Waiter<T> {
    pub(crate) address: IpAddr,
    pub(crate) until: Instant,
    pub(crate) newcomer: T,
}

impl<T> Waiting<T> {
    /// Nobody waits.
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether nobody does.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets one wait, or gives it back when too many do.
    pub(crate) fn add(&mut self, waiter: Waiter<T>) -> Result<(), Waiter<T>> {
        let of_address =
            self.0.iter().filter(|other| network(other.address) == network(waiter.address)).count();
        if self.0.len() >= WAITING_MAX || of_address >= PER_ADDRESS_MAX {
            return Err(waiter);
        }
        self.0.push(waiter);
        Ok(())
    }

    /// Offers places that may be free now: first to who has the fewest, and of these to who came first. `admit` gives back
    /// whom it has no place for; nobody who has more is asked then.
    pub(crate) fn offer(
        &mut self,
        held_by: impl Fn(IpAddr) -> usize,
        mut admit: impl FnMut(Waiter<T>) -> Result<(), Waiter<T>>,
    ) {
        loop {
            let first =
                (0..self.0.len()).min_by_key(|at| self.0.get(*at).map(|waiter| held_by(waiter.address)));
            let Some(at) = first else { return };
            if let Err(waiter) = admit(self.0.remove(at)) {
                self.0.insert(at, waiter);
                return;
            }
        }
    }

    /// Takes out who has waited for as long as it may.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<Waiter<T>> {
        self.0.extract_if(.., |waiter| waiter.until <= now).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn waiter(number: u8, newcomer: usize) -> Waiter<usize> {
        let until = Instant::now() + Duration::from_secs(newcomer as u64);
        Waiter { address: IpAddr::from([192, 0, 2, number]), until, newcomer }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_fewest_is_next() {
        let mut waiting = Waiting::new();
        for (number, newcomer) in [(3, 1), (1, 2), (2, 3), (1, 4)] {
            waiting.add(waiter(number, newcomer)).unwrap();
        }
        let held_by = |address: IpAddr| match address {
            IpAddr::V4(address) => usize::from(address.octets()[3]),
            IpAddr::V6(_) => 0,
        };
        let (mut free, mut admitted) = (3, Vec::new());
        waiting.offer(held_by, |waiter| {
            if free == 0 {
                return Err(waiter);
            }
            free -= 1;
            admitted.push(waiter.newcomer);
            Ok(())
        });
        assert_eq!(admitted, [2, 4, 3]);
        assert!(waiting.expired(Instant::now()).is_empty());
        let expired = waiting.expired(Instant::now() + Duration::from_secs(1));
        assert!(expired.len() == 1 && waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_does_not_take_all_the_room() {
        let mut waiting = Waiting::new();
        let added = |waiting: &mut Waiting<_>, number| {
            (0..WAITING_MAX).take_while(|_| waiting.add(waiter(number, 0)).is_ok()).count()
        };
        assert_eq!((added(&mut waiting, 1), added(&mut waiting, 2)), (PER_ADDRESS_MAX, PER_ADDRESS_MAX));
        let others: usize = (3..100).map(|number| added(&mut waiting, number)).sum();
        assert_eq!(others, WAITING_MAX - 2 * PER_ADDRESS_MAX);
    }
}
