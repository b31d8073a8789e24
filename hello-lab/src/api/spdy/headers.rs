//! Header blocks: names and values, compressed over the whole connection with a dictionary that both ends
//! know (SPDY/3.1, 2.6.10).

use std::collections::HashMap;
use std::io;
use std::sync::LazyLock;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The largest header block that is read; those of Kubernetes have some hundred octets.
const LONGEST: usize = 64 << 10;

/// What is likely to be said, each with its length before it.
const WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

/// What is likely to be said, without lengths.
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417\
502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr \
May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,\
image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=\
gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The dictionary.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    for word in WORDS {
        bytes.extend(u32::try_from(word.len()).unwrap_or_default().to_be_bytes());
        bytes.extend(word.as_bytes());
    }
    bytes.extend(TEXT.as_bytes());
    bytes
});

/// Reads the header blocks of one connection, in their order.
pub(super) struct Inflate(Decompress);

impl Inflate {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// The headers of a block; several values of one name are one, as HTTP joins them.
    pub(super) fn headers(&mut self, block: &[u8]) -> io::Result<HashMap<String, String>> {
        let plain = self.inflate(block)?;
        let mut rest = plain.as_slice();
        let count = number(&mut rest)?;
        let mut headers = HashMap::new();
        for _ in 0..count {
            let name = text(&mut rest)?.to_ascii_lowercase();
            let value = text(&mut rest)?.replace('\0', ", ");
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn inflate(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::with_capacity(1 << 10);
        let start = self.0.total_in();
        loop {
            let read = usize::try_from(self.0.total_in() - start).map_err(io::Error::other)?;
            let (before, rest) = (plain.len(), &block[read.min(block.len())..]);
            match self.0.decompress_vec(rest, &mut plain, FlushDecompress::Sync) {
                Ok(Status::StreamEnd) => return Err(invalid("the headers' compression has ended")),
                Ok(_) if plain.len() < plain.capacity() => return Ok(plain),
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(io::Error::other)?;
                    continue;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
            if plain.len() > LONGEST {
                return Err(invalid("headers are too long"));
            }
            plain.reserve(plain.len() - before + 1);
        }
    }
}

/// Writes the header blocks of one connection, in their order.
pub(super) struct Deflate(Compress);

impl Deflate {
    pub(super) fn new() -> io::Result<Self> {
        let mut compress = Compress::new(Compression::fast(), true);
        compress.set_dictionary(&DICTIONARY).map_err(io::Error::other)?;
        Ok(Self(compress))
    }

    /// A block with no header: a reply to a stream says no more than that it is open.
    pub(super) fn empty(&mut self) -> io::Result<Vec<u8>> {
        self.deflate(&0_u32.to_be_bytes())
    }

    fn deflate(&mut self, plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut block = Vec::with_capacity(plain.len() + 64);
        self.0.compress_vec(plain, &mut block, FlushCompress::Sync).map_err(io::Error::other)?;
        Ok(block)
    }

    /// A block, as a client writes it.
    #[cfg(test)]
    pub(super) fn headers(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        let length = |text: &str| u32::try_from(text.len()).unwrap().to_be_bytes();
        let mut plain = u32::try_from(headers.len()).unwrap().to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend(length(text));
            plain.extend(text.as_bytes());
        }
        self.deflate(&plain).unwrap()
    }
}

fn number(rest: &mut &[u8]) -> io::Result<u32> {
    let (octets, after) =
        rest.split_first_chunk().ok_or_else(|| invalid("headers are cut short"))?;
    *rest = after;
    Ok(u32::from_be_bytes(*octets))
}

fn text<'r>(rest: &mut &'r [u8]) -> io::Result<&'r str> {
    let length = usize::try_from(number(rest)?).map_err(io::Error::other)?;
    let (text, after) =
        rest.split_at_checked(length).ok_or_else(|| invalid("headers are cut short"))?;
    *rest = after;
    std::str::from_utf8(text).map_err(|_| invalid("a header is no text"))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_protocols() {
        assert_eq!(DICTIONARY.len(), 1423);
        // RFC 1950's Adler-32 of it, which the first block of every connection names.
        let mut deflate = Deflate::new().unwrap();
        assert_eq!(deflate.empty().unwrap()[2..6], 0xe3c6_a7c2_u32.to_be_bytes());
    }

    #[test]
    fn blocks_are_read_in_their_order() {
        let (mut deflate, mut inflate) = (Deflate::new().unwrap(), Inflate::new());
        for stream in ["error", "stdin", "stdout"] {
            let block = deflate.headers(&[("Streamtype", stream), ("port", "80\081")]);
            let headers = inflate.headers(&block).unwrap();
            assert_eq!(headers["streamtype"], stream);
            assert_eq!(headers["port"], "80, 81");
        }
        assert!(inflate.headers(&deflate.empty().unwrap()).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_block_or_grows_too_large_is_refused() {
        assert!(Inflate::new().headers(b"no block").is_err());
        assert!(Inflate::new().headers(b"").is_err());
        let long = "x".repeat(LONGEST * 2);
        let block = Deflate::new().unwrap().headers(&[("a", &long)]);
        assert!(Inflate::new().headers(&block).is_err());
        let block = Deflate::new().unwrap().deflate(&[0, 0, 0, 9, 0, 0, 0, 1]).unwrap();
        assert!(Inflate::new().headers(&block).is_err());
    }
}
