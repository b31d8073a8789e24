//! What a probe or a lifecycle hook does (`ProbeHandler` and `LifecycleHandler` of the API): run a command in
//! the container, or ask the pod from the node.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitStatus;
use std::time::Duration;

use hello_common::exit;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe, SleepAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::exec::{self, ExecError};
use crate::node::network::Network;

/// One thing to do, to see whether it succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Handler {
    /// Run a command in the container, which is to end with 0.
    Exec(Vec<String>),
    /// Ask for a page by HTTP, which is to be there.
    Get(Page),
    /// Connect to a port.
    Connect(u16),
    /// Let time go by.
    Sleep(Duration),
}

/// What is asked for by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    port: u16,
    path: String,
    headers: Vec<(String, String)>,
}

/// Whom a handler is about.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// The node's network, from which the pod is asked.
    pub network: &'a Network,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The container, which runs.
    pub container: &'a exec::Container,
}

/// Why a handler has not succeeded.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandlerError {
    /// Nobody takes the connection.
    #[error("dial tcp {to}")]
    Connect {
        /// Where to.
        to: SocketAddr,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// There is no answer in HTTP.
    #[error("Get \"http://{to}{path}\"")]
    Get {
        /// Where from.
        to: SocketAddr,
        /// What was asked for.
        path: String,
        /// Why not.
        #[source]
        cause: hyper::Error,
    },
    /// What the handler says is no request.
    #[error("invalid request")]
    Request(#[source] hyper::http::Error),
    /// The answer is that of a failure.
    #[error("HTTP probe failed with statuscode: {0}")]
    Status(u16),
    /// The command cannot be run.
    #[error("cannot run the command")]
    Start(#[from] ExecError),
    /// It has ended with another code than 0; what it said is all that a kubelet tells.
    #[error("{}", if said.is_empty() { format!("the command ended with exit code {code}") } else { said.clone() })]
    Exit {
        /// Its exit code.
        code: i32,
        /// What it wrote.
        said: String,
    },
}

impl Handler {
    /// That of a probe. `None` for one of a kind that is not supported, or whose port does not exist.
    pub(super) fn of_probe(container: &Container, probe: &Probe) -> Option<Self> {
        let Probe { exec, http_get, tcp_socket, .. } = probe;
        if let Some(tcp) = tcp_socket {
            return Some(Self::Connect(number(container, &tcp.port)?));
        }
        Self::of(container, exec.as_ref(), http_get.as_ref(), None)
    }

    /// That of a lifecycle hook. `None` as for probes.
    pub(super) fn of_hook(container: &Container, hook: &LifecycleHandler) -> Option<Self> {
        let LifecycleHandler { exec, http_get, sleep, .. } = hook;
        Self::of(container, exec.as_ref(), http_get.as_ref(), sleep.as_ref())
    }

    fn of(
        container: &Container,
        exec: Option<&ExecAction>,
        get: Option<&HTTPGetAction>,
        sleep: Option<&SleepAction>,
    ) -> Option<Self> {
        if let Some(exec) = exec {
            return Some(Self::Exec(exec.command.clone().unwrap_or_default()));
        }
        if let Some(get) = get {
            let path = get.path.clone().unwrap_or_default();
            let headers = get.http_headers.iter().flatten();
            return Some(Self::Get(Page {
                port: number(container, &get.port)?,
                path: if path.starts_with('/') { path } else { format!("/{path}") },
                headers: headers.map(|one| (one.name.clone(), one.value.clone())).collect(),
            }));
        }
        let seconds = u64::try_from(sleep?.seconds).unwrap_or(0);
        Some(Self::Sleep(Duration::from_secs(seconds)))
    }

    /// Does it once.
    pub(super) async fn run(&self, target: Target<'_>) -> Result<(), HandlerError> {
        let connect = async |port: u16| {
            let to = SocketAddr::new(target.address.into(), port);
            let stream = target.network.connect(to).await;
            stream.map(|stream| (stream, to)).map_err(|cause| HandlerError::Connect { to, cause })
        };
        match self {
            Self::Exec(command) => {
                let (status, said) = Box::pin(target.container.output(command)).await?;
                well_ended(status, &said)
            }
            Self::Get(page) => {
                let (stream, to) = connect(page.port).await?;
                Box::pin(page.get(stream, to)).await
            }
            Self::Connect(port) => connect(*port).await.map(drop),
            Self::Sleep(time) => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
        }
    }

    /// What it was about, for who is told that it took too long.
    pub(super) fn describe(&self, address: Ipv4Addr) -> String {
        match self {
            Self::Exec(command) => format!("{:?}", command.join(" ")),
            Self::Get(Page { port, .. }) | Self::Connect(port) => format!("{address}:{port}"),
            Self::Sleep(time) => format!("a sleep of {time:?}"),
        }
    }
}

fn well_ended(status: ExitStatus, said: &str) -> Result<(), HandlerError> {
    match exit::number(status) {
        0 => Ok(()),
        code => Err(HandlerError::Exit { code, said: said.trim_end().to_owned() }),
    }
}

impl Page {
    async fn get(&self, stream: tokio::net::TcpStream, to: SocketAddr) -> Result<(), HandlerError> {
        let failed = |cause| HandlerError::Get { to, path: self.path.clone(), cause };
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // It ends when the sender is dropped.
        let connection = tokio::spawn(connection);
        let mut request = Request::get(&self.path)
            .header("host", to.to_string())
            .header("user-agent", "kube-probe/hello-lab")
            .header("connection", "close");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::<bytes::Bytes>::new()).map_err(HandlerError::Request)?;
        let response = sender.send_request(request).await.map_err(failed);
        drop(sender);
        connection.abort();
        match response?.status().as_u16() {
            200..=399 => Ok(()),
            code => Err(HandlerError::Status(code)),
        }
    }
}

/// The number of a port, which may be named by the container.
fn number(container: &Container, port: &IntOrString) -> Option<u16> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_ref() == Some(name))
            .and_then(|port| u16::try_from(port.container_port).ok()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use serde_json::{Value, json};

    use super::*;

    fn container() -> Container {
        let container = json!({"name": "c", "ports": [{"name": "http", "containerPort": 8080}]});
        serde_json::from_value(container).unwrap()
    }

    #[test]
    fn a_probe_and_a_hook_do_what_the_api_says_and_ports_may_have_names() {
        let probe =
            |probe: Value| Handler::of_probe(&container(), &serde_json::from_value(probe).unwrap());
        let hook =
            |hook: Value| Handler::of_hook(&container(), &serde_json::from_value(hook).unwrap());
        let page = Page { port: 8080, path: "/readyz".to_owned(), headers: Vec::new() };
        let get = json!({"httpGet": {"path": "readyz", "port": "http"}});
        assert_eq!(probe(get.clone()), Some(Handler::Get(page.clone())));
        assert_eq!(hook(get), Some(Handler::Get(page)));
        assert_eq!(probe(json!({"tcpSocket": {"port": 1}})), Some(Handler::Connect(1)));
        assert_eq!(hook(json!({"tcpSocket": {"port": 1}})), None);
        assert_eq!(probe(json!({"tcpSocket": {"port": "nope"}})), None);
        let command = Some(Handler::Exec(vec!["a".to_owned()]));
        assert_eq!(probe(json!({"exec": {"command": ["a"]}})), command);
        assert_eq!(hook(json!({"exec": {"command": ["a"]}})), command);
        let sleep = Handler::Sleep(Duration::from_secs(2));
        assert_eq!(hook(json!({"sleep": {"seconds": 2}})), Some(sleep));
        assert_eq!(probe(json!({"grpc": {"port": 1}})), None);
    }

    #[test]
    fn a_command_that_fails_is_told_by_what_it_said() {
        let ended = |code: i32, said: &str| {
            well_ended(ExitStatus::from_raw(code << 8), said).map_err(|error| error.to_string())
        };
        assert_eq!(ended(0, "no matter"), Ok(()));
        assert_eq!(ended(1, "cat: x: none"), Err("cat: x: none".to_owned()));
        assert_eq!(ended(1, "no\n"), Err("no".to_owned()));
        assert_eq!(ended(7, "\n"), Err("the command ended with exit code 7".to_owned()));
    }
}
