//! The account: its id, its API secrets and its expiration rules. Spec: `millicast-api.md` 9.

use axum::extract::State;
use mediahooks_database::{Conflict, DatabaseError};
use mediahooks_model::rules::Days;
use mediahooks_model::{ExpirationRules, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::App;
use crate::clock::now;
use crate::envelope::{Fail, Success};
use crate::errors::{ApiError, Result};
use crate::extract::auth::digest;
use crate::extract::json::JsonBody;
use crate::extract::members::Members;
use crate::extract::path::Segment;
use crate::requests::{ExpirationChange, NewApiSecret};

/// API secrets of one account. Ours: each request is compared with all of them.
const SECRETS_MAX: usize = 100;

/// The account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountInfo {
    /// Its id: the first half of every stream id.
    pub account_id: String,
}

/// How long each type of asset is kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExpirationRules)]
pub struct RulesView {
    /// Counts from a timeline's creation.
    pub timelines: RuleView,
    /// Counts from the end of a recording.
    pub recordings: RuleView,
    /// Counts from the request of a clip.
    pub clips: RuleView,
}

/// How long one type of asset is kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExpirationRule)]
pub struct RuleView {
    /// 1 to 365; absent: kept until deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<i64>,
}

/// An API secret without the secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiSecret)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
}

/// A new API secret. The secret is shown this once and is not stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewSecret {
    /// Its name.
    pub name: String,
    /// What to send as `Authorization: Bearer`.
    pub secret: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
}

/// Tells whose server this is.
#[utoipa::path(get, path = "/api/v3/account/info", tag = "Account",
    responses((status = 200, body = Success<AccountInfo>)))]
pub(crate) async fn info(State(app): State<App>) -> Success<AccountInfo> {
    Success::new(AccountInfo { account_id: app.config.account.to_string() })
}

/// Shows how long assets are kept.
#[utoipa::path(get, path = "/api/v3/account/media/expiration", tag = "Account",
    responses((status = 200, body = Success<RulesView>)))]
pub(crate) async fn expiration(State(app): State<App>) -> Result<Success<RulesView>> {
    Ok(Success::new(RulesView::new(&app.database.expiration_rules().await?)))
}

/// Changes how long assets are kept. `{}` resets a rule, an absent member leaves it. A new rule for
/// timelines applies to existing ones at once.
#[utoipa::path(put, path = "/api/v3/account/media/expiration", tag = "Account",
    request_body = ExpirationChange,
    responses((status = 200, body = Success<RulesView>), (status = 400, body = Fail)))]
pub(crate) async fn set_expiration(
    State(app): State<App>,
    JsonBody(mut body): JsonBody,
) -> Result<Success<RulesView>> {
    let _one_at_a_time = app.edits.lock().await;
    let mut rules = app.database.expiration_rules().await?;
    if let Some(days) = rule(&mut body, "timelines") {
        rules.timelines = days.unwrap_or(ExpirationRules::default().timelines);
    }
    if let Some(days) = rule(&mut body, "recordings") {
        rules.recordings = days;
    }
    if let Some(days) = rule(&mut body, "clips") {
        rules.clips = days;
    }
    let rules = body.finish(Some(rules))?;
    app.database.set_expiration_rules(rules).await?;
    Ok(Success::new(RulesView::new(&rules)))
}

/// `Some(None)` resets the rule.
fn rule(body: &mut Members, name: &str) -> Option<Option<Days>> {
    let members: Map<String, Value> = body.optional(name)?;
    let mut members = Members::new(members);
    let days: Option<i64> = members.optional("days");
    if let Err(error) = members.finish(Some(())) {
        tracing::debug!(?error, "an expiration rule that cannot be read");
        body.error("days", "The value is not valid for Days: expected a whole number.");
        return None;
    }
    let Some(days) = days else { return Some(None) };
    body.range("days", Some(days), 1..=365);
    Days::try_from(days).ok().map(Some)
}

impl RulesView {
    fn new(rules: &ExpirationRules) -> Self {
        let view = |days: Option<Days>| RuleView { days: days.map(i64::from) };
        Self {
            timelines: view(Some(rules.timelines)),
            recordings: view(rules.recordings),
            clips: view(rules.clips),
        }
    }
}

/// Lists the account's API secrets by name.
#[utoipa::path(get, path = "/api/v3/account/secrets", tag = "Account",
    responses((status = 200, body = Success<Vec<SecretView>>)))]
pub(crate) async fn secrets(State(app): State<App>) -> Result<Success<Vec<SecretView>>> {
    let secrets = app.database.api_secrets().await?;
    let view = secrets.into_iter().map(|secret| SecretView { name: secret.name, created: secret.created });
    Ok(Success::new(view.collect()))
}

/// Adds an API secret and shows it, this once.
#[utoipa::path(post, path = "/api/v3/account/secrets", tag = "Account",
    request_body = NewApiSecret,
    responses((status = 200, body = Success<NewSecret>), (status = 400, body = Fail)))]
pub(crate) async fn add_secret(
    State(app): State<App>,
    JsonBody(mut body): JsonBody,
) -> Result<Success<NewSecret>> {
    let name: Option<String> = body.required("name");
    body.length("name", name.as_deref(), 1..=128);
    let name = body.finish(name)?;
    let _one_at_a_time = app.edits.lock().await;
    if app.database.api_secrets().await?.len() >= SECRETS_MAX {
        return Err(ApiError::fail(format!(
            "An account has at most {SECRETS_MAX} API secrets; remove one first"
        )));
    }
    let secret = hex::encode(rand::random::<[u8; 32]>());
    let created = now();
    match app.database.add_api_secret(name.clone(), digest(secret.as_bytes()), created).await {
        Ok(()) => Ok(Success::new(NewSecret { name, secret, created })),
        Err(DatabaseError::Conflict(Conflict::Exists)) => {
            Err(ApiError::about("name", "There is an API secret with this name already; choose another name"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes an API secret; it is dead at once. The last one stays.
#[utoipa::path(delete, path = "/api/v3/account/secrets/{name}", tag = "Account",
    params(("name" = String, Path)),
    responses((status = 200, body = Success<bool>), (status = 400, body = Fail)))]
pub(crate) async fn remove_secret(State(app): State<App>, Segment(name): Segment) -> Result<Success<bool>> {
    let _one_at_a_time = app.edits.lock().await;
    let secrets = app.database.api_secrets().await?;
    if !secrets.iter().any(|secret| secret.name == name) {
        return Err(ApiError::about("name", "There is no API secret with this name"));
    }
    if secrets.len() == 1 {
        return Err(ApiError::about(
            "name",
            "This is the last API secret; add another one before you remove it",
        ));
    }
    Ok(Success::new(app.database.remove_api_secret(name).await?))
}
