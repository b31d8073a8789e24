//! `…/pods/NAME/proxy/…` and `…/services/NAME/proxy/…`: HTTP to a pod through the API, as `kubectl get --raw` and
//! `kubectl proxy` ask for it (`ProxyREST` of pkg/registry/core). As with `port-forward` the connection comes from
//! the pod's own loopback address, which no policy is about.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderValue, LOCATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hello_common::error::Chain;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::answer::AsItIs;
use super::call::Api;
use super::error::ApiError;
use crate::objects::{Key, Kind, Object, Store};

/// Whom a request is to be handed on to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proxied<'a> {
    key: Key,
    scheme: &'a str,
    /// A number, or of a Service a name; empty for the first.
    port: &'a str,
    /// What comes after `proxy`: the path there.
    path: &'a str,
}

/// What a URL's path asks to be handed on to, if it does: `[SCHEME:]NAME[:PORT]` (`SplitSchemeNamePort`).
pub(super) fn find(path: &str) -> Option<Proxied<'_>> {
    let rest = path.strip_prefix("/api/v1/namespaces/")?;
    let (namespace, rest) = rest.split_once('/')?;
    let (plural, rest) = rest.split_once('/')?;
    let kind = match plural {
        "pods" => Kind::Pod,
        "services" => Kind::Service,
        _ => return None,
    };
    let (name, rest) = rest.split_once('/')?;
    let path =
        rest.strip_prefix("proxy").filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let mut parts = name.split(':');
    let (scheme, name, port) = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
        (name, None, None, None) => ("", name, ""),
        (name, Some(port), None, None) => ("", name, port),
        (scheme, Some(name), Some(port), None) => (scheme, name, port),
        _ => return None,
    };
    Some(Proxied { key: Key::new(kind, namespace, name), scheme, port, path })
}

/// Hands a request on, and its answer back.
pub(super) async fn forward(
    api: &Api,
    proxied: &Proxied<'_>,
    request: Request,
) -> Result<Response, ApiError> {
    if !matches!(proxied.scheme, "" | "http") {
        return Err(ApiError::NotInTheLab("proxy to pods by HTTPS"));
    }
    if request.headers().contains_key(UPGRADE) {
        return Err(ApiError::NotInTheLab(
            "proxy of upgraded connections; use kubectl port-forward",
        ));
    }
    let object = api.store.get(&proxied.key)?;
    // A page's links are relative to a folder.
    if proxied.path.is_empty() && matches!(*request.method(), Method::GET | Method::HEAD) {
        return to_the_folder(request.uri());
    }
    let (pod, port) = match proxied.key.kind {
        Kind::Service => endpoint(&api.store, &object, proxied.port)?,
        _ => (api.store.get(&proxied.key)?, pod_port(&object, proxied.port)?),
    };
    let unreachable =
        |why: String| ApiError::ServiceUnavailable(format!("error trying to reach service: {why}"));
    let container = api.containers.any(pod.uid());
    let container = container
        .ok_or_else(|| unreachable(format!("no container of pod {:?} runs", pod.name())))?;
    let stream = container
        .connect(port)
        .await
        .map_err(|error| unreachable(format!("dial tcp {}:{port}: {error}", address(&pod))))?;
    let failed = |error: hyper::Error| unreachable(Chain(&error).to_string());
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // It ends with the answer.
    tokio::spawn(connection);
    let request = onwards(request, proxied.path, &format!("{}:{port}", address(&pod)))?;
    let mut response = sender.send_request(request).await.map_err(failed)?.map(Body::new);
    let headers = response.headers_mut();
    drop_hops(headers);
    response.extensions_mut().insert(AsItIs);
    Ok(response)
}

fn to_the_folder(uri: &Uri) -> Result<Response, ApiError> {
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let to = HeaderValue::from_str(&format!("{}/{query}", uri.path()));
    let to = to.map_err(|error| ApiError::BadRequest(error.to_string()))?;
    Ok((StatusCode::MOVED_PERMANENTLY, [(LOCATION, to)]).into_response())
}

/// The request as the pod gets it: without what was for the API alone.
fn onwards(request: Request, path: &str, host: &str) -> Result<Request, ApiError> {
    let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
    let path = if path.is_empty() { "/" } else { path };
    let uri = format!("{path}{query}").parse::<Uri>();
    let (mut parts, body) = request.into_parts();
    parts.uri = uri.map_err(|error| ApiError::BadRequest(error.to_string()))?;
    drop_hops(&mut parts.headers);
    parts.headers.remove(AUTHORIZATION);
    let host = HeaderValue::from_str(host);
    parts.headers.insert(HOST, host.map_err(|error| ApiError::BadRequest(error.to_string()))?);
    parts.version = axum::http::Version::HTTP_11;
    Ok(Request::from_parts(parts, body))
}

/// What is about a connection and not about its message (RFC 9110, 7.6.1).
fn drop_hops(headers: &mut HeaderMap) {
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

fn address(pod: &Object) -> &str {
    pod.value()["status"]["podIP"].as_str().unwrap_or_default()
}

/// The port of a pod that is asked for: its first, where none is (`ResourceLocation` of a pod).
fn pod_port(pod: &Object, port: &str) -> Result<u16, ApiError> {
    if port.is_empty() {
        let spec = pod.typed::<Pod>().spec.as_ref();
        let containers = spec.map_or(&[][..], |spec| &spec.containers);
        let first = containers.iter().find_map(|one| one.ports.as_ref()?.first());
        let number = first.and_then(|port| u16::try_from(port.container_port).ok());
        return Ok(number.unwrap_or(80));
    }
    port.parse().map_err(|_| {
        ApiError::BadRequest(format!("invalid port {port:?}: of a pod it is a number"))
    })
}

/// A pod behind a Service that is ready, and its port (`ResourceLocation` of a Service).
fn endpoint(
    store: &Store,
    service: &Object,
    port: &str,
) -> Result<(std::sync::Arc<Object>, u16), ApiError> {
    let ports = service.value()["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let number = port.parse::<u64>().ok();
    let wanted = ports.iter().find(|one| {
        one["name"] == port || number.is_some_and(|number| one["port"] == number) || port.is_empty()
    });
    let none = |what: &str| {
        let (namespace, name) = (service.namespace(), service.name());
        ApiError::ServiceUnavailable(format!(
            "no {what} available for service \"{namespace}/{name}\""
        ))
    };
    let wanted = wanted.ok_or_else(|| none(&format!("port {port:?}")))?;
    let name = wanted["name"].as_str().unwrap_or_default();
    let (slices, _) = store.list(Kind::EndpointSlice, Some(service.namespace()));
    for slice in slices.iter().filter(|slice| slice.is_slice_of(service)) {
        let slice = slice.typed::<EndpointSlice>();
        let mut ports = slice.ports.iter().flatten();
        let port = ports.find(|port| port.name.as_deref().unwrap_or_default() == name);
        let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
        for endpoint in &slice.endpoints {
            let ready = endpoint.conditions.as_ref().and_then(|one| one.ready) != Some(false);
            let pod = endpoint.target_ref.as_ref().filter(|_| ready);
            let name = pod.and_then(|pod| pod.name.as_deref()).unwrap_or_default();
            if let Ok(pod) = store.get(&Key::new(Kind::Pod, service.namespace(), name)) {
                return Ok((pod, port));
            }
        }
    }
    Err(none("endpoints"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_handed_on_is_named_with_scheme_and_port() {
        let pods = "/api/v1/namespaces/n/pods";
        for (end, expected) in [
            ("p/proxy", ("p", "", "", "")),
            ("p/proxy/a/b", ("p", "", "", "/a/b")),
            ("p:80/proxy/", ("p", "", "80", "/")),
            ("http:p:web/proxy/", ("p", "http", "web", "/")),
            (":p:/proxy/", ("p", "", "", "/")),
        ] {
            let (name, scheme, port, path) = expected;
            let url = format!("{pods}/{end}");
            let key = Key::new(Kind::Pod, "n", name);
            assert_eq!(find(&url), Some(Proxied { key, scheme, port, path }), "{end}");
        }
        for other in
            ["/api/v1/namespaces/n/pods/p/proxyx", "/api/v1/nodes/n/proxy/", "/api/v1/pods/p"]
        {
            assert_eq!(find(other), None, "{other}");
        }
    }

    #[test]
    fn a_service_is_a_ready_pod_of_its_and_its_own_port() {
        let store = Store::default();
        for name in ["late", "there"] {
            let pod = json!({"metadata": {"name": name, "namespace": "n"}});
            store.create(Kind::Pod, pod).unwrap();
        }
        let ports = json!([{"name": "web", "port": 80}, {"name": "other", "port": 81}]);
        let service =
            json!({"metadata": {"name": "s", "namespace": "n"}, "spec": {"ports": ports}});
        let service = store.create(Kind::Service, service).unwrap();
        assert!(endpoint(&store, &service, "").is_err(), "there is none");
        let of = |name: &str, ready: bool| {
            let pod = json!({"kind": "Pod", "name": name});
            json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "targetRef": pod})
        };
        let slice = json!({
            "metadata": {
                "name": "s-1", "namespace": "n", "labels": {"kubernetes.io/service-name": "s"},
            },
            "addressType": "IPv4", "endpoints": [of("late", false), of("there", true)],
            "ports": [{"name": "web", "port": 8080}, {"name": "other", "port": 8081}],
        });
        store.create(Kind::EndpointSlice, slice).unwrap();
        for (port, number) in [("", 8080), ("web", 8080), ("81", 8081)] {
            let (pod, found) = endpoint(&store, &service, port).unwrap();
            assert_eq!((pod.name(), found), ("there", number), "{port}");
        }
        assert!(endpoint(&store, &service, "82").is_err());
    }
}
