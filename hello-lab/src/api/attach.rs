//! `kubectl attach`, and what `kubectl run -i` does first: a container's main process.

use axum::http::request::Parts;
use axum::response::Response;

use super::call::Api;
use super::error::ApiError;
use super::log;
use super::remote_command::{Query, Session, Wanted, upgrade};
use crate::objects::Object;

/// Answers `…/pods/NAME/attach`.
pub(super) async fn start(api: &Api, mut parts: Parts, pod: &Object) -> Result<Response, ApiError> {
    let query = Query::read(&parts.uri, &parts.headers);
    let wanted = Wanted::read(&query);
    let container = log::container(pod, &query.container())?;
    let streams = api.attachables.get(pod.uid(), &container).ok_or_else(|| {
        let reason = log::waiting_reason(pod, &container);
        ApiError::BadRequest(format!(
            "container {container:?} in pod {:?} is waiting to start: {reason}",
            pod.name()
        ))
    })?;
    upgrade(&mut parts, wanted, async move |client| {
        Session::of_container(streams.attach(wanted.stdin)).run(client, wanted).await;
    })
    .await
}
