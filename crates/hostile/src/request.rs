//! A request as it came, read from the wire without any leniency of a framework.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// Longest line of a head, most lines, longest body.
const LINE_BYTES_MAX: u64 = 16 * 1024;
const LINES_MAX: usize = 256;
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Such as `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// 1.1 or 2.
    pub version: Version,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Which request on its connection: 0 is the first. On HTTP/2 the count of streams.
    pub on_connection: u32,
}

impl Received {
    /// The text of a header; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Reads an HTTP/1.1 request; none when the peer has ended.
pub(crate) async fn read(
    from: &mut (impl AsyncBufRead + Unpin),
    on_connection: u32,
) -> io::Result<Option<Received>> {
    let line = read_line(from).await?;
    if line.is_empty() {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(bad("request line")) };
    let mut headers = HeaderMap::new();
    for _ in 0..LINES_MAX {
        let line = read_line(from).await?;
        if line.is_empty() {
            let body = read_body(from, &headers).await?.into();
            let version = Version::HTTP_11;
            return Ok(Some(Received { method, target, version, headers, body, on_connection }));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("header"))?;
        let name = HeaderName::try_from(name).map_err(io::Error::other)?;
        headers.append(name, HeaderValue::try_from(value.trim()).map_err(io::Error::other)?);
    }
    Err(bad("number of headers"))
}

async fn read_body(from: &mut (impl AsyncBufRead + Unpin), headers: &HeaderMap) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers.contains_key("transfer-encoding") {
        loop {
            let line = read_line(from).await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            read_exactly(from, size, &mut body).await?;
            read_line(from).await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length =
        headers.get("content-length").map_or(Ok("0"), HeaderValue::to_str).map_err(io::Error::other)?;
    let length = length.parse().map_err(io::Error::other)?;
    read_exactly(from, length, &mut body).await?;
    Ok(body)
}

async fn read_exactly(
    from: &mut (impl AsyncBufRead + Unpin),
    length: u64,
    body: &mut Vec<u8>,
) -> io::Result<()> {
    let room = BODY_BYTES_MAX.saturating_sub(u64::try_from(body.len()).unwrap_or(u64::MAX));
    if length > room {
        return Err(bad("length"));
    }
    let read = from.take(length).read_to_end(body).await?;
    if u64::try_from(read).is_ok_and(|read| read == length) { Ok(()) } else { Err(bad("length")) }
}

async fn read_line(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    while matches!(line.last(), Some(b'\r' | b'\n')) {
        line.pop();
    }
    String::from_utf8(line).map_err(io::Error::other)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a {what} that cannot be read"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(bytes: &[u8]) -> io::Result<Option<Received>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(&mut &bytes[..], 0))
    }

    #[test]
    fn both_framings_are_read() {
        let plain = b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
        let chunked = b"POST /a?b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        for bytes in [&plain[..], &chunked[..]] {
            let request = parse(bytes).unwrap().unwrap();
            assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/a?b"));
            assert_eq!((&request.body[..], request.header("host")), (&b"abc"[..], "x"));
        }
        assert!(parse(b"").unwrap().is_none());
        assert!(parse(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").is_err());
        assert!(parse(b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "(?s).{0,100}") {
            let _ = parse(&bytes);
            let _ = parse(format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{text}").as_bytes());
        }
    }
}
