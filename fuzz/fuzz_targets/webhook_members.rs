//! What a webhook's owner adds: headers, certificates, secrets.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use mediahooks_delivery::{WebhookSecret, check_headers, read_tls};

fuzz_target!(|texts: (BTreeMap<String, String>, String, String)| {
    let (headers, one, other) = texts;
    if let Ok(checked) = check_headers(&headers) {
        for (name, value) in &checked {
            assert!(http::HeaderName::try_from(name.as_str()).is_ok(), "{name:?}");
            assert!(http::HeaderValue::try_from(value.as_str()).is_ok(), "{value:?}");
        }
        assert_eq!(check_headers(&checked), Ok(checked.clone()));
    }
    let _ = read_tls(Some(&one), Some(&other), Some(&one));
    let _ = one.parse::<WebhookSecret>();
});
