//! `kubectl exec`: a further process in a container.

use axum::http::request::Parts;
use axum::response::Response;
use serde_json::json;

use super::call::Api;
use super::error::ApiError;
use super::log;
use super::remote_command::{Query, Session, Wanted, failure, upgrade};
use crate::objects::Object;
use crate::shim::Streams;

/// Answers `…/pods/NAME/exec`.
pub(super) async fn start(api: &Api, mut parts: Parts, pod: &Object) -> Result<Response, ApiError> {
    let query = Query::read(&parts.uri, &parts.headers);
    let (wanted, command) = (Wanted::read(&query), query.all("command"));
    if command.is_empty() {
        return Err(ApiError::BadRequest("you must specify at least 1 command".to_owned()));
    }
    let container = log::container(pod, &query.container())?;
    let running = api.containers.get(pod.uid(), &container).ok_or_else(|| {
        ApiError::BadRequest(format!(
            "container {container:?} in pod {:?} does not run",
            pod.name()
        ))
    })?;
    let streams = Streams::of(wanted.tty, wanted.stdin);
    upgrade(&mut parts, wanted, async move |client| match running.start(&command, streams).await {
        Ok(further) => Session::of_process(further, running, wanted).run(client, wanted).await,
        Err(error) => {
            let error = anyhow::Error::from(error);
            client.end(&failure("InternalError", &format!("{error:#}"), json!({}))).await;
        }
    })
    .await
}
