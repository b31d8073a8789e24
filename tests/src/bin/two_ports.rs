//! A server for the tests' manifests: answers HTTP on each port that it is told, and else on 5000, 6379 and 8000.

use std::io::{Read, Write};
use std::net::TcpListener;

fn main() {
    let mut ports: Vec<u16> =
        std::env::args().skip(1).filter_map(|port| port.parse().ok()).collect();
    if ports.is_empty() {
        ports = vec![5000, 6379, 8000];
    }
    let serve = |port: u16| {
        let listener = TcpListener::bind(("0.0.0.0", port)).expect("a port of its own");
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 1024];
            // A client that has gone needs no answer.
            let _ = stream.read(&mut request);
            let body = format!("port {port}\n");
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
            let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes());
        }
    };
    std::thread::scope(|scope| {
        for port in ports {
            scope.spawn(move || serve(port));
        }
    });
}
