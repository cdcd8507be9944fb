use mediahooks_database::{Conflict, DatabaseError, TokenFilter, TokenSort};
use mediahooks_model::token::StreamRule;
use mediahooks_model::{PublishToken, TokenId};

use crate::support::*;

fn token(label: &str, secret: char, streams: &[(&str, bool)], added_ms: i64) -> PublishToken {
    let rule =
        |(name, is_regex): &(&str, bool)| StreamRule { stream_name: (*name).into(), is_regex: *is_regex };
    PublishToken {
        id: TokenId(0),
        label: label.into(),
        token: secret.to_string().repeat(64),
        added_on: at(added_ms),
        expires_on: Some(at(99)),
        is_active: true,
        streams: streams.iter().map(rule).collect(),
        allowed_ip_addresses: vec!["10.0.0.0/8".parse().unwrap()],
        bind_ips_on_usage: None,
        record: true,
        clip: false,
        multisource: true,
        priority: Some(-3),
        other: serde_json::Map::from_iter([("geoCascade".into(), serde_json::json!({"isEnabled": true}))]),
    }
}

#[tokio::test]
async fn every_member_is_kept() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let stored = db.create_token(token("main", 'a', &[("cam", false)], 0)).await.unwrap();
    assert_eq!(db.token(stored.id).await.unwrap().as_ref(), Some(&stored));
    assert_eq!(db.token_by_secret(&"a".repeat(64)).await.unwrap().as_ref(), Some(&stored));
    assert_eq!(db.token_by_secret(&"A".repeat(64)).await.unwrap(), None);

    let changed = PublishToken { id: stored.id, is_active: false, ..token("new", 'b', &[("x.*", true)], 5) };
    db.replace_token(changed.clone()).await.unwrap();
    assert_eq!(db.token(stored.id).await.unwrap(), Some(changed));
    assert_eq!(db.token_by_secret(&"a".repeat(64)).await.unwrap(), None);

    assert!(db.delete_token(stored.id).await.unwrap());
    assert!(!db.delete_token(stored.id).await.unwrap());
    assert_eq!(db.token(stored.id).await.unwrap(), None);
    let gone = db.replace_token(stored.clone()).await;
    assert!(matches!(gone, Err(DatabaseError::NotFound)), "{gone:?}");
    let next = db.create_token(token("main", 'a', &[], 0)).await.unwrap();
    assert!(next.id > stored.id, "a number is never used again");
}

#[tokio::test]
async fn a_secret_belongs_to_one_token() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    db.create_token(token("one", 'a', &[], 0)).await.unwrap();
    let two = db.create_token(token("two", 'b', &[], 0)).await.unwrap();
    for outcome in [
        db.create_token(token("three", 'a', &[], 0)).await.map(drop),
        db.replace_token(PublishToken { token: "a".repeat(64), ..two }).await,
    ] {
        assert!(matches!(outcome, Err(DatabaseError::Conflict(Conflict::Exists))), "{outcome:?}");
    }
}

#[tokio::test]
async fn lists_are_sorted_paged_and_found_by_exact_names() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    for new in [
        token("b", '1', &[("cam", false), ("cam", false)], 3),
        token("c", '2', &[("cam", true), ("b", false)], 1),
        token("a", '3', &[("a", false)], 2),
    ] {
        db.create_token(new).await.unwrap();
    }
    let labels = |tokens: Vec<PublishToken>| tokens.into_iter().map(|token| token.label).collect::<String>();
    let (name, added) = (TokenSort::Name, TokenSort::AddedOn);
    assert_eq!(labels(db.tokens(name, false, 0, 10).await.unwrap()), "abc");
    assert_eq!(labels(db.tokens(name, true, 1, 1).await.unwrap()), "b");
    assert_eq!(labels(db.tokens(added, false, 0, 10).await.unwrap()), "cab");
    assert_eq!(labels(db.tokens(added, false, 3, 10).await.unwrap()), "");
    for (searched, filter, found) in [
        ("b", TokenFilter::TokenName, "b"),
        ("b", TokenFilter::StreamName, "c"),
        ("b", TokenFilter::TokenOrStreamName, "bc"),
        ("cam", TokenFilter::TokenOrStreamName, "b"),
        ("zzz", TokenFilter::None, "abc"),
    ] {
        let tokens = db.tokens_by_name(searched, filter, name, false, 0, 10).await.unwrap();
        assert_eq!(labels(tokens), found, "{searched} {filter:?}");
    }
}

#[tokio::test]
async fn the_first_addresses_are_bound() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let id = db.create_token(token("main", 'a', &[], 0)).await.unwrap().id;
    let mut admitted = Vec::new();
    for address in ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.2"] {
        admitted.push(db.bind_token_address(id, address.parse().unwrap(), 2).await.unwrap());
    }
    assert_eq!(admitted, [true, true, true, false, true]);
    let unknown = db.bind_token_address(TokenId(99), "10.0.0.1".parse().unwrap(), 2).await;
    assert!(matches!(unknown, Err(DatabaseError::NotFound)), "{unknown:?}");
    assert!(db.delete_token(id).await.unwrap());
}
