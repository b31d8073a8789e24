//! Endpoints of Services that somebody has written down, as EndpointSlices or as Endpoints.
//!
//! A Service without a selector has these alone; one with a selector has its pods, and the slices that
//! others add to the controller's. What counts is what kube-proxy does with them
//! (`pkg/proxy/endpointslicecache.go`): a port is a Service's by its name and protocol, and says itself
//! where it leads; what is not ready, and a slice of names (`FQDN`), is left out.

use std::net::IpAddr;

use k8s_openapi::api::{core, discovery};

use crate::field_error::FieldError;
use crate::names::NamespacedName;
use crate::port::Protocol;
use crate::service::{Service, ServicePort, ServiceType};
use crate::validate::{self, cidr::parse_address};

/// The label that says which Service a slice is of.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The label that says who keeps a slice.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Who keeps the slices of a Service's own pods.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// The label of Endpoints that are not copied into slices.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

/// Endpoints with the same ports: an EndpointSlice, or a subset of Endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointList {
    /// Its namespace.
    pub namespace: String,
    /// The Service there that it is of; none, for a slice that is of none.
    pub service: Option<String>,
    /// What it is.
    pub kind: ListKind,
    /// Its ports.
    pub ports: Vec<EndpointPort>,
    /// Its endpoints, an address each.
    pub endpoints: Vec<Endpoint>,
}

/// What a list of endpoints is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// An EndpointSlice that Kubernetes makes of a Service's selector.
    Controllers,
    /// Any other EndpointSlice.
    Slice,
    /// Endpoints, which count where the Service has no selector: a controller copies these into slices.
    Endpoints,
}

/// A port of endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// Its name, which is that of the Service's port; empty where that has none.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// The pod that it is of, where it is said.
    pub pod: Option<NamespacedName>,
    /// How it is.
    pub readiness: Readiness,
}

/// Whether an endpoint takes connections; the likelier first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It ends and still serves: it does where none of its Service is ready (KEP 1669).
    Terminating,
    /// It does not.
    Unready,
}

impl EndpointList {
    /// Reads an EndpointSlice. What the API server would refuse of that which is read here is an error.
    pub fn from_slice(slice: &discovery::v1::EndpointSlice) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let NamespacedName { namespace, .. } = NamespacedName::of(&slice.metadata);
        let label = |key: &str| slice.metadata.labels.as_ref()?.get(key);
        let is_of_names = match slice.address_type.as_str() {
            "IPv4" | "IPv6" => false,
            "FQDN" => true,
            "" => {
                errors.push(FieldError::required("addressType", ""));
                false
            }
            other => {
                let supported = &["FQDN", "IPv4", "IPv6"];
                errors.push(FieldError::not_supported("addressType", other, supported));
                false
            }
        };
        let mut ports = Vec::new();
        for (index, port) in slice.ports.iter().flatten().enumerate() {
            // "If nil, … it must be interpreted in the context of the specific consumer": kube-proxy takes none.
            let Some(number) = port.port else { continue };
            let path = format!("ports[{index}]");
            ports.extend(endpoint_port(
                &path,
                (port.name.as_ref(), number, port.protocol.as_deref()),
                &mut errors,
            ));
        }
        let mut endpoints = Vec::new();
        let written = if is_of_names { &[][..] } else { &slice.endpoints };
        for (index, endpoint) in written.iter().enumerate() {
            if endpoint.addresses.is_empty() {
                let path = format!("endpoints[{index}].addresses");
                errors.push(FieldError::required(path, "must contain at least 1 address"));
            }
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            // "A nil value should be interpreted as true", of both.
            let is_ready = conditions.ready.unwrap_or(true);
            let serves = conditions.serving.unwrap_or(is_ready);
            let readiness = match (is_ready, serves && conditions.terminating == Some(true)) {
                (true, _) => Readiness::Ready,
                (false, true) => Readiness::Terminating,
                (false, false) => Readiness::Unready,
            };
            // All of them are of one endpoint, and the first is taken.
            for (place, text) in endpoint.addresses.iter().enumerate() {
                let path = format!("endpoints[{index}].addresses[{place}]");
                let address = address(path, text, &slice.address_type, &mut errors);
                if place == 0 {
                    let pod = endpoint.target_ref.as_ref().and_then(|it| pod(it, &namespace));
                    endpoints.extend(address.map(|address| Endpoint { address, pod, readiness }));
                }
            }
        }
        let kind = match label(MANAGED_BY) {
            Some(manager) if manager == CONTROLLER => ListKind::Controllers,
            _ => ListKind::Slice,
        };
        let service = label(SERVICE_NAME).cloned();
        let read = Self { namespace, service, kind, ports, endpoints };
        if errors.is_empty() { Ok(read) } else { Err(errors) }
    }

    /// Reads Endpoints, a list a subset. What the API server would refuse of that which is read here is an
    /// error.
    pub fn from_endpoints(object: &core::v1::Endpoints) -> Result<Vec<Self>, Vec<FieldError>> {
        let NamespacedName { namespace, name } = NamespacedName::of(&object.metadata);
        let labels = object.metadata.labels.as_ref();
        let is_copied =
            labels.and_then(|labels| labels.get(SKIP_MIRROR)).is_none_or(|is| is != "true");
        let service = is_copied.then_some(name);
        let (mut errors, mut lists) = (Vec::new(), Vec::new());
        for (index, subset) in object.subsets.iter().flatten().enumerate() {
            let path = format!("subsets[{index}]");
            let mut ports = Vec::new();
            for (place, port) in subset.ports.iter().flatten().enumerate() {
                ports.extend(endpoint_port(
                    &format!("{path}.ports[{place}]"),
                    (port.name.as_ref(), port.port, port.protocol.as_deref()),
                    &mut errors,
                ));
            }
            let mut endpoints = Vec::new();
            for (field, written, readiness) in [
                ("addresses", &subset.addresses, Readiness::Ready),
                ("notReadyAddresses", &subset.not_ready_addresses, Readiness::Unready),
            ] {
                for (place, one) in written.iter().flatten().enumerate() {
                    let path = format!("{path}.{field}[{place}].ip");
                    let address = address(path, &one.ip, "", &mut errors);
                    let pod = one.target_ref.as_ref().and_then(|it| pod(it, &namespace));
                    endpoints.extend(address.map(|address| Endpoint { address, pod, readiness }));
                }
            }
            let (namespace, service) = (namespace.clone(), service.clone());
            lists.push(Self { namespace, service, kind: ListKind::Endpoints, ports, endpoints });
        }
        // Without a subset it still says that there is nobody.
        if lists.is_empty() {
            let (ports, endpoints) = (Vec::new(), Vec::new());
            lists.push(Self { namespace, service, kind: ListKind::Endpoints, ports, endpoints });
        }
        if errors.is_empty() { Ok(lists) } else { Err(errors) }
    }

    /// Whether connections to `service` go to these endpoints, beside the pods that it selects.
    #[must_use]
    pub fn is_of(&self, service: &Service) -> bool {
        let counts = match self.kind {
            ListKind::Slice => service.kind != ServiceType::ExternalName,
            ListKind::Controllers | ListKind::Endpoints => {
                service.selector.is_none() && service.kind != ServiceType::ExternalName
            }
        };
        counts
            && self.namespace == service.namespace
            && self.service.as_ref() == Some(&service.name)
    }

    /// The port that one of the Service's leads to here.
    #[must_use]
    pub fn target_of(&self, port: &ServicePort) -> Option<u16> {
        let name = port.name.as_deref().unwrap_or_default();
        let mut ports = self.ports.iter();
        let found = ports.find(|own| own.name == name && own.protocol == port.protocol);
        found.map(|own| own.port)
    }
}

fn endpoint_port(
    path: &str,
    (name, number, protocol): (Option<&String>, i32, Option<&str>),
    errors: &mut Vec<FieldError>,
) -> Option<EndpointPort> {
    let protocol = validate::protocol(path, protocol, errors);
    let port = validate::port_number(format!("{path}.port"), number, errors);
    let name = name.cloned().unwrap_or_default();
    Some(EndpointPort { name, protocol: protocol?, port: port? })
}

/// An address, of the family that is named if one is.
fn address(path: String, text: &str, family: &str, errors: &mut Vec<FieldError>) -> Option<IpAddr> {
    if family == "FQDN" {
        return None;
    }
    let address = parse_address(text);
    let is_right = address.is_some_and(|address| match family {
        "IPv4" => address.is_ipv4(),
        "IPv6" => address.is_ipv6(),
        _ => true,
    });
    if !is_right {
        let detail = match family {
            "IPv4" => "must be a valid IPv4 address",
            "IPv6" => "must be a valid IPv6 address",
            _ => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        };
        errors.push(FieldError::invalid(path, text, detail));
    }
    address.filter(|_| is_right)
}

/// The pod that a reference is to, which a list in the namespace `of_list` has.
fn pod(reference: &core::v1::ObjectReference, of_list: &str) -> Option<NamespacedName> {
    let name = reference.name.clone().filter(|_| reference.kind.as_deref() == Some("Pod"))?;
    let namespace = reference.namespace.clone().filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or_else(|| of_list.to_owned());
    Some(NamespacedName { namespace, name })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn slice(rest: Value) -> Result<EndpointList, Vec<String>> {
        let mut object =
            json!({"metadata": {"name": "s", "labels": {SERVICE_NAME: "db"}}, "endpoints": []});
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        EndpointList::from_slice(&serde_json::from_value(object).unwrap())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_endpoint_is_ready_unless_it_is_said_not_to_be() {
        let of = |conditions: Value| {
            let endpoints = json!([{"addresses": ["10.0.0.1"], "conditions": conditions}]);
            slice(json!({"addressType": "IPv4", "endpoints": endpoints})).unwrap().endpoints[0]
                .readiness
        };
        assert_eq!(of(json!({})), Readiness::Ready);
        assert_eq!(of(Value::Null), Readiness::Ready);
        assert_eq!(of(json!({"ready": true, "terminating": true})), Readiness::Ready);
        assert_eq!(of(json!({"ready": false})), Readiness::Unready);
        assert_eq!(of(json!({"ready": false, "terminating": true})), Readiness::Unready);
        let ends = json!({"ready": false, "serving": true, "terminating": true});
        assert_eq!(of(ends), Readiness::Terminating);
    }

    #[test]
    fn a_slice_of_names_has_no_endpoint_and_one_without_a_label_no_service() {
        let names =
            slice(json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.example"]}]}));
        assert_eq!(names.unwrap().endpoints, []);
        let nobodys = slice(json!({"addressType": "IPv4", "metadata": {"name": "s"}})).unwrap();
        assert_eq!(nobodys.service, None);
    }

    #[test]
    fn a_list_is_a_services_by_its_label_and_beside_a_selector_only_if_somebody_else_wrote_it() {
        let plain =
            Service { namespace: "default".into(), name: "db".into(), ..Service::default() };
        let selecting =
            Service { selector: Some([("a".into(), "b".into())].into()), ..plain.clone() };
        let other = Service { name: "other".into(), ..plain.clone() };
        let of = |list: &EndpointList| [&plain, &selecting, &other].map(|one| list.is_of(one));
        let mine = slice(json!({"addressType": "IPv4"})).unwrap();
        assert_eq!(of(&mine), [true, true, false]);
        assert_eq!(
            of(&EndpointList { kind: ListKind::Controllers, ..mine.clone() }),
            [true, false, false]
        );
        assert_eq!(of(&EndpointList { kind: ListKind::Endpoints, ..mine }), [true, false, false]);
    }

    #[test]
    fn a_port_is_found_by_name_and_protocol_and_says_itself_where_it_leads() {
        let ports = json!([
            {"name": "sql", "port": 5432}, {"port": 8080, "protocol": "TCP"}, {"name": "open"},
            {"name": "dns", "port": 1053, "protocol": "UDP"},
        ]);
        let list = slice(json!({"addressType": "IPv4", "ports": ports})).unwrap();
        let target = |name: Option<&str>, protocol| {
            let target = crate::service::TargetPort::Number(1);
            list.target_of(&ServicePort { name: name.map(Into::into), protocol, port: 80, target })
        };
        assert_eq!(target(Some("sql"), Protocol::Tcp), Some(5432));
        assert_eq!(target(None, Protocol::Tcp), Some(8080));
        assert_eq!(target(Some("dns"), Protocol::Udp), Some(1053));
        for (name, protocol) in
            [("dns", Protocol::Tcp), ("open", Protocol::Tcp), ("no", Protocol::Tcp)]
        {
            assert_eq!(target(Some(name), protocol), None, "{name}");
        }
    }

    #[test]
    fn endpoints_are_lists_one_a_subset_and_without_any_they_name_nobody() {
        let read =
            |object: Value| EndpointList::from_endpoints(&serde_json::from_value(object).unwrap());
        let subsets = json!([
            {"addresses": [{"ip": "10.0.0.1", "targetRef": {"kind": "Pod", "name": "db-0"}}],
             "notReadyAddresses": [{"ip": "fd00::2"}], "ports": [{"port": 1}]},
            {"addresses": [{"ip": "10.0.0.3"}], "ports": [{"port": 2}]},
        ]);
        let lists = read(json!({"metadata": {"name": "db"}, "subsets": subsets})).unwrap();
        let said: Vec<_> =
            lists.iter().map(|list| (list.endpoints.len(), list.ports[0].port)).collect();
        assert_eq!(said, [(2, 1), (1, 2)]);
        let pod = lists[0].endpoints[0].pod.as_ref().map(ToString::to_string);
        assert_eq!(pod.as_deref(), Some("default/db-0"));
        assert_eq!(lists[0].endpoints[1].readiness, Readiness::Unready);
        for nobody in [json!({}), json!({"subsets": []}), json!({"subsets": null})] {
            let mut object = json!({"metadata": {"name": "db"}});
            object.as_object_mut().unwrap().extend(nobody.as_object().unwrap().clone());
            let lists = read(object).unwrap();
            assert!(lists.len() == 1 && lists[0].endpoints.is_empty(), "{nobody}");
        }
        let labels = json!({SKIP_MIRROR: "true"});
        let skipped = read(json!({"metadata": {"name": "db", "labels": labels}})).unwrap();
        assert_eq!(skipped[0].service, None);
    }

    #[test]
    fn what_the_api_server_refuses_of_endpoints_is_an_error() {
        let endpoints =
            json!([{"addresses": ["10.0.0"]}, {"addresses": []}, {"addresses": ["fd00::1"]}]);
        let ports = json!([{"port": 0}, {"port": 1, "protocol": "tcp"}]);
        let said = slice(json!({"addressType": "IPv4", "endpoints": endpoints, "ports": ports}));
        let said = said.unwrap_err();
        let paths: Vec<_> = said.iter().map(|error| error.split(": ").next().unwrap()).collect();
        assert_eq!(
            paths,
            [
                "ports[0].port",
                "ports[1].protocol",
                "endpoints[0].addresses[0]",
                "endpoints[1].addresses",
                "endpoints[2].addresses[0]",
            ]
        );
        assert!(
            slice(json!({"addressType": ""})).unwrap_err()[0].starts_with("addressType: Required")
        );
        assert!(slice(json!({"addressType": "ipv4"})).is_err());
    }
}
