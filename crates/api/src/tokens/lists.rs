//! Lists of publish tokens, and which of them are live.

use std::collections::BTreeSet;

use axum::extract::State;
use mediahooks_database::{TokenFilter, TokenSort};
use mediahooks_model::PublishToken;

use super::wire::{TokenIds, TokenView, Version};
use crate::App;
use crate::envelope::{Fail, Success};
use crate::errors::{ApiError, Result};
use crate::extract::query::Query;

/// Pages of the older lists: both numbers have to be given.
struct LegacyPage {
    sort: TokenSort,
    desc: bool,
    offset: u64,
    limit: u32,
}

impl LegacyPage {
    fn read(query: &mut Query) -> Self {
        let sort = query.word(&["sortBy", "sort"], sort_named).unwrap_or_default();
        let desc = query.one(&["isDescending", "desc"]).unwrap_or(false);
        let page = query.required_number(&["page"], 1..=2_147_483_647);
        let limit = query.required_number(&["itemsOnPage", "limit"], 1..=100);
        let offset = u64::try_from(page.saturating_sub(1).saturating_mul(limit)).unwrap_or(0);
        Self { sort, desc, offset, limit: u32::try_from(limit).unwrap_or(1) }
    }
}

fn sort_named(text: &str) -> Option<TokenSort> {
    match text.to_ascii_lowercase().as_str() {
        "name" => Some(TokenSort::Name),
        "addedon" => Some(TokenSort::AddedOn),
        _ => None,
    }
}

fn filter_named(text: &str) -> Option<TokenFilter> {
    match text.to_ascii_lowercase().as_str() {
        "none" => Some(TokenFilter::None),
        "tokenname" => Some(TokenFilter::TokenName),
        "streamname" => Some(TokenFilter::StreamName),
        "tokenorstreamname" => Some(TokenFilter::TokenOrStreamName),
        _ => None,
    }
}

fn shown(tokens: &[PublishToken]) -> Success<Vec<TokenView>> {
    Success::new(tokens.iter().map(|token| TokenView::new(token, Version::V1)).collect())
}

/// Lists publish tokens. An empty page marks the end.
#[utoipa::path(get, path = "/api/publish_token/list", tag = "Publish tokens",
    params(
        ("page" = i32, Query, minimum = 1),
        ("itemsOnPage" = i32, Query, minimum = 1, maximum = 100),
        ("sortBy" = Option<String>, Query, description = "`Name` (default) or `AddedOn`"),
        ("isDescending" = Option<bool>, Query)),
    responses((status = 200, body = Success<Vec<TokenView>>), (status = 400, body = Fail)))]
pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Success<Vec<TokenView>>> {
    let page = LegacyPage::read(&mut query);
    query.finish()?;
    Ok(shown(&app.database.tokens(page.sort, page.desc, page.offset, page.limit).await?))
}

/// Lists the publish tokens with a label or a stream name. Patterns are not matched.
#[utoipa::path(get, path = "/api/publish_token/list_by_name", tag = "Publish tokens",
    params(
        ("name" = String, Query),
        ("filterBy" = Option<String>, Query,
            description = "`None`, `TokenName`, `StreamName` or `TokenOrStreamName` (default)"),
        ("page" = i32, Query, minimum = 1),
        ("itemsOnPage" = i32, Query, minimum = 1, maximum = 100),
        ("sortBy" = Option<String>, Query, description = "`Name` (default) or `AddedOn`"),
        ("isDescending" = Option<bool>, Query)),
    responses((status = 200, body = Success<Vec<TokenView>>), (status = 400, body = Fail)))]
pub(crate) async fn list_by_name(
    State(app): State<App>,
    mut query: Query,
) -> Result<Success<Vec<TokenView>>> {
    let page = LegacyPage::read(&mut query);
    let filter = query.word(&["filterBy"], filter_named).unwrap_or_default();
    let name: String = query.one(&["name"]).unwrap_or_default();
    if name.is_empty() {
        query.error(&["name"], "The Name field is required.");
    }
    query.finish()?;
    let found = app.database.tokens_by_name(&name, filter, page.sort, page.desc, page.offset, page.limit);
    Ok(shown(&found.await?))
}

/// Tells which tokens publish a stream now.
#[utoipa::path(get, path = "/api/publish_token/active", tag = "Publish tokens",
    params(("streamId" = String, Query, description = "`account/stream`")),
    responses((status = 200, body = Success<TokenIds>), (status = 400, body = Fail)))]
pub(crate) async fn active(State(app): State<App>, mut query: Query) -> Result<Success<TokenIds>> {
    let id: String = query.one(&["streamId"]).unwrap_or_default();
    if id.is_empty() {
        query.error(&["streamId"], "The StreamId field is required.");
    }
    query.finish()?;
    let name = app.stream_of_id(&id).ok_or_else(|| ApiError::about("streamId", "No such streamId"))?;
    Ok(live_tokens(&app, |stream| stream == name.as_str()))
}

/// Tells which tokens publish anything now.
#[utoipa::path(get, path = "/api/publish_token/active/all", tag = "Publish tokens",
    responses((status = 200, body = Success<TokenIds>)))]
pub(crate) async fn active_all(State(app): State<App>) -> Success<TokenIds> {
    live_tokens(&app, |_| true)
}

fn live_tokens(app: &App, wanted: impl Fn(&str) -> bool) -> Success<TokenIds> {
    let feeds = app.recorder.live_feeds();
    let ids: BTreeSet<i64> =
        feeds.iter().filter(|feed| wanted(feed.stream_name.as_str())).map(|feed| feed.token.0).collect();
    Success::new(TokenIds { token_ids: ids.into_iter().collect() })
}
