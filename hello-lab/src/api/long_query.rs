//! Queries that are longer than the `http` crate takes a URI to be (65,534 octets): `kubectl exec` puts a
//! whole command line into one, and an API server reads a megabyte (`DefaultMaxHeaderBytes` of Go's
//! net/http).
//!
//! Before hyper sees a connection its first line is read. Where that is too long, its query becomes
//! header fields, which may be long. The connection of a WebSocket has one request alone.

use std::io::{self, Cursor};

use axum::http::HeaderMap;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// The longest first line that is taken.
pub(super) const LONGEST: usize = 1 << 20;

/// Longer first lines than this are rewritten.
const SHORT: usize = 60_000;

/// The header field that has a part of a query, and how long a part is.
const FIELD: &str = "x-hello-lab-query";
const PART: usize = 30_000;

/// Reads the first line of a connection, and has it short: the connection from its beginning.
pub(super) async fn shorten<S: AsyncRead + AsyncWrite>(
    stream: S,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let (mut reader, writer) = tokio::io::split(stream);
    let mut read = BytesMut::with_capacity(4096);
    let mut searched = 0;
    let end = loop {
        if let Some(end) = read[searched..].iter().position(|octet| *octet == b'\n') {
            break searched + end + 1;
        }
        searched = read.len();
        // What is no HTTP, too long or too short, is hyper's to refuse.
        if searched > LONGEST || reader.read_buf(&mut read).await? == 0 {
            break searched;
        }
    };
    let beginning = if end > SHORT { shortened(&read, end) } else { read.freeze() };
    Ok(tokio::io::join(Cursor::new(beginning).chain(reader), writer))
}

/// The same with the query of the first line, which has `end` octets, in header fields.
fn shortened(read: &[u8], end: usize) -> Bytes {
    let (line, rest) = read.split_at(end);
    let place = |octet: u8| line.iter().position(|other| *other == octet);
    let (Some(start), Some(stop)) = (place(b'?'), line.iter().rposition(|octet| *octet == b' '))
    else {
        return Bytes::copy_from_slice(read);
    };
    if stop < start {
        return Bytes::copy_from_slice(read);
    }
    let mut all = [&line[..start], &line[stop..]].concat();
    for part in line[start + 1..stop].chunks(PART) {
        all.extend([FIELD.as_bytes(), b": ", part, b"\r\n"].concat());
    }
    all.extend(rest);
    all.into()
}

/// The query of a request, wherever it is.
pub(super) fn query(uri: &axum::http::Uri, headers: &HeaderMap) -> String {
    match uri.query() {
        Some(query) => query.to_owned(),
        None => headers.get_all(FIELD).iter().filter_map(|part| part.to_str().ok()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str) -> String {
        let mut all = String::new();
        let stream = tokio::io::join(text.as_bytes(), tokio::io::sink());
        shorten(stream).await.unwrap().read_to_string(&mut all).await.unwrap();
        all
    }

    #[tokio::test]
    async fn what_is_short_or_no_request_stays_what_it_is() {
        let long = "x".repeat(SHORT * 2);
        for text in [
            "",
            "GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\nbody",
            "no end",
            &long,
            &format!("{long}\n"),
        ] {
            assert_eq!(read(text).await, text);
        }
    }

    #[tokio::test]
    async fn a_long_query_is_in_the_header_and_found_there() {
        let query_of = |text: &str| {
            let mut headers = HeaderMap::new();
            for line in text.lines().filter_map(|line| line.strip_prefix("x-hello-lab-query: ")) {
                headers.append(FIELD, line.parse().unwrap());
            }
            query(&"/exec".parse().unwrap(), &headers)
        };
        let long = format!("command={}&stdout=true", "a".repeat(500_000));
        let text = read(&format!("GET /exec?{long} HTTP/1.1\r\nHost: a\r\n\r\nbody")).await;
        assert!(text.starts_with("GET /exec HTTP/1.1\r\nx-hello-lab-query: command=aaa"));
        assert!(text.ends_with("&stdout=true\r\nHost: a\r\n\r\nbody"));
        assert!(text.lines().all(|line| line.len() < SHORT));
        assert_eq!(query_of(&text), long);
    }
}
