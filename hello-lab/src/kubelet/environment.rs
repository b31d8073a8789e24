//! A container's environment, command and arguments: variables from everywhere they can come from, and
//! `$(NAME)` in their place (`makeEnvironmentVariables` of `pkg/kubelet/kubelet_pods.go`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{self as core, EnvVar, EnvVarSource};

use super::references::{self, ObjectMissing};
use super::resources::{self, ResourceError};
use crate::node::network::NODE;
use crate::objects::names::{API_SERVICE, NODE_NAME};
use crate::objects::{Kind, Object, Store};

/// Names and values.
pub(super) type Variables = Vec<(String, String)>;

/// Why an environment cannot be made: it may be later.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnvironmentError {
    /// An object that is not there.
    #[error(transparent)]
    ObjectMissing(#[from] ObjectMissing),
    /// One without the key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    KeyMissing {
        /// The key.
        key: String,
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// The pod's namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A container or a resource that the pod has not.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// A field that pods do not have.
    #[error("unsupported fieldPath: {0}")]
    UnknownField(String),
}

/// A pod that has its addresses, seen by its containers.
pub(super) struct Surroundings<'a> {
    pub(super) store: &'a Store,
    pub(super) pod: &'a Object,
    pub(super) addresses: Vec<String>,
}

impl Surroundings<'_> {
    /// The variables of a container, each once, and those of Services, which `$(NAME)` may name as well: all
    /// that its process has beside what the image says.
    pub(super) fn variables(
        &self,
        container: &core::Container,
    ) -> Result<Variables, EnvironmentError> {
        let services = self.services();
        let mut own: BTreeMap<String, String> = BTreeMap::new();
        for source in container.env_from.iter().flatten() {
            let prefix = source.prefix.as_deref().unwrap_or_default();
            let from = match (&source.config_map_ref, &source.secret_ref) {
                (Some(map), _) => self.data(&CONFIG_MAP, &map.name, map.optional)?,
                (None, Some(secret)) => self.data(&SECRET, &secret.name, secret.optional)?,
                (None, None) => BTreeMap::new(),
            };
            own.extend(from.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)));
        }
        for variable in container.env.iter().flatten() {
            let named = |name: &str| own.get(name).or_else(|| services.get(name)).cloned();
            let value = match &variable.value_from {
                Some(source) => self.value_from(container, source)?,
                None => Some(expand(variable.value.as_deref().unwrap_or_default(), named)),
            };
            let EnvVar { name, .. } = variable;
            // One that is optional and not there is none.
            if let Some(value) = value {
                own.insert(name.clone(), value);
            }
        }
        for (name, value) in services {
            own.entry(name).or_insert(value);
        }
        Ok(own.into_iter().collect())
    }

    fn value_from(
        &self,
        container: &core::Container,
        source: &EnvVarSource,
    ) -> Result<Option<String>, EnvironmentError> {
        if let Some(selector) = &source.resource_field_ref {
            return Ok(Some(resources::value(self.store, self.pod, Some(container), selector)?));
        }
        if let Some(field) = &source.field_ref {
            return self.field(&field.field_path).map(Some);
        }
        if let Some(key) = &source.config_map_key_ref {
            return self.value(&CONFIG_MAP, &key.name, &key.key, key.optional);
        }
        if let Some(key) = &source.secret_key_ref {
            return self.value(&SECRET, &key.name, &key.key, key.optional);
        }
        Ok(Some(String::new()))
    }

    /// A field of the pod (`supportedFieldPaths` of the downward API).
    fn field(&self, path: &str) -> Result<String, EnvironmentError> {
        if let Some(text) = references::metadata(self.pod, path) {
            return Ok(text);
        }
        let account = &self.pod.value()["spec"]["serviceAccountName"];
        Ok(match path {
            "spec.nodeName" => NODE_NAME.to_owned(),
            "spec.serviceAccountName" => account.as_str().unwrap_or_default().to_owned(),
            "status.hostIP" | "status.hostIPs" => NODE.to_string(),
            "status.podIP" => self.addresses.first().cloned().unwrap_or_default(),
            "status.podIPs" => self.addresses.join(","),
            other => return Err(EnvironmentError::UnknownField(other.to_owned())),
        })
    }

    fn value(
        &self,
        kind: &Source,
        name: &str,
        key: &str,
        optional: Option<bool>,
    ) -> Result<Option<String>, EnvironmentError> {
        let mut data = self.data(kind, name, optional)?;
        match data.remove(key) {
            Some(value) => Ok(Some(value)),
            None if optional == Some(true) => Ok(None),
            None => Err(EnvironmentError::KeyMissing {
                key: key.to_owned(),
                kind: kind.kind.resource().kind,
                namespace: self.pod.namespace().to_owned(),
                name: name.to_owned(),
            }),
        }
    }

    /// What a ConfigMap or Secret says; nothing where it is optional and not there.
    fn data(
        &self,
        source: &Source,
        name: &str,
        optional: Option<bool>,
    ) -> Result<BTreeMap<String, String>, EnvironmentError> {
        let wanted = (source.kind, name);
        let object = references::object(self.store, self.pod, wanted, optional == Some(true))?;
        Ok(object.map(|object| (source.read)(&object)).unwrap_or_default())
    }

    /// Where the Services of the pod's namespace are
    /// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>); where
    /// the pod wants none, the API's alone.
    fn services(&self) -> BTreeMap<String, String> {
        let links = self.pod.value()["spec"]["enableServiceLinks"] != false;
        let of = |namespace: &str| self.store.list(Kind::Service, Some(namespace)).0;
        let api = of(API_SERVICE.0).into_iter().filter(|service| service.name() == API_SERVICE.1);
        let own = of(self.pod.namespace()).into_iter().filter(|_| links);
        api.chain(own).flat_map(|service| of_service(&service)).collect()
    }
}

/// Where variables are read from.
struct Source {
    kind: Kind,
    read: fn(&Object) -> BTreeMap<String, String>,
}

const CONFIG_MAP: Source = Source { kind: Kind::ConfigMap, read: texts };
const SECRET: Source = Source { kind: Kind::Secret, read: secrets };

fn texts(map: &Object) -> BTreeMap<String, String> {
    map.typed::<core::ConfigMap>().data.clone().unwrap_or_default()
}

fn secrets(secret: &Object) -> BTreeMap<String, String> {
    let data = secret.typed::<core::Secret>().data.iter().flatten();
    data.map(|(key, bytes)| (key.clone(), String::from_utf8_lossy(&bytes.0).into_owned())).collect()
}

/// The variables of a Service, those of Docker's links among them (`FromServices` of
/// pkg/kubelet/envvars).
fn of_service(service: &Object) -> Vec<(String, String)> {
    let typed = service.typed::<core::Service>();
    let Some(spec) = &typed.spec else { return Vec::new() };
    let address = match spec.cluster_ip.as_deref() {
        None | Some("" | "None") => return Vec::new(),
        Some(address) => address,
    };
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let name = variable_name(service.name());
    let mut all = vec![(format!("{name}_SERVICE_HOST"), address.to_owned())];
    let ports = spec.ports.as_deref().unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        let number = port.port;
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{number}", protocol.to_lowercase());
        if index == 0 {
            all.push((format!("{name}_SERVICE_PORT"), number.to_string()));
            all.push((format!("{name}_PORT"), url.clone()));
        }
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let port_name = variable_name(port_name);
            all.push((format!("{name}_SERVICE_PORT_{port_name}"), number.to_string()));
        }
        let link = format!("{name}_PORT_{number}_{}", protocol.to_uppercase());
        all.push((link.clone(), url));
        all.push((format!("{link}_PROTO"), protocol.to_lowercase()));
        all.push((format!("{link}_PORT"), number.to_string()));
        all.push((format!("{link}_ADDR"), address.to_owned()));
    }
    all
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// Puts the value of NAME in the place of `$(NAME)`. `$$` is one `$`, and what nobody knows stays as it is
/// (`third_party/forked/golang/expansion` of k8s.io/kubernetes).
pub(super) fn expand(text: &str, named: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded += before;
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) =
            rest.strip_prefix('(').and_then(|inside| inside.split_once(')'))
        {
            match named(name) {
                Some(value) => expanded += &value,
                None => expanded.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod() -> Object {
        Object::new(
            Kind::Pod,
            json!({
                "metadata": {
                    "name": "p", "namespace": "n", "uid": "u",
                    "labels": {"tier": "web"}, "annotations": {"a.b/note": "hi"},
                },
                "spec": {"serviceAccountName": "default", "containers": [{"name": "c"}]},
            }),
        )
        .unwrap()
    }

    fn variables(store: &Store, container: Value) -> Result<BTreeMap<String, String>, String> {
        let pod = pod();
        let addresses = vec!["10.244.0.9".to_owned(), "fd00::9".to_owned()];
        let surroundings = Surroundings { store, pod: &pod, addresses };
        let mut value = json!({"name": "c"});
        json_patch::merge(&mut value, &container);
        let container: core::Container = serde_json::from_value(value).unwrap();
        let variables = surroundings.variables(&container).map_err(|error| error.to_string())?;
        Ok(variables.into_iter().collect())
    }

    fn field(path: &str) -> Value {
        json!({"fieldRef": {"fieldPath": path}})
    }

    #[test]
    fn names_in_parentheses_are_replaced_by_their_values() {
        let named = |name: &str| (name == "A").then(|| "a".to_owned());
        for (text, expected) in [
            ("$(A)", "a"),
            ("x$(A)y$(A)", "xaya"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$a"),
            ("$(B)", "$(B)"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
            ("$()", "$()"),
            ("ü$(A)", "üa"),
        ] {
            assert_eq!(expand(text, named), expected, "{text}");
        }
    }

    #[test]
    fn variables_come_from_fields_and_from_each_other_in_their_order() {
        let env = json!([
            {"name": "LABEL", "valueFrom": field("metadata.labels['tier']")},
            {"name": "NOTE", "valueFrom": field("metadata.annotations['a.b/note']")},
            {"name": "ACCOUNT", "valueFrom": field("spec.serviceAccountName")},
            {"name": "IP", "valueFrom": field("status.podIP")},
            {"name": "ALL", "valueFrom": field("status.podIPs")},
            {"name": "URL", "value": "http://$(IP):80/$(LATER)"},
            {"name": "LATER", "value": "x"},
        ]);
        let all = variables(&Store::default(), json!({"env": env})).unwrap();
        for (name, value) in [
            ("LABEL", "web"),
            ("NOTE", "hi"),
            ("ACCOUNT", "default"),
            ("ALL", "10.244.0.9,fd00::9"),
            ("URL", "http://10.244.0.9:80/$(LATER)"),
        ] {
            assert_eq!(all[name], value, "{name}");
        }
        let unknown = json!({"env": [{"name": "X", "valueFrom": field("spec.nope")}]});
        assert_eq!(
            variables(&Store::default(), unknown).unwrap_err(),
            "unsupported fieldPath: spec.nope"
        );
    }

    #[test]
    fn config_maps_and_secrets_are_read_and_what_is_missing_is_named() {
        let store = Store::default();
        let env = json!({
            "envFrom": [
                {"prefix": "M_", "configMapRef": {"name": "m"}},
                {"secretRef": {"name": "none", "optional": true}},
            ],
            "env": [
                {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
                {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "z", "optional": true}}},
                {"name": "M_b", "value": "own $(M_a)"},
            ],
        });
        assert_eq!(variables(&store, env.clone()).unwrap_err(), "configmap \"m\" not found");
        let map =
            json!({"metadata": {"name": "m", "namespace": "n"}, "data": {"a": "1", "b": "2"}});
        store.create(Kind::ConfigMap, map).unwrap();
        assert_eq!(variables(&store, env.clone()).unwrap_err(), "secret \"s\" not found");
        let secret = json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"x": "eA=="}});
        let secret = store.create(Kind::Secret, secret).unwrap();
        assert_eq!(
            variables(&store, env.clone()).unwrap_err(),
            "couldn't find key password in Secret n/s"
        );
        store.change(&secret.key(), |s| s["data"]["password"] = "cHc=".into()).unwrap();
        let all = variables(&store, env).unwrap();
        assert_eq!(
            (all["M_a"].as_str(), all["M_b"].as_str(), all["S"].as_str()),
            ("1", "own 1", "pw")
        );
        assert!(!all.contains_key("O"));
    }

    #[test]
    fn services_of_the_namespace_are_variables_and_the_api_is_one_everywhere() {
        let store = Store::default();
        let service = |namespace: &str, name: &str, ip: &str, ports: Value| {
            let metadata = json!({"name": name, "namespace": namespace});
            let service = json!({"metadata": metadata, "spec": {"clusterIP": ip, "ports": ports}});
            store.create(Kind::Service, service).unwrap();
        };
        service("default", "kubernetes", "10.96.0.1", json!([{"name": "https", "port": 443}]));
        service("default", "other", "10.96.0.2", json!([{"port": 1}]));
        let ports = json!([{"port": 80, "name": "web-1"}, {"port": 53, "protocol": "UDP"}]);
        service("n", "hello-server", "10.96.0.3", ports);
        service("n", "headless", "None", json!([{"port": 1}]));
        let all = variables(&store, json!({})).unwrap();
        for (name, value) in [
            ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
            ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
            ("HELLO_SERVER_SERVICE_HOST", "10.96.0.3"),
            ("HELLO_SERVER_SERVICE_PORT", "80"),
            ("HELLO_SERVER_SERVICE_PORT_WEB_1", "80"),
            ("HELLO_SERVER_PORT", "tcp://10.96.0.3:80"),
            ("HELLO_SERVER_PORT_53_UDP_ADDR", "10.96.0.3"),
        ] {
            assert_eq!(all[name], value, "{name}");
        }
        assert!(all.keys().all(|name| !name.starts_with("OTHER") && !name.starts_with("HEADLESS")));
    }
}
