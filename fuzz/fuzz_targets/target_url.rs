//! The URL of a webhook: what passes the check has to be what every later reader sees.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use mediahooks_delivery::{TargetPolicy, check_address, parse_url};

fuzz_target!(|text: &str| {
    let policy = TargetPolicy::default();
    let Ok(url) = parse_url(text, &policy) else { return };
    let host = url.host_str().expect("a URL that passed has a host");
    assert!(url.username().is_empty() && url.password().is_none());
    if let Ok(literal) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        assert!(check_address(literal, &policy).is_ok(), "{url}");
    }
    // The request is built from this parser's reading.
    let mut url = url.clone();
    url.set_fragment(None);
    if let Ok(uri) = url.as_str().parse::<http::Uri>() {
        assert_eq!(uri.host(), Some(host), "{url}");
        assert_eq!(uri.port_u16(), url.port(), "{url}");
    }
    // Reading it again changes nothing.
    let again = parse_url(url.as_str(), &policy).expect("what passed passes again");
    assert_eq!(again, url);
});
