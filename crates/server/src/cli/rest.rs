//! A thin client of the REST interface: takes the answer out of its envelope, or says what went wrong.

use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::output::failure::Failure;
use crate::output::table::cell;

/// No answer to one of our requests takes longer, unless the server hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a stream could not be opened.
#[derive(Debug)]
pub struct NoStream {
    /// What to tell.
    pub failure: Failure,
    /// Whether the server refused: it will again.
    pub refused: bool,
}

/// The REST interface of one server.
#[derive(Clone)]
pub struct Rest {
    http: Client,
    server: Url,
    secret: String,
}

impl Rest {
    /// Speaks to `server` with an API secret.
    pub fn new(server: Url, secret: &str) -> anyhow::Result<Self> {
        if !matches!(server.scheme(), "http" | "https") || server.cannot_be_a_base() {
            return Err(Failure::new(format!("`{server}` is not the address of a server"))
                .advise("write it as http://127.0.0.1:8080 or https://media.example.com")
                .into());
        }
        let http = Client::builder().timeout(TIMEOUT).connect_timeout(Duration::from_secs(10)).build()?;
        Ok(Self { http, server, secret: secret.to_owned() })
    }

    /// `GET`.
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.send(self.request(Method::GET, path, query)).await
    }

    /// `GET` of a stream of server-sent events, behind the event of this id.
    pub async fn stream(
        &self,
        path: &str,
        query: &[(&str, String)],
        last_seen: Option<&str>,
    ) -> Result<Response, NoStream> {
        let lost = |error: reqwest::Error| NoStream { failure: self.unreachable(&error), refused: false };
        // It lasts for as long as it is read; the timeout is of each answer only.
        let client =
            Client::builder().connect_timeout(TIMEOUT).read_timeout(TIMEOUT).build().map_err(lost)?;
        let (_, request) = self.request(Method::GET, path, query).build_split();
        let mut request = request.map_err(lost)?;
        *request.timeout_mut() = None;
        if let Some(id) = last_seen.and_then(|id| id.parse().ok()) {
            request.headers_mut().insert("last-event-id", id);
        }
        let response = client.execute(request).await.map_err(lost)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let refused = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
        let body = response.bytes().await.map_err(lost)?;
        let envelope: Value = serde_json::from_slice(&body).unwrap_or_default();
        Err(NoStream { failure: explain(status, &envelope, None), refused })
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.post_once(path, body, None).await
    }

    /// `POST` with a JSON body, done once however often it is sent with the same key.
    pub async fn post_once(&self, path: &str, body: &Value, key: Option<&str>) -> anyhow::Result<Value> {
        let mut request = self.request(Method::POST, path, &[]).json(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(request).await
    }

    /// `PUT` with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.request(Method::PUT, path, &[]).json(body)).await
    }

    /// `PATCH` with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.request(Method::PATCH, path, &[]).json(body)).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.send(self.request(Method::DELETE, path, query)).await
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.server.clone();
        url.set_path(&format!("{}{path}", self.server.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url).header(AUTHORIZATION, format!("Bearer {}", self.secret))
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.unwrap(response).await
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        // What lies between only repeats the address and names layers of this program.
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
        let root = causes.last().map(ToString::to_string).unwrap_or_default();
        Failure::new(format!("cannot reach the server at {}", self.server))
            .because(root)
            .advise("start it with `mediahooks serve`, or name another with --server or MEDIAHOOKS_SERVER")
    }

    async fn unwrap(&self, response: Response) -> anyhow::Result<Value> {
        let status = response.status();
        let request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(cell);
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let mut envelope: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return match envelope.get_mut("data") {
                Some(data) => Ok(data.take()),
                None => Err(Failure::new(format!("{} did not answer as this program expects", self.server))
                    .because(format!("HTTP {status} without `data`"))
                    .advise("check that --server is the address of a Media Hooks server")
                    .into()),
            };
        }
        Err(explain(status, &envelope, request_id).into())
    }
}

/// Reads an answer into the members that a table shows.
pub fn read<T: DeserializeOwned>(answer: &Value) -> anyhow::Result<T> {
    T::deserialize(answer).map_err(|error| {
        Failure::new("the server's answer is not as documented")
            .caused_by(&error)
            .advise("add --json to see all of it")
            .into()
    })
}

fn explain(status: StatusCode, envelope: &Value, request_id: Option<String>) -> Failure {
    let message = envelope.pointer("/data/message").or(envelope.get("message")).and_then(Value::as_str);
    let failure = match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Failure::new("the server refused the API secret")
            .advise(
                "take the secret that `mediahooks serve` printed at its first start, \
                 in --secret or MEDIAHOOKS_API_SECRET",
            ),
        status if status.is_server_error() => {
            let id = request_id.map(|id| format!(" {id}")).unwrap_or_default();
            Failure::new(format!("the server failed (HTTP {})", status.as_u16()))
                .advise(format!("try again; its log tells more under the request id{id}"))
        }
        status => Failure::new(format!("the server refused the request (HTTP {})", status.as_u16())),
    };
    let details = envelope.pointer("/data/errors").and_then(Value::as_object).into_iter().flatten();
    let details = details.map(|(member, messages)| {
        let texts = messages.as_array().map(|all| all.iter().filter_map(Value::as_str).collect::<Vec<_>>());
        format!("{}: {}", cell(member), cell(&texts.unwrap_or_default().join("; ")))
    });
    let message = message.filter(|message| *message != "Validation errors").map(cell);
    // What a message that clients know by heart does not say.
    let reason = envelope.pointer("/data/reason").and_then(Value::as_str).map(cell);
    message.into_iter().chain(reason).chain(details).fold(failure, Failure::because)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::failure::describe;

    fn said(status: u16, envelope: &Value) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        describe(&explain(status, envelope, Some("r-1".to_owned())).into())
    }

    #[test]
    fn refusals_are_told_in_the_servers_words() {
        let said = [
            said(403, &json!({"status": "fail", "data": {"message": "Unauthorized"}})),
            said(
                400,
                &json!({"status": "fail", "data": {"message": "Validation errors",
                    "errors": {"Name": ["Name may not contain character(s) (:)"]}}}),
            ),
            said(400, &json!({"status": "fail", "data": {"message": "No publish token with id: 9"}})),
            said(
                400,
                &json!({"status": "fail", "data": {"message": "No timelines found.", "reason": "the range ends early"}}),
            ),
            said(500, &json!({"status": "error", "message": "Internal error", "code": 500})),
            said(502, &Value::Null),
        ];
        insta::assert_snapshot!(said.join("\n"));
    }
}
