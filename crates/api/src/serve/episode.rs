//! What is told of a time in which places had run out: one line when it begins, one when it is over.
//!
//! Pure: fed by [`super`] with who lost a place or got none. What always holds: at most two lines in
//! [`QUIET`], and memory for [`NAMES_MAX`] addresses, however many there are.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// An episode is over when nobody lost a place or got none for so long.
const QUIET: Duration = Duration::from_secs(60);

/// One that lasts is told of as several of this length.
const LENGTH_MAX: Duration = Duration::from_secs(600);

/// Addresses that are counted one by one.
const NAMES_MAX: usize = 1024;

/// Addresses that are named.
const NAMED: usize = 5;

/// The current episode, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Episode(Option<Open>);

#[derive(Debug)]
struct Open {
    began: Instant,
    last: Instant,
    cut: usize,
    refused: usize,
    /// How often an address lost a place or got none.
    addresses: HashMap<IpAddr, usize>,
}

/// An episode that is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// From the first loss to the last.
    pub(crate) lasted: Duration,
    /// Connections that lost their place.
    pub(crate) cut: usize,
    /// Connections that got none.
    pub(crate) refused: usize,
    /// The addresses that they were of, with how often; those with the most.
    pub(crate) addresses: String,
}

impl Episode {
    /// A connection of `address` lost its place; answers whether the episode begins with it.
    pub(crate) fn cut(&mut self, address: IpAddr, now: Instant) -> bool {
        let (open, begins) = self.note(address, now);
        open.cut += 1;
        begins
    }

    /// A connection of `address` got no place; answers whether the episode begins with it.
    pub(crate) fn refused(&mut self, address: IpAddr, now: Instant) -> bool {
        let (open, begins) = self.note(address, now);
        open.refused += 1;
        begins
    }

    fn note(&mut self, address: IpAddr, now: Instant) -> (&mut Open, bool) {
        let begins = self.0.is_none();
        let open = self.0.get_or_insert_with(|| Open {
            began: now,
            last: now,
            cut: 0,
            refused: 0,
            addresses: HashMap::new(),
        });
        open.last = now;
        if open.addresses.len() < NAMES_MAX || open.addresses.contains_key(&address) {
            *open.addresses.entry(address).or_default() += 1;
        }
        (open, begins)
    }

    /// Whether one is under way.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Ends an episode that is over at `now`.
    pub(crate) fn over(&mut self, now: Instant) -> Option<Summary> {
        let open = self.0.as_ref()?;
        if now < open.last + QUIET && now < open.began + LENGTH_MAX {
            return None;
        }
        self.end()
    }

    /// Ends the episode that is under way.
    pub(crate) fn end(&mut self) -> Option<Summary> {
        let open = self.0.take()?;
        let mut counts: Vec<_> = open.addresses.into_iter().collect();
        counts.sort_unstable_by_key(|(address, count)| (Reverse(*count), *address));
        let mut addresses = String::new();
        for (address, count) in counts.iter().take(NAMED) {
            let comma = if addresses.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(addresses, "{comma}{address} ({count})");
        }
        if counts.len() > NAMED {
            let _ = write!(addresses, " and others");
        }
        let lasted = open.last - open.began;
        Some(Summary { lasted, cut: open.cut, refused: open.refused, addresses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_episode_is_told_of_when_it_is_over() {
        let (mut episode, start) = (Episode::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let address = |number: u8| IpAddr::from([192, 0, 2, number]);
        assert_eq!((episode.is_open(), episode.over(at(0))), (false, None));
        assert!(episode.cut(address(1), at(0)));
        assert!(!episode.refused(address(2), at(50)) && !episode.cut(address(1), at(100)));
        assert_eq!((episode.is_open(), episode.over(at(159))), (true, None));
        let summary = episode.over(at(160)).unwrap();
        let addresses = "192.0.2.1 (2), 192.0.2.2 (1)".to_owned();
        assert_eq!(summary, Summary { lasted: Duration::from_secs(100), cut: 2, refused: 1, addresses });
        assert_eq!((episode.is_open(), episode.end()), (false, None));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_lasts_is_told_of_in_between_and_names_only_some() {
        let (mut episode, start) = (Episode::default(), Instant::now());
        for number in 0..6000u32 {
            let now = start + Duration::from_millis(u64::from(number) * 100);
            assert_eq!(episode.cut(IpAddr::from(number.to_be_bytes()), now), number == 0);
            assert_eq!(episode.over(now), None);
        }
        let summary = episode.over(start + LENGTH_MAX).unwrap();
        assert_eq!(summary.cut, 6000);
        assert_eq!(
            summary.addresses,
            "0.0.0.0 (1), 0.0.0.1 (1), 0.0.0.2 (1), 0.0.0.3 (1), 0.0.0.4 (1) and others"
        );
    }
}
