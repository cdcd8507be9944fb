use proptest::prelude::*;

use super::*;

fn address(number: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, number])
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn awaited(time: u64) -> Standing {
    Standing::Awaited(seconds(time))
}

fn idle(time: u64) -> Standing {
    Standing::Idle(seconds(time))
}

/// Ten places, six of them for one address at most.
fn places(held: &[(u8, usize, Standing)]) -> Places<Standing> {
    let mut places = Places::new(10, 6);
    for (number, count, standing) in held {
        for _ in 0..*count {
            places.admit(address(*number), *standing, |held| *held).unwrap();
        }
    }
    places
}

/// Who gives way to a newcomer: `None` is nobody, and the newcomer stays out.
fn check(held: &[(u8, usize, Standing)], newcomer: IpAddr, expected: Option<(u8, Standing)>) {
    let admitted = places(held).admit(newcomer, Standing::Served, |held| *held);
    let displaced = admitted.ok().map(|admitted| {
        let displaced = admitted.instead_of.expect("no place was free");
        (displaced.address, displaced.standing)
    });
    assert_eq!(displaced, expected.map(|(number, standing)| (address(number), standing)), "{held:?}");
}

#[test]
fn nobody_gives_way_while_there_are_places() {
    let mut places = places(&[(1, 6, awaited(100_000)), (2, 3, idle(59))]);
    let admitted = places.admit(address(3), Standing::Served, |held| *held).unwrap();
    assert!(admitted.instead_of.is_none());
    assert_eq!(places.len(), 10);
}

#[test]
fn one_client_is_one_whatever_it_calls_itself() {
    let mut places = Places::new(10, 2);
    let [first, mapped, six, neighbour, far] =
        ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
            .map(|text| text.parse::<IpAddr>().unwrap());
    let mut admit = |address| places.admit(address, Standing::Served, |held| *held).ok();
    let held = [first, mapped].map(|address| admit(address).unwrap().place);
    assert!(admit(first).is_none());
    assert!(admit(six).is_some() && admit(neighbour).is_some() && admit(six).is_none());
    assert!(admit(far).is_some());
    assert!(held.iter().all(|place| places.leave(*place).is_some()));
    assert!(places.leave(held[0]).is_none(), "it is gone already");
    assert_eq!((places.held_by(mapped), places.len()), (0, 3));
    assert!(places.admit(first, Standing::Served, |held| *held).is_ok());
    assert_eq!(places.counts.len(), 3, "addresses without a place are forgotten");
}

#[test]
fn two_addresses_cannot_hold_all_places_by_taking_next_to_nothing() {
    let held = [(1, 5, awaited(600)), (2, 4, awaited(900)), (3, 1, awaited(3))];
    // 5 × 600 is less than 4 × 900.
    check(&held, address(4), Some((2, awaited(900))));
    // It has as many as address 1 has, and less than what would make a difference.
    check(&held, address(1), Some((1, awaited(600))));
}

#[test]
fn who_downloads_fast_loses_a_place_only_to_one_who_has_clearly_fewer() {
    let held = [(1, 5, awaited(0)), (2, 5, awaited(1))];
    check(&held, address(3), Some((2, awaited(1))));
    check(&held, address(1), None);
    let held =
        [(1, 3, awaited(0)), (2, 2, awaited(1)), (3, 2, awaited(1)), (4, 2, awaited(0)), (5, 1, awaited(0))];
    check(&held, address(2), None);
    check(&held, address(5), Some((1, awaited(0))));
    let each_one: Vec<_> = (1..=10).map(|number| (number, 1, awaited(59))).collect();
    check(&each_one, address(11), None);
}

#[test]
fn a_slow_client_is_not_cut_while_others_hold_many() {
    check(
        &[(1, 1, awaited(120)), (2, 5, awaited(40)), (3, 4, awaited(40))],
        address(4),
        Some((2, awaited(40))),
    );
}

#[test]
fn many_networks_of_one_attacker_do_not_outweigh_an_office() {
    let mut held: Vec<_> = (2..=6).map(|number| (number, 1, awaited(600))).collect();
    held.push((1, 5, awaited(2)));
    check(&held, address(9), Some((2, awaited(600))));
}

#[test]
fn an_idle_connection_gives_way_to_anybody_but_not_at_once() {
    let mut held: Vec<_> = (1..=9).map(|number| (number, 1, awaited(0))).collect();
    held.push((10, 1, idle(4)));
    check(&held, address(1), None);
    held[9].2 = idle(5);
    check(&held, address(1), Some((10, idle(5))));
    check(&held, address(11), Some((10, idle(5))));
}

#[test]
fn at_its_own_limit_an_address_makes_room_itself_or_waits() {
    let held = [(1, 5, awaited(0)), (1, 1, awaited(59)), (2, 2, idle(50))];
    check(&held, address(1), None);
    check(&[(1, 5, awaited(0)), (1, 1, awaited(60)), (2, 2, idle(50))], address(1), Some((1, awaited(60))));
    check(&[(1, 5, awaited(0)), (1, 1, idle(6)), (2, 2, idle(50))], address(1), Some((1, idle(6))));
}

#[test]
fn localhost_gets_in_and_through_a_proxy_there_nobody_else_does() {
    let held: Vec<_> = (1..=10).map(|number| (number, 1, awaited(u64::from(number)))).collect();
    for local in ["127.0.0.1", "::ffff:127.0.0.1", "::1"] {
        check(&held, local.parse().unwrap(), Some((10, awaited(10))));
    }
    check(&held, "127.0.0.2".parse().unwrap(), None);
    let mut places = Places::new(2 * LOCAL_MIN, 2 * LOCAL_MIN);
    let local = IpAddr::from([127, 0, 0, 1]);
    for number in 0..LOCAL_MIN {
        places.admit(local, Standing::Served, |held| *held).unwrap();
        places.admit(address(number as u8), Standing::Served, |held| *held).unwrap();
    }
    assert!(places.admit(local, Standing::Served, |held| *held).is_err());
}

#[test]
fn who_waits_for_us_goes_last() {
    check(
        &[(1, 4, Standing::Served), (1, 1, awaited(1)), (2, 5, Standing::Served)],
        address(3),
        Some((1, awaited(1))),
    );
    check(&[(1, 4, Standing::Served), (2, 6, Standing::Served)], address(3), Some((2, Standing::Served)));
}

fn a_standing() -> impl Strategy<Value = Standing> {
    prop_oneof![(0..200u64).prop_map(idle), (0..2000u64).prop_map(awaited), Just(Standing::Served),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever comes and goes, the rule's promises hold.
    #[test]
    fn promises(
        max in 1..20usize,
        per_address_max in 1..12usize,
        steps in prop::collection::vec((0..8u8, a_standing(), any::<bool>(), any::<prop::sample::Index>()), 1..200),
    ) {
        let mut places = Places::new(max, per_address_max);
        let mut held: Vec<(PlaceId, u8, Standing)> = Vec::new();
        for (number, standing, leaves, which) in steps {
            if leaves && !held.is_empty() {
                let (place, ..) = held.swap_remove(which.index(held.len()));
                prop_assert!(places.leave(place).is_some());
                continue;
            }
            // Number 0 is localhost.
            let from = if number == 0 { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address(number) };
            let count = |of: u8| held.iter().filter(|(_, number, _)| *number == of).count();
            let (own, is_full) = (count(number), held.len() == max);
            let admitted = places.admit(from, standing, |held| *held);
            match admitted {
                Ok(Admitted { place, instead_of: None }) => {
                    prop_assert!(!is_full && own < per_address_max);
                    held.push((place, number, standing));
                }
                Ok(Admitted { place, instead_of: Some(displaced) }) => {
                    prop_assert!(is_full || own == per_address_max);
                    let at = held.iter().position(|(id, ..)| !places.held.contains_key(id)).unwrap();
                    let (_, of, had) = held[at];
                    prop_assert_eq!((had, count(of)), (displaced.standing, displaced.held));
                    // It made no use of its place, or the newcomer has fewer even now.
                    let makes_no_use = matches!(had, Standing::Idle(time) if time >= IDLE_MIN)
                        || matches!(had, Standing::Awaited(time) if time >= STALLED_MIN && (of == number || count(of) > own));
                    let is_fair = makes_no_use || count(of) >= own + 2 || (number == 0 && own < LOCAL_MIN);
                    prop_assert!(is_fair, "{:?} of {} for {} of {}", had, count(of), number, own);
                    // No other one of an address with as many has been of no use for longer.
                    let worse = held.iter().any(|(_, other, standing)| {
                        (own < per_address_max || *other == number)
                            && gives_way(*standing, *other == number, count(*other), own)
                            && count(*other) >= count(of)
                            && standing.unused_for() > had.unused_for()
                    });
                    prop_assert!(!worse);
                    held.swap_remove(at);
                    held.push((place, number, standing));
                }
                Err(back) => {
                    prop_assert_eq!(back, standing);
                    prop_assert!(is_full || own == per_address_max);
                    // Who holds nothing is let in, unless all others hold one each and use it; localhost is at any rate.
                    if own == 0 {
                        prop_assert!(number != 0);
                        prop_assert!(held.iter().all(|(_, of, had)| count(*of) == 1 && had.unused_for() < STALLED_MIN));
                    }
                }
            }
            prop_assert!(places.len() == held.len() && held.len() <= max);
            let count = |of: u8| held.iter().filter(|(_, number, _)| *number == of).count();
            prop_assert!((0..8).all(|number| count(number) <= per_address_max));
        }
    }
}
