//! The data directory, and what is made in it at the first start: the account and its first API secret.

use std::path::Path;

use mediahooks_database::{Conflict, Database, DatabaseError};
use mediahooks_model::AccountId;
use rand::Rng as _;
use rand::distr::Alphanumeric;
use sha2::{Digest as _, Sha256};

use crate::output::failure::Failure;
use crate::output::human;

/// The database, in the data directory.
pub const DATABASE_FILE: &str = "mediahooks.db";

/// The directory of all media, in the data directory.
pub const MEDIA_DIRECTORY: &str = "media";

/// Sets the API secret from outside.
pub const SECRET_VARIABLE: &str = "MEDIAHOOKS_API_SECRET";

/// The name of the secret that a first start makes.
const FIRST_SECRET: &str = "first";

/// The name of the secret that [`SECRET_VARIABLE`] sets.
const VARIABLE_SECRET: &str = "environment";

/// A fresh API secret: 256 bits, hexadecimal.
pub fn fresh_secret() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

/// What is stored of an API secret.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// The account's id: six letters and digits at the first start, ever the same afterwards.
pub async fn account(database: &Database) -> anyhow::Result<AccountId> {
    let fresh: String = rand::rng().sample_iter(Alphanumeric).take(6).map(char::from).collect();
    Ok(database.account_or_create(AccountId::try_from(fresh)?, human::now()).await?)
}

/// Sees to it that somebody can use the server: `given` becomes a valid secret, whatever it was before;
/// without it, and without any secret yet, one is made and returned, to be shown once.
pub async fn secrets(database: &Database, given: Option<&str>) -> anyhow::Result<Option<String>> {
    let known = database.api_secrets().await?;
    match given {
        Some(secret) => {
            check(secret)?;
            let hash = hash(secret);
            if !known.iter().any(|known| known.sha256 == hash) {
                database.remove_api_secret(VARIABLE_SECRET.to_owned()).await?;
                add(database, VARIABLE_SECRET, hash).await?;
            }
            Ok(None)
        }
        None if known.is_empty() => {
            let secret = fresh_secret();
            add(database, FIRST_SECRET, hash(&secret)).await?;
            Ok(Some(secret))
        }
        None => Ok(None),
    }
}

async fn add(database: &Database, name: &str, hash: [u8; 32]) -> anyhow::Result<()> {
    match database.add_api_secret(name.to_owned(), hash, human::now()).await {
        Ok(()) | Err(DatabaseError::Conflict(Conflict::Exists)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A secret travels in a header, so not every text can be one. The text is left out: it may be a real one
/// with a typing error.
fn check(secret: &str) -> anyhow::Result<()> {
    const CHARS_MIN: usize = 8;
    if secret.len() < CHARS_MIN || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new(format!("{SECRET_VARIABLE} cannot be an API secret"))
            .because(format!("it needs at least {CHARS_MIN} characters, without spaces, from ASCII"))
            .advise("make one with `openssl rand -hex 32`")
            .into());
    }
    Ok(())
}

/// What a first start prints.
pub fn introduction(account: &AccountId, secret: &str, data: &Path) -> String {
    format!(
        "\n\
         Media Hooks is set up in {}\n\
         \n  account     {account}\n  API secret  {secret}\n\n\
         The secret is shown this once. Keep it, and give it to applications and to this program:\n\
         \n  export {SECRET_VARIABLE}={secret}\n\n",
        data.display()
    )
}

#[cfg(test)]
mod tests {
    use mediahooks_database::Options;

    use super::*;

    async fn names(database: &Database) -> Vec<String> {
        database.api_secrets().await.unwrap().into_iter().map(|secret| secret.name).collect()
    }

    #[tokio::test]
    async fn a_first_start_makes_one_secret_and_later_ones_none() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join(DATABASE_FILE), Options::default()).unwrap();
        let account = super::account(&database).await.unwrap();
        assert_eq!(account.as_str().len(), 6);
        let secret = secrets(&database, None).await.unwrap().unwrap();
        assert_eq!(secret.len(), 64);
        assert_eq!(secrets(&database, None).await.unwrap(), None);
        assert_eq!(super::account(&database).await.unwrap(), account);
        assert_eq!(names(&database).await, ["first"]);
    }

    #[tokio::test]
    async fn a_given_secret_replaces_the_one_given_before() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join(DATABASE_FILE), Options::default()).unwrap();
        for given in ["secret-one", "secret-one", "secret-two"] {
            assert_eq!(secrets(&database, Some(given)).await.unwrap(), None);
            let stored = database.api_secrets().await.unwrap();
            assert_eq!(stored.len(), 1);
            assert_eq!(stored[0].sha256, hash(given));
        }
        assert!(secrets(&database, Some("two words")).await.is_err());
        assert!(secrets(&database, Some("short")).await.is_err());
    }
}
