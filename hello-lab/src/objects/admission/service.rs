//! The address of a Service: given when it is created, and kept for as long as it is there
//! (pkg/registry/core/service/storage of k8s.io/kubernetes).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use netpol::field_error::FieldError;
use serde_json::{Value, json};

use super::super::allocation::Held;
use super::super::kind::Kind;
use super::super::names::{
    API_SERVICE, API_SERVICE_ADDRESS, DNS_SERVICE, DNS_SERVICE_ADDRESS, SERVICE_NETWORK,
    SERVICE_PREFIX,
};
use super::super::store::Store;
use super::carry_over;

/// What a Service without an address of its own has for one.
const HEADLESS: &str = "None";

/// Those that are part of the cluster, and whose they are.
const FIXED: [(Ipv4Addr, (&str, &str)); 2] =
    [(API_SERVICE_ADDRESS, API_SERVICE), (DNS_SERVICE_ADDRESS, DNS_SERVICE)];

/// Why a Service gets no address.
pub(super) enum AddressError {
    /// It asks for what it cannot have.
    Invalid(Vec<FieldError>),
    /// Every address is somebody's.
    NoneLeft,
    /// Every port on the node is.
    NoPortLeft,
}

/// Gives a new Service its address: the one that it asks for, or a free one. It is nobody else's while
/// what this returns is kept.
pub(super) fn allocate(
    store: &Store,
    service: &mut Value,
) -> Result<Option<Held<Ipv4Addr>>, AddressError> {
    let wanted = service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    // Left out by clients that know the singular alone (`normalizeClusterIPs`).
    if !wanted.is_empty() && addresses(&service["spec"]).is_empty() {
        service["spec"]["clusterIPs"] = json!([wanted]);
    }
    let errors = check(&service["spec"]);
    if !errors.is_empty() {
        return Err(AddressError::Invalid(errors));
    }
    set_families(&mut service["spec"]);
    if wanted == HEADLESS {
        return Ok(None);
    }
    let key = |object: &Value| {
        let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
        (field("namespace"), field("name"))
    };
    let (namespace, name) = key(service);
    let fixed = FIXED.iter().filter(|(_, owner)| *owner != (&*namespace, &*name));
    let fixed: BTreeSet<_> = fixed.map(|(address, _)| *address).collect();
    // Held first, looked for then: see `Pool`.
    let take = |address: Ipv4Addr| {
        let held = store.addresses.hold(address)?;
        (!fixed.contains(&address) && !is_taken(store, address)).then_some(held)
    };
    if wanted.is_empty() {
        let (address, held) = candidates()
            .find_map(|address| Some((address, take(address)?)))
            .ok_or(AddressError::NoneLeft)?;
        service["spec"]["clusterIPs"] = json!([address]);
        service["spec"]["clusterIP"] = json!(address);
        return Ok(Some(held));
    }
    let refuse = |why: &str| {
        let detail = format!("failed to allocate IP {wanted}: {why}");
        let value = service["spec"]["clusterIPs"].clone();
        AddressError::Invalid(vec![FieldError::invalid("spec.clusterIPs", value, detail)])
    };
    // Checked above.
    let Ok(address) = wanted.parse() else { return Err(refuse("it is no address")) };
    if !is_in_range(address) {
        return Err(refuse(&format!(
            "the provided IP ({wanted}) is not in the valid range. The range of valid IPs is \
             {SERVICE_NETWORK}/{SERVICE_PREFIX}"
        )));
    }
    take(address).map(Some).ok_or_else(|| refuse("provided IP is already allocated"))
}

/// Says of which family it is: the only one that there is (`defaultOnReadIPFamilies` and `initIPFamilyFields`).
fn set_families(spec: &mut Value) {
    for (field, value) in
        [("ipFamilies", json!(["IPv4"])), ("ipFamilyPolicy", json!("SingleStack"))]
    {
        if spec[field].is_null() {
            spec[field] = value;
        }
    }
}

/// Gives a changed Service the address that it has where it names none (`patchAllocatedValues`), and makes
/// its two fields one (`normalizeClusterIPs`). Another address stays, for validation to refuse.
pub(super) fn keep(before: &Value, after: &mut Value) {
    let (old, new) = (&before["spec"], &mut after["spec"]);
    let text = |spec: &Value| spec["clusterIP"].as_str().unwrap_or_default().to_owned();
    if text(new).is_empty() {
        carry_over(old, new, "clusterIP");
    }
    for field in ["ipFamilies", "ipFamilyPolicy"] {
        if new[field].is_null() {
            carry_over(old, new, field);
        }
    }
    if text(new) == text(old) {
        if addresses(new).is_empty() {
            carry_over(old, new, "clusterIPs");
        }
    } else if addresses(new).is_empty() || addresses(new) == addresses(old) {
        new["clusterIPs"] = json!([text(new)]);
    }
}

fn addresses(spec: &Value) -> &[Value] {
    spec["clusterIPs"].as_array().map_or(&[], Vec::as_slice)
}

/// `ValidateServiceClusterIPsRelatedFields` of pkg/apis/core/validation, for a cluster of IPv4 alone.
fn check(spec: &Value) -> Vec<FieldError> {
    const FIELD: &str = "spec.clusterIPs";
    let values = addresses(spec);
    let invalid = |detail: &str| FieldError::invalid(FIELD, values.to_vec(), detail);
    let mut errors = Vec::new();
    match spec["clusterIP"].as_str().unwrap_or_default() {
        "" if !values.is_empty() => {
            errors.push(invalid("must be empty when `clusterIP` is not specified"));
        }
        "" => {}
        first if values.first().is_none_or(|value| value != first) => {
            errors.push(invalid("first value must match `clusterIP`"));
        }
        _ => {}
    }
    for (index, value) in values.iter().enumerate() {
        let text = value.as_str().unwrap_or_default();
        if index == 0 && text == HEADLESS {
            if values.len() > 1 {
                errors.push(invalid("'None' must be the first and only value"));
            }
            continue;
        }
        match text.parse::<IpAddr>() {
            Err(_) => errors.push(FieldError::invalid(
                format!("{FIELD}[{index}]"),
                text,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            )),
            Ok(IpAddr::V6(_)) => errors.push(FieldError::invalid(
                format!("spec.ipFamilies[{index}]"),
                "IPv6",
                "not configured on this cluster",
            )),
            Ok(IpAddr::V4(_)) => {}
        }
    }
    if errors.is_empty() && values.len() > 1 {
        errors.push(invalid("may specify no more than one IP for each IP family"));
    }
    errors
}

fn is_taken(store: &Store, address: Ipv4Addr) -> bool {
    let address = address.to_string();
    let (services, _) = store.list(Kind::Service, None);
    services.iter().any(|service| service.value()["spec"]["clusterIP"] == *address)
}

/// Whether an address is one of the Services' network: neither its first nor its last, as with Kubernetes.
fn is_in_range(address: Ipv4Addr) -> bool {
    let hosts = u32::MAX >> SERVICE_PREFIX;
    let number = u32::from(address);
    number & !hosts == u32::from(SERVICE_NETWORK)
        && !matches!(number & hosts, 0)
        && number & hosts != hosts
}

/// The addresses that are given to who asks for none, in a random order, so that the address of a deleted
/// Service is not at once that of another. The lower ones are left to who asks for them.
fn candidates() -> impl Iterator<Item = Ipv4Addr> {
    const LOWER: u32 = 0x100;
    let first = u32::from(SERVICE_NETWORK) + LOWER;
    let count = (u32::MAX >> SERVICE_PREFIX) - LOWER;
    let random = (0..1000).map(move |_| rand::random_range(0..count));
    random.chain(0..count).map(move |number| (first + number).into())
}

#[cfg(test)]
mod tests {
    use super::super::super::kind::Key;
    use super::*;

    fn service(name: &str, spec: Value) -> Value {
        json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec})
    }

    /// Allocates, and stores the Service; what it is refused for.
    fn create(store: &Store, mut service: Value) -> Result<String, String> {
        match allocate(store, &mut service) {
            Ok(_held) => {
                let stored = store.create(Kind::Service, service).unwrap();
                Ok(stored.value()["spec"]["clusterIP"].as_str().unwrap().to_owned())
            }
            Err(AddressError::Invalid(errors)) => {
                Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            Err(AddressError::NoneLeft | AddressError::NoPortLeft) => Err("none left".to_owned()),
        }
    }

    #[test]
    fn services_that_are_created_at_once_have_addresses_of_their_own() {
        let store = Store::default();
        let wanted = "10.96.7.7";
        let (allocated, got): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let store = store.clone();
                    scope.spawn(move || {
                        let any = (0..50).map(|number| {
                            let name = format!("s{thread}-{number}");
                            create(&store, service(&name, json!({}))).unwrap()
                        });
                        let any: Vec<_> = any.collect();
                        let spec = json!({"clusterIP": wanted});
                        (any, create(&store, service(&format!("w{thread}"), spec)).is_ok())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).unzip()
        });
        assert_eq!(got.into_iter().filter(|got| *got).count(), 1, "one of them has {wanted}");
        let all: BTreeSet<_> = allocated.concat().into_iter().collect();
        assert_eq!(all.len(), 400);
    }

    #[test]
    fn each_has_the_only_family_that_there_is_also_without_an_address() {
        for spec in [json!({}), json!({"clusterIP": "None"}), json!({"ipFamilies": null})] {
            let mut service = service("a", spec);
            assert!(allocate(&Store::default(), &mut service).is_ok());
            assert_eq!(service["spec"]["ipFamilies"], json!(["IPv4"]));
            assert_eq!(service["spec"]["ipFamilyPolicy"], "SingleStack");
            let mut after = json!({"spec": {"ports": []}});
            keep(&service, &mut after);
            assert_eq!(after["spec"]["ipFamilies"], json!(["IPv4"]), "{service}");
        }
    }

    #[test]
    fn an_address_that_is_somebodys_or_none_of_the_network_is_refused() {
        let store = Store::default();
        assert_eq!(
            create(&store, service("a", json!({"clusterIP": "10.96.3.4"}))).unwrap(),
            "10.96.3.4"
        );
        let range = "is not in the valid range. The range of valid IPs is 10.96.0.0/16";
        for (spec, says) in [
            (
                json!({"clusterIP": "10.96.3.4"}),
                "spec.clusterIPs: Invalid value: [\"10.96.3.4\"]: failed to allocate IP 10.96.3.4: provided IP is already allocated",
            ),
            (json!({"clusterIP": "10.96.0.10"}), "provided IP is already allocated"),
            (json!({"clusterIP": "10.96.0.1"}), "provided IP is already allocated"),
            (json!({"clusterIP": "10.97.0.1"}), range),
            (json!({"clusterIP": "10.96.0.0"}), range),
            (json!({"clusterIP": "10.96.255.255"}), range),
            (
                json!({"clusterIP": "here"}),
                "spec.clusterIPs[0]: Invalid value: \"here\": must be a valid IP address",
            ),
            (
                json!({"clusterIP": "fd00::1"}),
                "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured",
            ),
            (
                json!({"clusterIPs": ["10.96.3.5"]}),
                "must be empty when `clusterIP` is not specified",
            ),
            (
                json!({"clusterIP": "10.96.3.5", "clusterIPs": ["10.96.3.6"]}),
                "first value must match",
            ),
            (
                json!({"clusterIP": "None", "clusterIPs": ["None", "10.96.3.6"]}),
                "'None' must be the first and only",
            ),
            (
                json!({"clusterIP": "10.96.3.5", "clusterIPs": ["10.96.3.5", "10.96.3.6"]}),
                "no more than one IP for each",
            ),
        ] {
            let refusal = create(&store, service("b", spec.clone())).unwrap_err();
            assert!(refusal.contains(says), "{spec}: {refusal}");
        }
        assert_eq!(create(&store, service("c", json!({"clusterIP": "None"}))).unwrap(), "None");
        // What is given up can be had again, and the cluster's own by the cluster's own.
        store.remove(&Key::new(Kind::Service, "n", "a")).unwrap();
        create(&store, service("d", json!({"clusterIP": "10.96.3.4"}))).unwrap();
        let (namespace, name) = DNS_SERVICE;
        let dns = json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": DNS_SERVICE_ADDRESS},
        });
        create(&store, dns).unwrap();
    }

    #[test]
    fn a_change_that_names_no_address_keeps_the_one_there_is() {
        let old =
            json!({"spec": {"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"], "ports": []}});
        let headless = json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}});
        for before in [&old, &headless] {
            let spec = &before["spec"];
            for (new, expected) in [
                (json!({}), spec.clone()),
                (json!({"clusterIP": ""}), spec.clone()),
                (json!({"clusterIP": spec["clusterIP"]}), spec.clone()),
                (json!({"clusterIPs": spec["clusterIPs"]}), spec.clone()),
                (json!({"clusterIP": "", "clusterIPs": []}), spec.clone()),
                // Validation refuses these.
                (
                    json!({"clusterIP": "10.96.1.2"}),
                    json!({"clusterIP": "10.96.1.2", "clusterIPs": ["10.96.1.2"]}),
                ),
                (
                    json!({"clusterIP": "10.96.1.2", "clusterIPs": spec["clusterIPs"]}),
                    json!({"clusterIP": "10.96.1.2", "clusterIPs": ["10.96.1.2"]}),
                ),
            ] {
                let mut after = json!({ "spec": new });
                keep(before, &mut after);
                for field in ["clusterIP", "clusterIPs"] {
                    assert_eq!(after["spec"][field], expected[field], "{new}");
                }
            }
        }
    }
}
