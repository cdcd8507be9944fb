//! Which addresses a webhook may be sent to.
//!
//! The rows are the IANA special-purpose address registries (RFC 6890 and its updates), IPv4 and IPv6,
//! plus what they leave out: multicast, class E, deprecated ranges, transition formats. What a
//! registry marks "globally reachable" is allowed. Invariant: a cloud metadata address, in whatever
//! form, is refused by every policy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::target::TargetRefused;

/// What may be reached beyond the public Internet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetPolicy {
    allowed: Vec<IpNet>,
}

impl TargetPolicy {
    /// Allows the public Internet and `allowed`. A list with `127.0.0.1` in it covers `::1` too and the
    /// other way round, because `localhost` is both at once.
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether `address` is reachable only because the operator allowed it. The response of such a
    /// target is not shown to the webhook's owner: that would make a reader of private services out of it.
    pub fn is_private_exception(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        forbidden_range(address).is_some() && self.allows(address)
    }

    fn allows(&self, address: IpAddr) -> bool {
        let listed = |address: IpAddr| self.allowed.iter().any(|net| net.contains(&address));
        listed(address) || (is_localhost(address) && LOCALHOST.into_iter().any(listed))
    }
}

const LOCALHOST: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn is_localhost(address: IpAddr) -> bool {
    LOCALHOST.contains(&address)
}

/// Decides whether a request may go to `address`.
///
/// Call it on every address that is connected to, at every attempt: what a name resolves to changes.
///
/// Errors: [`TargetRefused::Metadata`] for a cloud metadata service, whatever the policy;
/// [`TargetRefused::Address`] for a range that is not the public Internet and not allow-listed.
pub fn check_address(address: IpAddr, policy: &TargetPolicy) -> Result<(), TargetRefused> {
    let judged = canonical(address);
    if is_metadata(judged) {
        return Err(TargetRefused::Metadata { address });
    }
    match forbidden_range(judged) {
        Some(range) if !policy.allows(judged) => Err(TargetRefused::Address { address, range }),
        _ => Ok(()),
    }
}

/// The IPv4 address that the network reaches when it is given this IPv6 address; others as they are.
/// IPv4-mapped (RFC 4291 §2.5.5.2) is undone by the kernel, `64:ff9b::/96` by NAT64 (RFC 6052 §2.1):
/// refusing the latter would cut off hosts that have no IPv4 of their own.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            IpAddr::V4(v4_of(high, low))
        }
        _ => address,
    }
}

fn v4_of(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

/// Services that hand out a machine's credentials to whoever can send a request from it.
const METADATA_V4: [Ipv4Addr; 8] = [
    // AWS, Google Cloud, Azure, Oracle, OpenStack, DigitalOcean and many more.
    Ipv4Addr::new(169, 254, 169, 254),
    // AWS: credentials of ECS tasks and of EKS pods.
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    // Tencent Cloud.
    Ipv4Addr::new(169, 254, 0, 23),
    // Scaleway.
    Ipv4Addr::new(169, 254, 42, 42),
    // Alibaba Cloud.
    Ipv4Addr::new(100, 100, 100, 200),
    // Oracle Cloud Classic.
    Ipv4Addr::new(192, 0, 0, 192),
    // Azure's WireServer. By number it is public; on every Azure machine it is the local host agent,
    // which gives out goal state and certificates. It can never be anybody's endpoint.
    Ipv4Addr::new(168, 63, 129, 16),
];

/// The same over IPv6: AWS twice, Google Cloud, Oracle, Scaleway.
const METADATA_V6: [Ipv6Addr; 5] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => METADATA_V6.contains(&v6) || tunnelled(v6).any(|v4| METADATA_V4.contains(&v4)),
    }
}

/// The IPv4 addresses that transition formats may carry inside an IPv6 address: in the last 32 bits
/// (compatible, SIIT, ISATAP), inverted there (Teredo), after the prefix (6to4), or in any of four places (a
/// network's own NAT64 in `64:ff9b:1::/48`; RFC 8215, RFC 6052 §2.2). Those formats are refused as ranges; this
/// finds a metadata address in one that was allow-listed.
fn tunnelled(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = address.segments();
    let last = matches!((a, b, c, d, e, f), (0, 0, 0, 0, 0 | 0xffff, 0) | (_, _, _, _, 0 | 0x200, 0x5efe));
    let bytes = address.octets();
    let at = |places: [usize; 4]| Ipv4Addr::from(places.map(|place| bytes[place]));
    // Byte 8 is always zero and no part of the address, whatever the length of the prefix.
    let local_nat64 = [at([6, 7, 9, 10]), at([7, 9, 10, 11]), at([9, 10, 11, 12]), at([12, 13, 14, 15])];
    let is_local_nat64 = (a, b, c) == (0x64, 0xff9b, 1);
    let single = [
        last.then(|| v4_of(high, low)),
        (a == 0x2001 && b == 0).then(|| v4_of(!high, !low)),
        (a == 0x2002).then(|| v4_of(b, c)),
    ];
    single.into_iter().flatten().chain(local_nat64.into_iter().filter(move |_| is_local_nat64))
}

/// One row: the first address, the length of the prefix, and what it is, for the message.
struct Row<A> {
    first: A,
    prefix: u8,
    name: &'static str,
}

const fn v4(a: u8, b: u8, c: u8, prefix: u8, name: &'static str) -> Row<Ipv4Addr> {
    Row { first: Ipv4Addr::new(a, b, c, 0), prefix, name }
}

const fn v6(a: u16, b: u16, c: u16, d: u16, prefix: u8, name: &'static str) -> Row<Ipv6Addr> {
    Row { first: Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix, name }
}

/// Not reachable on the public Internet. 192.0.0.0/24 is taken whole: its two global addresses (PCP and
/// TURN anycast) serve no webhooks. 255.255.255.255 lies in 240.0.0.0/4.
const FORBIDDEN_V4: [Row<Ipv4Addr>; 15] = [
    v4(0, 0, 0, 8, "this network (0.0.0.0/8)"),
    v4(10, 0, 0, 8, "private (10.0.0.0/8)"),
    v4(100, 64, 0, 10, "carrier-grade NAT (100.64.0.0/10)"),
    v4(127, 0, 0, 8, "loopback (127.0.0.0/8)"),
    v4(169, 254, 0, 16, "link-local (169.254.0.0/16)"),
    v4(172, 16, 0, 12, "private (172.16.0.0/12)"),
    v4(192, 0, 0, 24, "protocol assignments (192.0.0.0/24)"),
    v4(192, 0, 2, 24, "documentation (192.0.2.0/24)"),
    v4(192, 88, 99, 24, "6to4 relays, deprecated (192.88.99.0/24)"),
    v4(192, 168, 0, 16, "private (192.168.0.0/16)"),
    v4(198, 18, 0, 15, "benchmarking (198.18.0.0/15)"),
    v4(198, 51, 100, 24, "documentation (198.51.100.0/24)"),
    v4(203, 0, 113, 24, "documentation (203.0.113.0/24)"),
    v4(224, 0, 0, 4, "multicast (224.0.0.0/4)"),
    v4(240, 0, 0, 4, "reserved (240.0.0.0/4)"),
];

/// Not reachable on the public Internet. `::/8` and `2001::/23` are taken whole: what is global in them
/// is protocol anycast, the rest are ways to smuggle an IPv4 address. What is not in `2000::/3`
/// is refused in [`forbidden_v6`]; the rows outside it here are for a better message.
const FORBIDDEN_V6: [Row<Ipv6Addr>; 12] = [
    v6(0, 0, 0, 0, 8, "loopback, unspecified or embedded IPv4 (::/8)"),
    v6(0x100, 0, 0, 0, 64, "discard-only (100::/64)"),
    v6(0x100, 0, 0, 1, 64, "dummy prefix (100:0:0:1::/64)"),
    v6(0x2001, 0, 0, 0, 23, "protocol assignments and Teredo (2001::/23)"),
    v6(0x2001, 0xdb8, 0, 0, 32, "documentation (2001:db8::/32)"),
    v6(0x2002, 0, 0, 0, 16, "6to4 (2002::/16)"),
    v6(0x3fff, 0, 0, 0, 20, "documentation (3fff::/20)"),
    v6(0x5f00, 0, 0, 0, 16, "segment routing (5f00::/16)"),
    v6(0xfc00, 0, 0, 0, 7, "unique local (fc00::/7)"),
    v6(0xfe80, 0, 0, 0, 10, "link-local (fe80::/10)"),
    v6(0xfec0, 0, 0, 0, 10, "site-local, deprecated (fec0::/10)"),
    v6(0xff00, 0, 0, 0, 8, "multicast (ff00::/8)"),
];

fn forbidden_range(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => forbidden_v4(address),
        IpAddr::V6(address) => forbidden_v6(address),
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    let differs = |row: &Row<Ipv4Addr>| (u32::from(address) ^ u32::from(row.first)) >> (32 - row.prefix);
    FORBIDDEN_V4.iter().find(|row| differs(row) == 0).map(|row| row.name)
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    let differs = |row: &Row<Ipv6Addr>| (u128::from(address) ^ u128::from(row.first)) >> (128 - row.prefix);
    if let Some(row) = FORBIDDEN_V6.iter().find(|row| differs(row) == 0) {
        return Some(row.name);
    }
    match address.segments() {
        // RFC 5214 §6.1: the interface part of an ISATAP tunnel may follow any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => Some("ISATAP tunnel (::5efe:0:0)"),
        [first, ..] if first >> 13 != 0b001 => Some("not assigned for unicast (outside 2000::/3)"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn policy(nets: &[&str]) -> TargetPolicy {
        TargetPolicy::new(nets.iter().map(|net| net.parse().unwrap()).collect())
    }

    fn allowed(text: &str, policy: &TargetPolicy) -> bool {
        check_address(address(text), policy).is_ok()
    }

    /// Every row of both registries with its first and last address, and the ranges added to them.
    /// `true`: globally reachable.
    #[test]
    fn the_special_purpose_registries() {
        let rows = [
            // iana-ipv4-special-registry
            ("0.0.0.0", "0.255.255.255", false),
            ("10.0.0.0", "10.255.255.255", false),
            ("100.64.0.0", "100.127.255.255", false),
            ("127.0.0.0", "127.255.255.255", false),
            ("169.254.0.0", "169.254.255.255", false),
            ("172.16.0.0", "172.31.255.255", false),
            ("192.0.0.0", "192.0.0.255", false),
            ("192.0.0.0", "192.0.0.7", false),
            ("192.0.0.8", "192.0.0.8", false),
            ("192.0.0.9", "192.0.0.10", false),
            ("192.0.0.170", "192.0.0.171", false),
            ("192.0.2.0", "192.0.2.255", false),
            ("192.31.196.0", "192.31.196.255", true),
            ("192.52.193.0", "192.52.193.255", true),
            ("192.88.99.0", "192.88.99.255", false),
            ("192.168.0.0", "192.168.255.255", false),
            ("192.175.48.0", "192.175.48.255", true),
            ("198.18.0.0", "198.19.255.255", false),
            ("198.51.100.0", "198.51.100.255", false),
            ("203.0.113.0", "203.0.113.255", false),
            ("224.0.0.0", "239.255.255.255", false),
            ("240.0.0.0", "255.255.255.254", false),
            ("255.255.255.255", "255.255.255.255", false),
            // iana-ipv6-special-registry
            ("::1", "::1", false),
            ("::", "::", false),
            ("::ffff:0:0", "::ffff:0.255.255.255", false),
            ("64:ff9b::", "64:ff9b::0.255.255.255", false),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", false),
            ("100::", "100::ffff:ffff:ffff:ffff", false),
            ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", false),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2001:1::1", "2001:1::3", false),
            ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", false),
            ("2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff", false),
            ("2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", true),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            // Not in the registries.
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("::8.8.8.8", "::ffff:0:8.8.8.8", false),
            ("1fff:ffff::1", "4000::1", false),
            ("2a00:1450::5efe:8.8.8.8", "2a00:1450::200:5efe:10.0.0.1", false),
        ];
        for (first, last, global) in rows {
            for text in [first, last] {
                assert_eq!(allowed(text, &TargetPolicy::default()), global, "{text}");
            }
        }
    }

    #[test]
    fn the_neighbours_of_the_ranges_are_public() {
        let public = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2001:200::",
            "2001:db7:ffff::",
            "2001:db9::",
            "2003::",
            "3ffe::1",
            "3fff:1000::",
            "2606:4700::1111",
        ];
        for text in public {
            assert!(allowed(text, &TargetPolicy::default()), "{text}");
        }
    }

    #[test]
    fn an_embedded_ipv4_address_is_judged_as_itself() {
        let none = TargetPolicy::default();
        assert!(allowed("::ffff:8.8.8.8", &none) && allowed("64:ff9b::8.8.8.8", &none));
        for text in ["::ffff:127.0.0.1", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "64:ff9b::127.0.0.1"] {
            assert!(!allowed(text, &none), "{text}");
        }
        assert!(allowed("::ffff:10.1.2.3", &policy(&["10.0.0.0/8"])));
    }

    #[test]
    fn the_allow_list_opens_what_it_names_and_no_more() {
        let list = policy(&["10.1.0.0/16", "fd12::/16"]);
        assert!(allowed("10.1.2.3", &list) && allowed("fd12::1", &list) && allowed("8.8.8.8", &list));
        assert!(!allowed("10.2.0.1", &list) && !allowed("fd13::1", &list) && !allowed("127.0.0.1", &list));
        assert!(list.is_private_exception(address("10.1.2.3")));
        assert!(!list.is_private_exception(address("8.8.8.8")));
        assert!(!list.is_private_exception(address("10.2.0.1")));
    }

    #[test]
    fn localhost_is_one_place_in_both_families() {
        for net in ["127.0.0.0/8", "127.0.0.1/32", "::1/128"] {
            assert!(allowed("127.0.0.1", &policy(&[net])) && allowed("::1", &policy(&[net])), "{net}");
        }
        assert!(!allowed("127.0.0.2", &policy(&["::1/128"])));
        assert!(!allowed("::1", &policy(&["127.0.0.2/32"])));
    }

    #[test]
    fn metadata_services_are_refused_whatever_is_allowed() {
        let everything = policy(&["0.0.0.0/0", "::/0"]);
        let forms = [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "169.254.0.23",
            "169.254.42.42",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:0:a9:fea9:fe00:0",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2001::5601:5601",
            "fe80::5efe:169.254.169.254",
            "fe80::200:5efe:169.254.169.254",
        ];
        for text in forms {
            let refused = check_address(address(text), &everything);
            assert_eq!(refused, Err(TargetRefused::Metadata { address: address(text) }), "{text}");
        }
        assert!(allowed("169.254.169.253", &everything) && allowed("2001::1", &everything));
    }

    proptest! {
        #[test]
        fn the_mapped_form_of_an_address_fares_like_the_address(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from(bits);
            let none = TargetPolicy::default();
            let plain = check_address(IpAddr::V4(v4), &none).is_ok();
            prop_assert_eq!(check_address(IpAddr::V6(v4.to_ipv6_mapped()), &none).is_ok(), plain);
        }

        #[test]
        fn what_the_standard_library_calls_special_is_refused(bits in any::<u128>(), v4 in any::<u32>()) {
            let none = TargetPolicy::default();
            let v6 = Ipv6Addr::from(bits);
            if v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast() {
                prop_assert!(check_address(IpAddr::V6(v6), &none).is_err());
            }
            let v4 = Ipv4Addr::from(v4);
            if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() {
                prop_assert!(check_address(IpAddr::V4(v4), &none).is_err());
            }
        }
    }
}
