//! Probes, made from the node as a kubelet makes them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::node::network::Network;

/// A probe with the API's defaults applied.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// Before the first try.
    pub delay: Duration,
    /// Between two tries.
    pub period: Duration,
    /// Tries in a row that turn it to failed.
    pub failures: u32,
    /// Tries in a row that turn it to succeeded.
    pub successes: u32,
    timeout: Duration,
    port: u16,
    http: Option<Http>,
}

/// Why a try of a probe has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
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
    /// What the probe says is no request.
    #[error("invalid probe")]
    Request(#[source] hyper::http::Error),
    /// The answer is that of a failure.
    #[error("HTTP probe failed with statuscode: {0}")]
    Status(u16),
    /// There is no answer in time.
    #[error("no answer from {to} within {timeout:?}")]
    Timeout {
        /// Where from.
        to: SocketAddr,
        /// How long it was waited for.
        timeout: Duration,
    },
}

#[derive(Clone, Debug)]
struct Http {
    path: String,
    headers: Vec<(String, String)>,
}

impl Check {
    /// Reads a probe of `container`. `None` for one of a kind that is not supported, or whose
    /// port does not exist.
    pub(super) fn new(container: &Container, probe: &Probe) -> Option<Self> {
        let (port, http) = match (&probe.http_get, &probe.tcp_socket) {
            (Some(get), _) => (&get.port, Some(http(get))),
            (None, Some(tcp)) => (&tcp.port, None),
            (None, None) => return None,
        };
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(
                value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default),
            )
        };
        let times = |value: Option<i32>, default| {
            value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default).max(1)
        };
        Some(Self {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            failures: times(probe.failure_threshold, 3),
            successes: times(probe.success_threshold, 1),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            port: number(container, port)?,
            http,
        })
    }

    /// Tries once.
    pub(super) async fn attempt(
        &self,
        network: &Network,
        address: Ipv4Addr,
    ) -> Result<(), ProbeError> {
        let to = SocketAddr::new(address.into(), self.port);
        let attempt = async {
            let connected = network.connect(to).await;
            let stream = connected.map_err(|cause| ProbeError::Connect { to, cause })?;
            match &self.http {
                None => Ok(()),
                Some(http) => http.get(stream, to).await,
            }
        };
        tokio::time::timeout(self.timeout, attempt)
            .await
            .unwrap_or(Err(ProbeError::Timeout { to, timeout: self.timeout }))
    }
}

impl Http {
    async fn get(&self, stream: tokio::net::TcpStream, to: SocketAddr) -> Result<(), ProbeError> {
        let failed = |cause| ProbeError::Get { to, path: self.path.clone(), cause };
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
        let request = request.body(Empty::<bytes::Bytes>::new()).map_err(ProbeError::Request)?;
        let response = sender.send_request(request).await.map_err(failed);
        drop(sender);
        connection.abort();
        match response?.status().as_u16() {
            200..=399 => Ok(()),
            code => Err(ProbeError::Status(code)),
        }
    }
}

fn http(get: &HTTPGetAction) -> Http {
    let path = get.path.clone().unwrap_or_default();
    let headers = get.http_headers.iter().flatten();
    Http {
        path: if path.starts_with('/') { path } else { format!("/{path}") },
        headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
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
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_those_of_the_api_and_ports_may_have_names() {
        let container = json!({"name": "c", "ports": [{"name": "http", "containerPort": 8080}]});
        let container = serde_json::from_value(container).unwrap();
        let probe = |json| Check::new(&container, &serde_json::from_value(json).unwrap());
        let check = probe(json!({"httpGet": {"path": "readyz", "port": "http"}})).unwrap();
        assert_eq!((check.port, check.failures, check.successes), (8080, 3, 1));
        assert_eq!(
            (check.period, check.timeout),
            (Duration::from_secs(10), Duration::from_secs(1))
        );
        assert_eq!(check.http.unwrap().path, "/readyz");
        assert!(probe(json!({"tcpSocket": {"port": "nope"}})).is_none());
        assert!(probe(json!({"exec": {"command": ["a"]}})).is_none());
    }
}
