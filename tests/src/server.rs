//! hello-server as a program, on a free port of this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{PATIENCE, program, status_field, wait_for};

/// A program that ends with its test, whatever becomes of that.
#[derive(Debug)]
pub struct Ending(pub Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ending {
    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"))
    }

    /// Sends it `signal`.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    /// How it ended, once it has; it has a minute.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the program's end", || self.0.try_wait().expect("it is this test's"))
    }

    /// Bytes of memory that it has now, of the `/proc/PID/status` line `field`, such as `VmRSS`.
    #[must_use]
    pub fn memory(&self, field: &str) -> u64 {
        let value = status_field(self.0.id().cast_signed(), field);
        let number = value.strip_suffix(" kB").expect("kilobytes");
        number.parse::<u64>().expect("a number") * 1024
    }
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    /// The program.
    pub program: Ending,
    /// Where it listens.
    pub address: SocketAddr,
    log: BufReader<ChildStdout>,
}

impl Server {
    /// One with these arguments besides.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        let mut child = Command::new(program("hello-server"))
            .args(["--host", "127.0.0.1", "--port", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is built");
        let mut log = BufReader::new(child.stdout.take().expect("piped"));
        let program = Ending(child);
        let mut first = String::new();
        while !first.contains("listening on ") {
            first.clear();
            assert_ne!(log.read_line(&mut first).expect("a line"), 0, "it ended");
        }
        let address = first.rsplit_once("listening on ").expect("looked for").1;
        let is_other = |char: char| !char.is_ascii_digit() && char != '.' && char != ':';
        let address = address.split(is_other).next().expect("one at least");
        let address = address.parse().expect("an address");
        Self { program, address, log }
    }

    /// Its next log line; `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.log.read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    }

    /// Closes the pipe that it logs to.
    #[must_use]
    pub fn without_log(self) -> (Ending, SocketAddr) {
        (self.program, self.address)
    }

    /// A connection to it.
    #[must_use]
    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends `text` on a connection of its own, and returns what came until that was closed.
    #[must_use]
    pub fn ask(&self, text: &str) -> String {
        request(self.address, text)
    }

    /// The value of a series at `/metrics`, 0 where there is none.
    #[must_use]
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.ask(&get("/metrics"));
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a whole number"))
    }
}

/// A request for `path`, after whose answer the connection is closed.
#[must_use]
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

/// A connection to `address` that gives up on what takes a minute.
#[must_use]
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("more than nothing");
    stream.set_write_timeout(Some(PATIENCE)).expect("more than nothing");
    stream
}

/// Sends `text` to `address` on a connection of its own, and returns what came until that was closed.
#[must_use]
pub fn request(address: SocketAddr, text: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(text.as_bytes()).expect("taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Whether the other end closes `stream` within `time`, whatever it sends before that.
pub fn is_closed_within(stream: &mut TcpStream, time: Duration) -> bool {
    stream.set_read_timeout(Some(time)).expect("more than nothing");
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                use std::io::ErrorKind::{TimedOut, WouldBlock};
                return !matches!(error.kind(), WouldBlock | TimedOut);
            }
        }
    }
}
