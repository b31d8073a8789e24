//! The API's listener: TLS on a loopback address, with a certificate made for this lab.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rcgen::{CertificateParams, KeyPair, SanType};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::long_query;

/// Clients must finish the TLS handshake, and then each request's headers, within this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A listener that is ready, and what a client needs to trust it.
pub struct Listener {
    socket: TcpListener,
    acceptor: TlsAcceptor,
    certificate_pem: String,
}

impl Listener {
    /// Listens on 127.0.0.1 and `port`; 0 takes a free one.
    pub async fn bind(port: u16) -> anyhow::Result<Self> {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            if error.kind() == std::io::ErrorKind::AddrInUse {
                anyhow::anyhow!("port {port} on 127.0.0.1 is in use: choose another with --port, or leave it out")
            } else {
                anyhow::Error::new(error).context(format!("cannot listen on {address} (--port)"))
            }
        })?;

        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        let certificate = params.self_signed(&key).context("cannot make a certificate")?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            socket: listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate_pem: certificate.pem(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Its certificate, which signs itself.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Serves `app`, for ever.
    pub async fn serve(self, app: Router) {
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(connection(self.acceptor.clone(), stream, app.clone()));
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection for now: {error}");
                    // The kernel cannot tell when a file descriptor is free again.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, app: Router) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await
    else {
        return;
    };
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, long_query::shorten(stream)).await
    else {
        return;
    };
    let service = TowerToHyperService::new(app);
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT)
        .max_buf_size(long_query::LONGEST + (64 << 10))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = result {
        tracing::debug!("a client's connection ended: {error}");
    }
}
