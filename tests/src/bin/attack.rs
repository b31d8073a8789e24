//! What an attacker runs in a pod: the tests of isolation make an image of it.
//!
//! `attack wait` waits. `attack neighbours` tells of each process that it can open, and of each socket that
//! it can take from one. `attack kill` ends every process that it can. `attack listen PORT` prints every
//! datagram that comes. `attack reach PORT V4 V6 NAMES…` sends some there by every way that it knows, and as if
//! they came from each of NAMES. `attack sockets` tries to make sockets of every family.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;

use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};
use socket2::{Domain, Protocol, Socket, Type};

/// More than the processes of a machine have as numbers before they begin anew.
const NUMBERS: std::ops::RangeInclusive<i32> = 1..=70_000;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("neighbours") => neighbours(),
        Some("kill") => kill_all(),
        Some("listen") => listen(argument(2)),
        Some("reach") => reach(argument(2), argument(3), argument(4)),
        Some("sockets") => sockets(),
        _ => loop {
            std::thread::park();
        },
    }
}

fn argument<T: std::str::FromStr>(place: usize) -> T {
    let argument = std::env::args().nth(place).and_then(|argument| argument.parse().ok());
    argument.expect("an argument is missing, or is another thing")
}

fn others() -> impl Iterator<Item = Pid> {
    let own = rustix::process::getpid();
    NUMBERS.filter_map(Pid::from_raw).filter(move |pid| *pid != own)
}

fn neighbours() {
    for pid in others() {
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let name =
            std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        let name = String::from_utf8_lossy(&name).replace('\0', " ");
        println!("process {} {}", pid.as_raw_nonzero(), name.trim());
        for number in 0..64 {
            if pidfd_getfd(process.as_fd(), number, PidfdGetfdFlags::empty()).is_ok() {
                println!("took {number} of {}", name.trim());
            }
        }
    }
}

fn kill_all() {
    let killed = others().filter(|pid| kill_process(*pid, Signal::KILL).is_ok()).count();
    println!("killed {killed}");
}

/// UDP-Lite, RFC 3828.
const UDP_LITE: i32 = 136;

fn listen(port: u16) {
    let listener = |protocol| {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, protocol).expect("a socket");
        socket.set_only_v6(false).expect("both families");
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into()).expect("the port");
        socket
    };
    let print_all = |socket: Socket| {
        let socket = std::net::UdpSocket::from(socket);
        let mut text = vec![0; 65536];
        while let Ok((length, _)) = socket.recv_from(&mut text) {
            println!("got {}", String::from_utf8_lossy(&text[..length]).trim_end_matches('.'));
        }
    };
    let lite = listener(Some(UDP_LITE.into()));
    std::thread::spawn(move || print_all(lite));
    print_all(listener(None));
}

fn reach(port: u16, v4: Ipv4Addr, v6: Ipv6Addr) {
    let [first, second, ..] = v4.octets();
    let to = |address: IpAddr| SocketAddr::new(address, port);
    let (to_v4, to_v6) = (to(v4.into()), to(v6.into()));
    let large = format!("large{}", ".".repeat(20_000));
    for (to, name) in [(to_v4, "v4"), (to_v6, "v6")] {
        tell(name, send(to, None, None, name));
        tell("large", send(to, None, None, &large));
        tell("lite", send(to, Some(UDP_LITE.into()), None, "lite"));
    }
    for broadcast in [Ipv4Addr::BROADCAST, [first, second, 255, 255].into(), [224, 0, 0, 1].into()]
    {
        tell("broadcast", send(to(broadcast.into()), None, None, "broadcast"));
    }
    for device in 1..8 {
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let to = SocketAddrV6::new(all_nodes, port, 0, device);
        tell("multicast", send(to.into(), None, None, "multicast"));
    }
    for name in std::env::args().skip(5) {
        let from: IpAddr = name.parse().expect("an address");
        let to = if from.is_ipv4() { to_v4 } else { to_v6 };
        tell(&name, send(to, None, Some(from), &format!("as {name}")));
    }
    tell("end", send(to_v6, None, None, "end"));
}

fn send(
    to: SocketAddr,
    protocol: Option<Protocol>,
    from: Option<IpAddr>,
    text: &str,
) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, protocol)?;
    if let Some(from) = from {
        // What lets a program without privileges take an address that is not the machine's (ip(7)).
        match from {
            IpAddr::V4(_) => socket.set_freebind_v4(true)?,
            IpAddr::V6(_) => socket.set_freebind_v6(true)?,
        }
        socket.bind(&SocketAddr::new(from, 0).into())?;
    } else if to.is_ipv4() {
        socket.set_broadcast(true)?;
    }
    socket.send_to(text.as_bytes(), &to.into()).map(drop)
}

fn sockets() {
    for family in 0..64 {
        for kind in [1, 2, 3, 5] {
            let made = Socket::new(family.into(), Type::from(kind), None).map(drop);
            tell(&format!("family {family} type {kind}"), made);
        }
    }
}

fn tell(what: &str, result: io::Result<()>) {
    match result {
        Ok(()) => println!("{what}: made"),
        Err(error) => println!("{what}: {error}"),
    }
}
