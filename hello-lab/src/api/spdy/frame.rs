//! Frames: what a connection is cut into (SPDY/3.1, 2.2).

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::headers::{Deflate, Inflate};

/// The first bit of a control frame, and the version.
const CONTROL: u16 = 0x8003;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

const FLAG_FIN: u8 = 1;

/// The status of a stream that is not taken.
const REFUSED_STREAM: u32 = 3;

/// The longest control frame that is read.
const LONGEST_CONTROL: usize = 64 << 10;

/// Data is passed on in pieces of this size, however long its frame is.
const PIECE: usize = 32 << 10;

/// What a client sends.
#[derive(Debug)]
pub(super) enum Frame {
    /// A new stream; `last` where the client will send nothing in it.
    Open { id: u32, last: bool, headers: HashMap<String, String> },
    /// A piece of what it sends in a stream.
    Data { id: u32, bytes: Bytes, last: bool },
    /// It gives a stream up.
    Reset { id: u32 },
    /// To be sent back.
    Ping(u32),
    /// What is no business of a server without flow control and priorities.
    Other,
}

/// The rest of a data frame.
struct Rest {
    id: u32,
    last: bool,
    octets: usize,
}

/// Reads frames.
pub(super) struct Reader<R> {
    source: R,
    inflate: Inflate,
    rest: Option<Rest>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, inflate: Inflate::new(), rest: None }
    }

    /// The next frame; none where the connection ends between two.
    pub(super) async fn next(&mut self) -> io::Result<Option<Frame>> {
        if let Some(rest) = self.rest.take() {
            return self.piece(rest).await.map(Some);
        }
        let mut head = [0; 8];
        if self.source.read(&mut head[..1]).await? == 0 {
            return Ok(None);
        }
        self.source.read_exact(&mut head[1..]).await?;
        let [first, second, third, fourth, flags, length @ ..] = head;
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]);
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let last = flags & FLAG_FIN != 0;
        if first & 0x80 == 0 {
            let id = u32::from_be_bytes([first, second, third, fourth]);
            return self.piece(Rest { id, last, octets: length }).await.map(Some);
        }
        if u16::from_be_bytes([first, second]) != CONTROL {
            return Err(invalid("it is not SPDY/3"));
        }
        if length > LONGEST_CONTROL {
            return Err(invalid("a control frame is too long"));
        }
        let mut body = vec![0; length];
        self.source.read_exact(&mut body).await?;
        let number = |place: usize| {
            let octets = body.get(place..).and_then(<[u8]>::first_chunk);
            octets
                .map(|octets| u32::from_be_bytes(*octets))
                .ok_or_else(|| invalid("a frame is cut short"))
        };
        let block = |place: usize| body.get(place..).ok_or_else(|| invalid("a frame is cut short"));
        Ok(Some(match u16::from_be_bytes([third, fourth]) {
            // The number of the stream, that of one it belongs to, its priority.
            SYN_STREAM => {
                let id = number(0)? & 0x7fff_ffff;
                Frame::Open { id, last, headers: self.inflate.headers(block(10)?)? }
            }
            // Read all the same, for the next block's sake.
            SYN_REPLY | HEADERS => {
                self.inflate.headers(block(4)?)?;
                Frame::Other
            }
            RST_STREAM => Frame::Reset { id: number(0)? & 0x7fff_ffff },
            PING => Frame::Ping(number(0)?),
            _ => Frame::Other,
        }))
    }

    async fn piece(&mut self, rest: Rest) -> io::Result<Frame> {
        let Rest { id, last, octets } = rest;
        let mut bytes = vec![0; octets.min(PIECE)];
        self.source.read_exact(&mut bytes).await?;
        let octets = octets - bytes.len();
        if octets > 0 {
            self.rest = Some(Rest { id, last, octets });
        }
        Ok(Frame::Data { id, bytes: bytes.into(), last: last && octets == 0 })
    }
}

/// Writes frames.
#[derive(Default)]
pub(super) struct Writer {
    /// Made for the first reply.
    deflate: Option<Deflate>,
}

impl Writer {
    /// A stream is open.
    pub(super) fn reply(&mut self, id: u32) -> io::Result<Vec<u8>> {
        let deflate = match &mut self.deflate {
            Some(deflate) => deflate,
            none => none.insert(Deflate::new()?),
        };
        let block = deflate.empty()?;
        control(SYN_REPLY, &[&id.to_be_bytes()[..], &block].concat())
    }

    /// A stream is not taken.
    pub(super) fn refusal(id: u32) -> io::Result<Vec<u8>> {
        control(RST_STREAM, &[id.to_be_bytes(), REFUSED_STREAM.to_be_bytes()].concat())
    }

    /// The answer to a ping.
    pub(super) fn pong(id: u32) -> io::Result<Vec<u8>> {
        control(PING, &id.to_be_bytes())
    }

    /// The connection ends.
    pub(super) fn end() -> io::Result<Vec<u8>> {
        control(GOAWAY, &[0; 8])
    }

    /// Some bytes of a stream.
    pub(super) fn data(id: u32, bytes: &[u8], last: bool) -> io::Result<Vec<u8>> {
        Ok([&id.to_be_bytes()[..], &flags_and_length(u8::from(last), bytes.len())?, bytes].concat())
    }
}

fn control(kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let length = flags_and_length(0, body.len())?;
    Ok([&CONTROL.to_be_bytes()[..], &kind.to_be_bytes(), &length, body].concat())
}

fn flags_and_length(flags: u8, length: usize) -> io::Result<[u8; 4]> {
    let length = u32::try_from(length).ok().filter(|length| *length < 1 << 24);
    let [_, x, y, z] = length.ok_or_else(|| invalid("a frame would be too long"))?.to_be_bytes();
    Ok([flags, x, y, z])
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
