use mediahooks_database::{Conflict, DatabaseError};
use mediahooks_model::rules::Days;
use mediahooks_model::{AssetType, ExpirationRules};

use crate::support::*;

#[tokio::test]
async fn the_first_account_stays() {
    let fresh = Fresh::open().await;
    let account = fresh.db.account_or_create("other1".parse().unwrap(), at(1)).await.unwrap();
    assert_eq!(account.as_str(), "dkxfvY");
}

#[tokio::test]
async fn api_secrets_are_listed_in_order_and_names_are_unique() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    db.add_api_secret("b".into(), [1; 32], at(1)).await.unwrap();
    db.add_api_secret("a".into(), [2; 32], at(2)).await.unwrap();
    let again = db.add_api_secret("a".into(), [3; 32], at(3)).await;
    assert!(matches!(again, Err(DatabaseError::Conflict(Conflict::Exists))), "{again:?}");

    let secrets = db.api_secrets().await.unwrap();
    assert_eq!(secrets.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!((secrets[1].sha256, secrets[1].created), ([2; 32], at(2)));

    assert!(db.remove_api_secret("b".into()).await.unwrap());
    assert!(!db.remove_api_secret("b".into()).await.unwrap());
    assert_eq!(db.api_secrets().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_key_is_made_once_per_name() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    assert_eq!(db.server_key("download", [1; 32]).await.unwrap(), [1; 32]);
    assert_eq!(db.server_key("download", [2; 32]).await.unwrap(), [1; 32]);
    assert_eq!(db.server_key("other", [2; 32]).await.unwrap(), [2; 32]);
}

#[tokio::test]
async fn new_rules_reach_existing_timelines_and_nothing_else() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    assert_eq!(db.expiration_rules().await.unwrap(), ExpirationRules::default());
    let kinds = [AssetType::Timeline, AssetType::Clip, AssetType::Recording];
    let mut changes: Vec<_> = (0..).zip(kinds).map(|(n, kind)| create(asset(n, kind, None))).collect();
    changes.push(create(asset(9, AssetType::Timeline, None)));
    changes.push(step(9, fail()));
    changes.push(step(9, mediahooks_model::AssetInput::Delete));
    db.commit(changes, at(0)).await.unwrap();

    let rules = ExpirationRules { timelines: Days::try_from(3).unwrap(), ..ExpirationRules::default() };
    db.set_expiration_rules(rules).await.unwrap();
    db.set_expiration_rules(rules).await.unwrap();

    assert_eq!(db.expiration_rules().await.unwrap(), rules);
    let mut expirations = Vec::new();
    for n in [0, 1, 2, 9] {
        expirations.push(db.asset(asset_id(n)).await.unwrap().unwrap().expiration);
    }
    assert_eq!(expirations, [Some(at(3 * 86_400_000)), None, None, None]);
}
