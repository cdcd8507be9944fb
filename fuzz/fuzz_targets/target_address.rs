//! Addresses: judged by every form an IPv4 address takes inside an IPv6 one.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arbitrary::Arbitrary;
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use mediahooks_delivery::{TargetPolicy, check_address};

#[derive(Debug, Arbitrary)]
struct Input {
    bits: u128,
    v4: u32,
    allowed: Vec<(u128, u8, bool)>,
}

const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

fuzz_target!(|input: Input| {
    let v6 = Ipv6Addr::from(input.bits);
    let v4 = Ipv4Addr::from(input.v4);
    let none = TargetPolicy::default();

    let is_global_v4 = |v4: Ipv4Addr| {
        !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast())
            && !(v4.is_unspecified() || v4.is_broadcast() || v4.is_documentation())
    };
    if check_address(IpAddr::V4(v4), &none).is_ok() {
        assert!(is_global_v4(v4), "{v4}");
    }
    let segments = v6.segments();
    let last = Ipv4Addr::from(input.bits as u32);
    if check_address(IpAddr::V6(v6), &none).is_ok() {
        match segments {
            [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => assert!(is_global_v4(last), "{v6}"),
            [first, ..] => assert_eq!(first >> 13, 1, "{v6}"),
        }
    }

    let allowed = input.allowed.iter().take(8).filter_map(|(bits, prefix, is_v4)| {
        let address = if *is_v4 { IpAddr::V4((*bits as u32).into()) } else { IpAddr::V6((*bits).into()) };
        IpNet::new(address, prefix % 129).ok()
    });
    let mut allowed: Vec<IpNet> = allowed.collect();
    allowed.extend(["0.0.0.0/0".parse::<IpNet>().unwrap(), "::/0".parse::<IpNet>().unwrap()]);
    let everything = TargetPolicy::new(allowed);
    assert!(check_address(IpAddr::V4(METADATA), &everything).is_err());
    let smuggled = input.bits & !0xffff_ffff | u128::from(u32::from(METADATA));
    for prefix in [0xffff_u128 << 32, 0, 0x64_ff9b_u128 << 96, 0x64_ff9b_0001_u128 << 80] {
        let address = Ipv6Addr::from(prefix | u128::from(u32::from(METADATA)));
        assert!(check_address(IpAddr::V6(address), &everything).is_err(), "{address}");
    }
    let isatap = Ipv6Addr::from(smuggled & !(0xffff_ffff_u128 << 32) | 0x5efe_u128 << 32);
    assert!(check_address(IpAddr::V6(isatap), &everything).is_err(), "{isatap}");
});
