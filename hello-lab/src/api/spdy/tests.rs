use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::headers::Deflate;
use super::*;

/// A client's end of a connection.
struct Client {
    io: DuplexStream,
    deflate: Deflate,
}

impl Client {
    fn connect() -> (Self, Connection) {
        let (io, other) = duplex(1 << 20);
        (Self { io, deflate: Deflate::new().unwrap() }, serve(other))
    }

    async fn control(&mut self, kind: u8, flags: u8, body: &[u8]) {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let head = [0x80, 3, 0, kind, flags, length[1], length[2], length[3]];
        self.io.write_all(&[&head[..], body].concat()).await.unwrap();
    }

    async fn open(&mut self, id: u32, kind: &str) {
        let block = self.deflate.headers(&[("streamType", kind)]);
        let body = [&id.to_be_bytes()[..], &[0; 6], &block].concat();
        self.control(1, 0, &body).await;
    }

    async fn data(&mut self, id: u32, bytes: &[u8], flags: u8) {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        let head = [&id.to_be_bytes()[..], &[flags, length[1], length[2], length[3]]].concat();
        self.io.write_all(&[&head, bytes].concat()).await.unwrap();
    }

    /// The next frame: its first four octets, its flags, and what is in it.
    async fn frame(&mut self) -> ([u8; 4], u8, Vec<u8>) {
        let mut head = [0; 8];
        self.io.read_exact(&mut head).await.unwrap();
        let mut body = vec![0; u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize];
        self.io.read_exact(&mut body).await.unwrap();
        (*head.first_chunk().unwrap(), head[4], body)
    }
}

#[tokio::test]
async fn streams_are_opened_read_and_written_to() {
    let (mut client, mut connection) = Client::connect();
    client.open(1, "stdin").await;
    client.open(3, "stdout").await;
    let mut stdin = connection.accept().await.unwrap();
    let stdout = connection.accept().await.unwrap();
    assert_eq!(stdin.headers["streamtype"], "stdin");
    assert_eq!(stdout.headers["streamtype"], "stdout");
    for id in [1_u32, 3] {
        let (head, _, body) = client.frame().await;
        assert_eq!((head, &body[..4]), ([0x80, 3, 0, 2], &id.to_be_bytes()[..]));
    }
    // One frame of any length comes in pieces, and ends with its last.
    let long = vec![7; 100_000];
    client.data(1, &long, 1).await;
    let mut read = Vec::new();
    while let Some(piece) = stdin.read().await {
        read.extend(piece);
    }
    assert_eq!(read, long);
    assert!(stdout.write(Bytes::from_static(b"hello")).await);
    stdout.finish().await;
    assert_eq!(client.frame().await, ([0, 0, 0, 3], 0, b"hello".to_vec()));
    assert_eq!(client.frame().await, ([0, 0, 0, 3], 1, Vec::new()));
}

#[tokio::test]
async fn a_ping_is_answered_and_the_end_is_told() {
    let (mut client, connection) = Client::connect();
    client.control(6, 0, &9_u32.to_be_bytes()).await;
    assert_eq!(client.frame().await, ([0x80, 3, 0, 6], 0, vec![0, 0, 0, 9]));
    // What there is nothing to do about.
    client.control(4, 0, &[0; 12]).await;
    client.control(9, 0, &[0; 8]).await;
    connection.end().await;
    assert_eq!(client.frame().await.0, [0x80, 3, 0, 7]);
    assert_eq!(client.io.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_no_spdy_ends_the_connection_and_every_stream() {
    for octets in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x80, 2, 0, 1, 0, 0, 0, 0],
        &[0x80, 3, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1],
    ] {
        let (mut client, mut connection) = Client::connect();
        client.open(1, "stdin").await;
        let mut stdin = connection.accept().await.unwrap();
        client.io.write_all(octets).await.unwrap();
        client.io.shutdown().await.unwrap();
        assert!(stdin.read().await.is_none());
        assert!(connection.accept().await.is_none());
    }
}

#[tokio::test]
async fn streams_are_bounded_in_number() {
    let (mut client, mut connection) = Client::connect();
    let mut streams = Vec::new();
    for index in 0..=u32::try_from(MOST_STREAMS).unwrap() {
        client.open(2 * index + 1, "data").await;
        let (head, _, _) = client.frame().await;
        if usize::try_from(index).unwrap() < MOST_STREAMS {
            assert_eq!(head, [0x80, 3, 0, 2]);
            streams.push(connection.accept().await.unwrap());
        } else {
            assert_eq!(head, [0x80, 3, 0, 3], "one too many is refused");
        }
    }
}
