//! From the asset id in a hook to the file on disk, against a server that answers as both services do.

use std::error::Error as _;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router};
use mediahooks_receiver::{ClientError, Download, MediaClient, safe_file_name};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const FILE: &[u8] = b"not really a film";

/// Serves one finished asset, `a1`, to whoever has the secret, and its file to whoever has the link.
async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new()
        .route("/api/v3/media/assets/{id}", get(asset))
        .route("/download/a1", get(|| async { ([(header::ETAG, "\"a1\"")], FILE) }))
        .with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    server
}

async fn asset(
    State(server): State<String>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> (StatusCode, Json<Value>) {
    let fail = |message: String| json!({"status": "fail", "data": {"message": message}});
    if headers.get(header::AUTHORIZATION).is_none_or(|given| given != "Bearer s3cret") {
        return (StatusCode::FORBIDDEN, Json(fail("Unauthorized".into())));
    }
    match id.as_str() {
        "a1" => {
            let links = json!({"downloadUrl": format!("{server}/download/a1?sig=x"), "url": null});
            let asset = json!({"id": id, "type": "clip", "status": "complete", "name": "Lot 12/13",
                "metadata": {"format": "MPEG-4"}, "download": links});
            (StatusCode::OK, Json(json!({"status": "success", "data": asset})))
        }
        "long" => (StatusCode::OK, Json(json!({"data": "x".repeat(2 << 20)}))),
        _ => (StatusCode::BAD_REQUEST, Json(fail(format!("No asset with id: {id}")))),
    }
}

#[tokio::test]
async fn a_completed_asset_becomes_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let media = MediaClient::new(Client::new(), &serve().await, "s3cret").unwrap();
    let asset = media.asset("a1").await.unwrap();
    let name = safe_file_name(asset.name.as_deref(), &asset.id, "mp4");
    let link = asset.download.file_url().unwrap();
    let file = Download::new(Client::new(), link).to(folder.path().join(name)).run().await.unwrap();
    assert_eq!(file.path, folder.path().join("Lot 12_13-a1.mp4"));
    assert_eq!(std::fs::read(&file.path).unwrap(), FILE);
}

#[tokio::test]
async fn refusals_come_with_the_servers_words() {
    let server = serve().await;
    let ask = async |secret, id| {
        MediaClient::new(Client::new(), &server, secret).unwrap().asset(id).await.unwrap_err()
    };
    assert_eq!(ask("wrong", "a1").await.to_string(), "the server answered 403 Forbidden: Unauthorized");
    let missing = ask("s3cret", "a2").await;
    assert!(matches!(missing, ClientError::Refused { status, .. } if status == 400));
    assert!(missing.to_string().contains("No asset with id: a2"));
    assert!(matches!(ask("s3cret", "long").await, ClientError::NotAnAsset(_)));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    for said in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"data\":"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            // Holds the connection open until the test is over.
            std::future::pending::<()>().await;
        });
        let media = MediaClient::new(Client::new(), &server, "s3cret").unwrap();
        let error = media.timeout(Duration::from_millis(100)).asset("a1").await.unwrap_err();
        let cause = error.source().and_then(|source| source.downcast_ref::<reqwest::Error>());
        assert!(cause.is_some_and(reqwest::Error::is_timeout), "after `{said}`: {error:?}");
    }
}
