//! Reads an asset through REST to learn its download link. The same request works against Media Hooks and
//! hosted Millicast.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::event::AssetType;
use crate::links::DownloadLinks;

/// The hosted service's address.
pub const MILLICAST_SERVER: &str = "https://api.millicast.com";

/// How long a question may take, from connecting to the last byte of the answer.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Longest response read. An asset is a few kilobytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A server's REST interface, as far as a receiver needs it.
#[derive(Clone)]
pub struct MediaClient {
    http: Client,
    server: Url,
    authorization: HeaderValue,
    timeout: Duration,
}

impl std::fmt::Debug for MediaClient {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaClient").field("server", &self.server.as_str()).finish_non_exhaustive()
    }
}

/// Why an asset could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Not an `http` or `https` address.
    #[error("`{0}` is not the address of a server: write it as https://api.example.com")]
    Server(String),
    /// A secret cannot hold line breaks or control characters.
    #[error("the API secret holds characters that cannot be sent: copy it again")]
    Secret,
    /// Ids are letters, digits, `-` and `_`; anything else would ask for another path.
    #[error("`{0}` is not the id of an asset")]
    AssetId(String),
    /// The server could not be reached, the exchange broke, or it took longer than it may.
    #[error("the server could not be asked")]
    Transfer(#[source] reqwest::Error),
    /// The server said no. Both a missing asset (400) and a wrong secret (403) come like this.
    #[error("the server answered {status}: {message}")]
    Refused {
        /// Its HTTP status.
        status: StatusCode,
        /// Its own words.
        message: String,
    },
    /// A body that is too long, no JSON, or no asset.
    #[error("the server's answer is not an asset: {0}")]
    NotAnAsset(String),
}

/// An asset, as far as a receiver needs it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asset {
    /// An opaque text.
    pub id: String,
    /// Recording, clip, …
    #[serde(rename = "type")]
    pub asset_type: AssetType,
    /// `processing`, `complete`, `error`, `deleting` or `deleted`.
    pub status: String,
    /// The label it was given.
    #[serde(default)]
    pub name: Option<String>,
    /// Why it could not be made, when `status` is `error`.
    #[serde(default)]
    pub error: Option<String>,
    /// Its links.
    #[serde(default, deserialize_with = "null_as_default")]
    pub download: DownloadLinks,
    /// What the file is, as sent; [`crate::event::Metadata`] reads it.
    #[serde(default)]
    pub metadata: Option<Value>,
}

fn null_as_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DownloadLinks, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl MediaClient {
    /// Speaks to `server` (such as [`MILLICAST_SERVER`]; a path in it is kept) with an API secret.
    ///
    /// # Errors
    /// The address or the secret cannot be used.
    pub fn new(http: Client, server: &str, secret: &str) -> Result<Self, ClientError> {
        let unusable = || ClientError::Server(server.chars().take(200).collect());
        let server = Url::parse(server).map_err(|_| unusable())?;
        if !matches!(server.scheme(), "http" | "https") {
            return Err(unusable());
        }
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {secret}")).map_err(|_| ClientError::Secret)?;
        authorization.set_sensitive(true);
        Ok(Self { http, server, authorization, timeout: TIMEOUT_DEFAULT })
    }

    /// Sets how long a question may take, from connecting to the last byte of the answer;
    /// [`TIMEOUT_DEFAULT`] otherwise. It overrules the timeout of the HTTP client.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Reads one asset: `GET {server}/api/v3/media/assets/{id}`.
    ///
    /// # Errors
    /// [`ClientError`]. Not retried: a webhook that is answered with an error comes again.
    pub async fn asset(&self, id: &str) -> Result<Asset, ClientError> {
        let request = self.http.get(self.asset_url(id)?).header(AUTHORIZATION, &self.authorization);
        // A server that accepts and then says nothing would hold the caller for ever.
        let response = request
            .timeout(self.timeout)
            .send()
            .await
            .map_err(|error| ClientError::Transfer(error.without_url()))?;
        let status = response.status();
        let body = read_body(response).await?;
        if !status.is_success() {
            return Err(ClientError::Refused { status, message: message_of(&body) });
        }
        read_asset(&body)
    }

    fn asset_url(&self, id: &str) -> Result<Url, ClientError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if id.is_empty() || id.len() > 128 || !id.bytes().all(plain) {
            return Err(ClientError::AssetId(id.chars().take(64).collect()));
        }
        let mut url = self.server.clone();
        url.set_query(None);
        url.set_fragment(None);
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v3", "media", "assets", id]);
        }
        Ok(url)
    }
}

async fn read_body(mut response: reqwest::Response) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(piece) =
        response.chunk().await.map_err(|error| ClientError::Transfer(error.without_url()))?
    {
        if body.len() + piece.len() > BODY_BYTES_MAX {
            return Err(ClientError::NotAnAsset(format!("it is longer than {BODY_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

#[derive(Deserialize)]
struct Envelope {
    data: Asset,
}

fn read_asset(body: &[u8]) -> Result<Asset, ClientError> {
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|error| ClientError::NotAnAsset(error.to_string()))?;
    Ok(envelope.data)
}

/// What a failure says for people: `data.message` of a fail envelope, `message` of an error envelope, or
/// the beginning of whatever came.
fn message_of(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let told = json.pointer("/data/message").or(json.get("message")).and_then(Value::as_str);
    let text = told.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    text.chars().filter(|character| !character.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(server: &str) -> MediaClient {
        MediaClient::new(Client::new(), server, "s3cret").unwrap()
    }

    #[test]
    fn the_address_of_an_asset() {
        let url = |server, id| client(server).asset_url(id).map(|url| url.to_string());
        assert_eq!(
            url(MILLICAST_SERVER, "0f1e").unwrap(),
            "https://api.millicast.com/api/v3/media/assets/0f1e"
        );
        assert_eq!(
            url("http://localhost:8080/hooks/?x=1", "0f1e").unwrap(),
            "http://localhost:8080/hooks/api/v3/media/assets/0f1e"
        );
        for id in ["", ".", "..", "a/b", "a?b", "ä", &"a".repeat(129)] {
            assert!(matches!(url(MILLICAST_SERVER, id), Err(ClientError::AssetId(_))), "{id}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_at_once() {
        let refused = |server, secret| MediaClient::new(Client::new(), server, secret).unwrap_err();
        assert!(matches!(refused("api.millicast.com", "s"), ClientError::Server(_)));
        assert!(matches!(refused("file:///etc", "s"), ClientError::Server(_)));
        assert!(matches!(refused(MILLICAST_SERVER, "a\nb"), ClientError::Secret));
    }

    #[test]
    fn nothing_shows_a_credential_by_accident() {
        let links = DownloadLinks { download_url: Some("https://x/?sig=1".into()), ..Default::default() };
        let shown = format!("{:?} {links:?}", client(MILLICAST_SERVER));
        assert!(!shown.contains("s3cret") && !shown.contains("sig"), "{shown}");
    }

    #[test]
    fn assets_of_both_services_are_read() {
        let asset = read_asset(
            br#"{"status":"success","data":{"id":"0f1e","type":"clip","status":"complete","name":"Lot 12",
            "startTime":"2026-01-01T00:00:00Z","storage":{"type":"dolbyStorage"},"metadata":{"duration":10,
            "tracks":[],"thumbnails":[]},"download":{"downloadUrl":"https://cdn.example/x?sig=1",
            "downloadExpiresOn":"2026-01-01T01:00:00Z","url":null}}}"#,
        )
        .unwrap();
        assert_eq!((asset.name.as_deref(), asset.asset_type), (Some("Lot 12"), AssetType::Clip));
        assert_eq!(asset.download.download_url.as_deref(), Some("https://cdn.example/x?sig=1"));
        let metadata: crate::event::Metadata = serde_json::from_value(asset.metadata.unwrap()).unwrap();
        assert_eq!(metadata.duration, Some(10.0));

        for download in ["", r#","download":null"#, r#","download":{"downloadUrl":null}"#] {
            let body = format!(r#"{{"data":{{"id":"a","type":"vod","status":"error"{download}}}}}"#);
            assert_eq!(read_asset(body.as_bytes()).unwrap().download, DownloadLinks::default());
        }
    }

    #[test]
    fn failures_are_told_in_the_servers_words() {
        assert_eq!(message_of(br#"{"status":"fail","data":{"message":"Unauthorized"}}"#), "Unauthorized");
        assert_eq!(message_of(br#"{"status":"error","message":"try later","code":500}"#), "try later");
        assert_eq!(message_of(b"<html>\n502</html>"), "<html>502</html>");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in any::<Vec<u8>>()) {
            let _ = read_asset(&body);
            prop_assert!(message_of(&body).chars().count() <= 300);
        }
    }
}
