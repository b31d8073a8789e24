//! How `netpol apply`, `delete` and `get` reach a running enforcer: one request and one
//! response as JSON over a Unix socket that only its owner can open.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hello_common::error::Chain;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::policy_store::{Change, ChangeError};
use super::{EnforceError, Enforcer};
use crate::names::NamespacedName;

/// The longest request: more policies than anybody writes by hand.
const MAX_REQUEST: u64 = 8 << 20;

/// How long a client may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an enforcer may take to answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a client wants.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// Create or replace policies.
    Apply(Vec<NetworkPolicy>),
    /// Delete policies.
    Delete(Vec<NamespacedName>),
    /// Tell the policies.
    Get,
}

/// What an enforcer says to it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// What became of each policy.
    Changed(Vec<(NamespacedName, Change)>),
    /// The policies.
    Policies(Vec<NetworkPolicy>),
    /// Nothing was changed.
    Refused {
        /// Why in one word, as the Kubernetes API has it.
        reason: String,
        /// Why.
        message: String,
    },
}

/// Why the enforcer cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error(
        "no enforcer listens at {}; start one with `netpol enforce`, or name its --socket",
        path.display()
    )]
    NotThere {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Another enforcer listens there.
    #[error("an enforcer listens at {} already; choose another --socket", .0.display())]
    Taken(PathBuf),
    /// The socket cannot be made, or broke.
    #[error("cannot use the socket {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

fn at(path: &Path) -> impl Fn(io::Error) -> ControlError {
    let path = path.to_owned();
    move |cause| ControlError::Io { path: path.clone(), cause }
}

/// Asks the enforcer that listens at `path`.
pub fn ask(path: &Path, request: &Request) -> Result<Response, ControlError> {
    let not_there = |cause| ControlError::NotThere { path: path.to_owned(), cause };
    let mut stream = UnixStream::connect(path).map_err(not_there)?;
    let mut exchange = || -> io::Result<Response> {
        stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
        stream.write_all(&serde_json::to_vec(request)?)?;
        stream.shutdown(Shutdown::Write)?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response)?;
        Ok(serde_json::from_slice(&response)?)
    };
    exchange().map_err(at(path))
}

/// Makes the socket; one that an ended enforcer has left is replaced.
pub fn listen(path: &Path) -> Result<UnixListener, ControlError> {
    if UnixStream::connect(path).is_ok() {
        return Err(ControlError::Taken(path.to_owned()));
    }
    // Made where nobody else can reach it, and moved when its mode is right.
    let private = path.with_extension(format!("{}.new", std::process::id()));
    fs::DirBuilder::new().mode(0o700).create(&private).map_err(at(path))?;
    let socket = private.join("socket");
    let made = UnixListener::bind(&socket).and_then(|listener| {
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
        fs::rename(&socket, path)?;
        Ok(listener)
    });
    // It is empty, unless the rename failed.
    let _ = fs::remove_dir_all(&private);
    made.map_err(at(path))
}

/// Answers requests for ever, one at a time.
pub async fn serve(listener: UnixListener, enforcer: &Enforcer) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let exchange = async {
            let mut request = Vec::new();
            let mut bounded = (&mut stream).take(MAX_REQUEST);
            let read = bounded.read_to_end(&mut request);
            tokio::time::timeout(REQUEST_TIMEOUT, read).await??;
            let response = match serde_json::from_slice(&request) {
                Ok(request) => answer(enforcer, request).await,
                Err(error) => refused("BadRequest", error.to_string()),
            };
            let response = serde_json::to_vec(&response)?;
            tokio::time::timeout(REQUEST_TIMEOUT, stream.write_all(&response)).await?
        };
        let exchanged: io::Result<()> = exchange.await;
        if let Err(error) = exchanged {
            tracing::warn!("a request was broken off: {error}");
        }
    }
}

async fn answer(enforcer: &Enforcer, request: Request) -> Response {
    let answer = match request {
        Request::Apply(objects) => enforcer.apply(objects).await.map(Response::Changed),
        Request::Delete(names) => enforcer.delete(names).await.map(Response::Changed),
        Request::Get => enforcer.policies().await.map(Response::Policies),
    };
    match answer {
        Ok(response) => {
            if let Response::Changed(changes) = &response {
                for (name, change) in changes {
                    tracing::info!("policy {name} {change}");
                }
            }
            response
        }
        Err(error) => {
            let reason = match &error {
                EnforceError::Change(ChangeError::NotFound(_)) => "NotFound",
                EnforceError::Change(ChangeError::Invalid { .. }) => "Invalid",
                EnforceError::NotKnown => "Conflict",
                _ => "InternalError",
            };
            let message = Chain(&error).to_string();
            tracing::warn!("a request was refused: {message}");
            refused(reason, message)
        }
    }
}

fn refused(reason: &str, message: String) -> Response {
    Response::Refused { reason: reason.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[tokio::test]
    async fn the_socket_is_its_owners_alone_and_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netpol.sock");
        let listener = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(listen(&path), Err(ControlError::Taken(_))));
        drop(listener);
        listen(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn who_finds_no_enforcer_is_told_how_to_start_one() {
        let error = ask(Path::new("/no/such/socket"), &Request::Get).unwrap_err();
        let said = Chain(&error).to_string();
        assert!(said.contains("/no/such/socket") && said.contains("netpol enforce"), "{said}");
        assert_eq!(said.matches("No such file").count(), 1, "{said}");
    }
}
