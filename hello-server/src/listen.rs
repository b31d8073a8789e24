//! The listening socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::libc::{BPF_ABS, BPF_B, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::net::TcpListener;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program has the port.
    #[error("port {} on {} is in use: stop the program that has it, or choose another with --port or PORT", .0.port(), .0.ip())]
    InUse(SocketAddr),
    /// Ports below 1024 may need a privilege.
    #[error("not permitted to listen on {0}: choose a port of 1024 or above with --port or PORT")]
    NotPermitted(SocketAddr),
    /// The address is not one of this machine's, or something else went wrong.
    #[error("cannot listen on {0} (--host, --port)")]
    Other(SocketAddr, #[source] io::Error),
}

/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Listens on `host` and `port`. The address `::` serves IPv4 too, and falls back to
/// `0.0.0.0` on a machine without IPv6.
pub fn listen(host: IpAddr, port: u16) -> Result<TcpListener, ListenError> {
    let address = SocketAddr::new(host, port);
    match bind(address) {
        Err(error) if host.is_unspecified() && host.is_ipv6() && lacks_ipv6(&error) => {
            let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
            bind(address).map_err(|error| describe(address, error))
        }
        result => result.map_err(|error| describe(address, error)),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restarted server must not wait for its predecessor's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// From now on `listener` takes no new connection, and finishes those that are being made: a filter
/// drops what opens one. Who tries learns within a second, from its second try, that nobody listens.
///
/// What a filter on a listening socket is shown begins with the TCP header
/// (<https://docs.kernel.org/networking/filter.html>), whose 14th octet has the flags (RFC 9293, 3.1).
pub fn refuse_new(listener: &TcpListener) -> io::Result<()> {
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    let [load, jump_if_set, give] =
        [BPF_LD | BPF_B | BPF_ABS, BPF_JMP | BPF_JSET | BPF_K, BPF_RET | BPF_K];
    let step = |code: u32, jump_true, jump_false, k| {
        let code = u16::try_from(code).expect("codes of classic BPF have 16 bits");
        SockFilter::new(code, jump_true, jump_false, k)
    };
    SockRef::from(listener).attach_filter(&[
        step(load, 0, 0, FLAGS),
        step(jump_if_set, 0, 1, SYN),
        step(give, 0, 0, 0),
        step(give, 0, 0, u32::MAX),
    ])
}

fn lacks_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn describe(address: SocketAddr, error: io::Error) -> ListenError {
    match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        io::ErrorKind::PermissionDenied => ListenError::NotPermitted(address),
        _ => ListenError::Other(address, error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = listen(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let port = first.local_addr().unwrap().port();
        let error = listen(Ipv4Addr::LOCALHOST.into(), port).unwrap_err();
        assert!(error.to_string().starts_with(&format!("port {port} on 127.0.0.1 is in use")));
    }

    #[tokio::test]
    async fn the_unspecified_address_serves_ipv4() {
        let listener = listen(Ipv6Addr::UNSPECIFIED.into(), 0).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connect = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let (accepted, connected) = tokio::join!(listener.accept(), connect);
        assert!(accepted.is_ok() && connected.is_ok());
    }

    #[tokio::test]
    async fn a_listener_that_refuses_new_connections_keeps_those_that_wait() {
        let listener = listen(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut early = std::net::TcpStream::connect(address).unwrap();
        match refuse_new(&listener) {
            // Some sandboxes, such as those that images are built in, forbid filters.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                println!(
                    "SKIPPED: a_listener_that_refuses_new_connections_keeps_those_that_wait: {error}"
                );
                return;
            }
            refused => refused.unwrap(),
        }
        let short = std::time::Duration::from_millis(100);
        let late = std::net::TcpStream::connect_timeout(&address, short).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let (mut accepted, _) = listener.accept().await.unwrap();
        io::Write::write_all(&mut early, b"x").unwrap();
        let mut byte = [0];
        tokio::io::AsyncReadExt::read_exact(&mut accepted, &mut byte).await.unwrap();
        assert_eq!(&byte, b"x");
    }
}
