//! What a URL is about.

use serde_json::{Value, json};

use super::error::ApiError;
use crate::objects::Kind;
use crate::objects::object::remove;

/// A kind of object, or one object, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind.
    pub kind: Kind,
    /// The namespace; `None` for kinds that are in none, and for a list of all namespaces.
    pub namespace: Option<String>,
    /// The object, unless it is about all of them.
    pub name: Option<String>,
    /// The part of it, such as `log` or `scale`.
    pub subresource: Option<String>,
}

impl Target {
    /// Reads the path of a URL; `None` for what is no path of an object.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let mut segments = path.split('/').skip(1).peekable();
        let group = match (segments.next()?, segments.next()?) {
            ("api", "v1") => "",
            ("apis", group) if segments.next()? == "v1" => group,
            _ => return None,
        };
        let rest: Vec<&str> = segments.collect();
        if rest.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let (namespace, rest) = match rest[..] {
            ["namespaces", namespace, plural, ref rest @ ..]
                if Kind::find(group, plural).is_some_and(|kind| kind.resource().namespaced) =>
            {
                (Some(namespace.to_owned()), (plural, rest))
            }
            [plural, ref rest @ ..] => (None, (plural, rest)),
            [] => return None,
        };
        let (plural, rest) = rest;
        let kind = Kind::find(group, plural)?;
        let (name, subresource) = match rest {
            [] => (None, None),
            [name] => (Some((*name).to_owned()), None),
            [name, sub] => (Some((*name).to_owned()), Some((*sub).to_owned())),
            _ => return None,
        };
        // An object in a namespace is only found by way of it.
        if kind.resource().namespaced && namespace.is_none() && name.is_some() {
            return None;
        }
        Some(Self { kind, namespace, name, subresource })
    }
}

/// A group, empty for the core one, and a version as objects name them.
pub(super) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Refuses an object that is not of the URL's kind, namespace and name, and fills these in.
pub(super) fn check_identity(
    target: &Target,
    object: &mut Value,
    name: Option<&str>,
) -> Result<(), ApiError> {
    let kind = target.kind;
    let (expected_version, expected_kind) = (kind.api_version(), kind.resource().kind);
    if !object.is_object() {
        return Err(ApiError::BadRequest("the body is no object".to_owned()));
    }
    for (field, expected) in [("apiVersion", expected_version.as_str()), ("kind", expected_kind)] {
        match &object[field] {
            Value::Null => {}
            Value::String(given) if given == expected || given.is_empty() => {}
            given => {
                return Err(ApiError::BadRequest(format!(
                    "the object's {field} is {given}, and this is the place for {expected:?}"
                )));
            }
        }
    }
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    if !object["metadata"].is_object() {
        return Err(ApiError::BadRequest("the object's metadata is no object".to_owned()));
    }
    let metadata = &mut object["metadata"];
    if let Some(namespace) = &target.namespace {
        match metadata["namespace"].as_str() {
            Some(given) if given != namespace && !given.is_empty() => {
                return Err(ApiError::BadRequest(
                    "the namespace of the provided object does not match the namespace sent on the request"
                        .to_owned(),
                ));
            }
            _ => metadata["namespace"] = namespace.as_str().into(),
        }
    } else if kind.resource().namespaced {
        return Err(ApiError::MethodNotAllowed);
    } else {
        remove(metadata, "namespace");
    }
    if let Some(name) = name {
        match metadata["name"].as_str() {
            Some(given) if given != name && !given.is_empty() => {
                return Err(ApiError::BadRequest(format!(
                    "the name of the object ({given}) does not match the name on the URL ({name})"
                )));
            }
            _ => metadata["name"] = name.into(),
        }
    }
    if name.is_none() && !metadata["name"].is_null() && !metadata["name"].is_string() {
        return Err(ApiError::BadRequest("metadata.name is not a string".to_owned()));
    }
    if metadata["name"].is_null() {
        remove(metadata, "name");
    }
    if metadata["generateName"].is_null() {
        remove(metadata, "generateName");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(
        kind: Kind,
        namespace: Option<&str>,
        name: Option<&str>,
        sub: Option<&str>,
    ) -> Target {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Target { kind, namespace: owned(namespace), name: owned(name), subresource: owned(sub) }
    }

    #[test]
    fn paths_are_those_of_the_kubernetes_api() {
        for (path, expected) in [
            ("/api/v1/pods", target(Kind::Pod, None, None, None)),
            ("/api/v1/namespaces", target(Kind::Namespace, None, None, None)),
            ("/api/v1/namespaces/n", target(Kind::Namespace, None, Some("n"), None)),
            ("/api/v1/namespaces/n/pods", target(Kind::Pod, Some("n"), None, None)),
            (
                "/api/v1/namespaces/n/pods/p/log",
                target(Kind::Pod, Some("n"), Some("p"), Some("log")),
            ),
            (
                "/apis/apps/v1/namespaces/n/deployments/d",
                target(Kind::Deployment, Some("n"), Some("d"), None),
            ),
        ] {
            assert_eq!(Target::parse(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn other_paths_are_not_about_objects() {
        for path in [
            "/",
            "/api",
            "/api/v2/pods",
            "/api/v1/",
            "/api/v1/pods/p",
            "/api/v1/deployments",
            "/apis/apps/v1/namespaces/n/deployments/d/scale/x",
            "/apis/apps/v1beta1/deployments",
        ] {
            assert_eq!(Target::parse(path), None, "{path}");
        }
    }
}
