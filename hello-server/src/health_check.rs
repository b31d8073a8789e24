//! `--health-check`: asks a running server whether it is ready.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(2);

/// The longest status line that is read.
const MAX_STATUS_LINE: u64 = 1024;

/// Whether the server that listens on `host` and `port` answers `/readyz` with 200.
pub fn is_ready(host: IpAddr, port: u16) -> io::Result<bool> {
    let address = SocketAddr::new(reachable(host), port);
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut status = String::new();
    BufReader::new(stream.take(MAX_STATUS_LINE)).read_line(&mut status)?;
    Ok(status.starts_with("HTTP/1.1 200 "))
}

/// Where a server that listens on `host` can be reached on this machine; one on `::` serves
/// IPv4 too, also where there is no IPv6.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            Ipv4Addr::LOCALHOST.into()
        }
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn asked_of(answer: &'static str) -> io::Result<bool> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request).into_owned()
        });
        let ready = is_ready(Ipv6Addr::UNSPECIFIED.into(), port);
        assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.1\r\n"));
        ready
    }

    #[test]
    fn ready_is_200_and_nothing_else() {
        assert!(asked_of("HTTP/1.1 200 OK\r\n\r\n").unwrap());
        assert!(!asked_of("HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap());
        assert!(!asked_of("SSH-2.0-200 200\r\n").unwrap());
        assert!(!asked_of("").unwrap());
    }

    #[test]
    fn nobody_there_is_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(is_ready(Ipv4Addr::LOCALHOST.into(), port).is_err());
    }
}
