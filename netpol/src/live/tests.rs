use std::sync::Condvar;
use std::time::Duration;

use super::*;

/// A kubectl that may list the resources of these namespaces: `RESOURCE`, or `RESOURCE@NAMESPACE`.
struct Fake<'f> {
    api_resources: &'f str,
    may: &'f [&'f str],
    asked: Mutex<Vec<String>>,
}

impl<'f> Fake<'f> {
    fn new(api_resources: &'f str, may: &'f [&'f str]) -> Self {
        Self { api_resources, may, asked: Mutex::default() }
    }

    fn run(&self, arguments: &[&str]) -> Printed {
        self.asked.lock().unwrap().push(arguments.join(" "));
        let success = |output: &str| Printed {
            is_success: true,
            output: output.to_owned(),
            errors: String::new(),
        };
        let [verb, resources, place, ..] = arguments else { return success("") };
        if *verb != "get" {
            return success(&format!("{OWN}{}", self.api_resources));
        }
        let allowed = |resource: &str| {
            let wanted = match place.strip_prefix("--namespace=") {
                Some(namespace) => format!("{resource}@{namespace}"),
                None => resource.to_owned(),
            };
            self.may.contains(&wanted.as_str()) || self.may.contains(&"*")
        };
        if resources.split(',').all(allowed) {
            let items = if *resources == NAMESPACES {
                r#"{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}"#
            } else {
                ""
            };
            let list =
                format!(r#"{{"kind": "List", "of": "{resources}{place}", "items": [{items}]}}"#);
            return success(&list);
        }
        let errors = "Error from server (Forbidden): pods is forbidden: User \"u\" cannot list\n";
        Printed { errors: errors.to_owned(), ..Printed::default() }
    }

    fn ask(&self) -> Result<Live, LiveError> {
        ask(&|arguments| Ok(self.run(arguments)), "mine")
    }
}

/// What every cluster has.
const OWN: &str = "namespaces ns v1 false Namespace\npods po v1 true Pod\nservices svc v1 true Service\n\
    networkpolicies netpol networking.k8s.io/v1 true NetworkPolicy\n\
    deployments deploy apps/v1 true Deployment\n";

const CILIUM: &str = "ciliumnetworkpolicies  cnp,ciliumnp  cilium.io/v2  true  CiliumNetworkPolicy\n\
    adminnetworkpolicies  anp  policy.networking.k8s.io/v1alpha1  false  AdminNetworkPolicy\n";

#[test]
fn who_may_see_everything_asks_once_and_for_the_policies_of_others_too() {
    let fake = Fake::new(CILIUM, &["*"]);
    let live = fake.ask().unwrap();
    assert!(live.hidden.is_empty() && live.unseen.is_empty() && live.has_all_namespaces);
    assert_eq!(live.objects.len(), 1);
    let asked = fake.asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    assert!(
        asked[1].contains(",ciliumnetworkpolicies.cilium.io,")
            && asked[1].contains("adminnetworkpolicies.policy.networking.k8s.io"),
        "{}",
        asked[1]
    );
}

#[test]
fn policies_that_may_not_be_listed_are_hidden_where_they_may_be() {
    let may = [
        "namespaces",
        "pods",
        "services",
        "deployments.apps",
        "networkpolicies.networking.k8s.io@a",
        "ciliumnetworkpolicies.cilium.io@a",
        "ciliumnetworkpolicies.cilium.io@b",
    ];
    let live = Fake::new(CILIUM, &may).ask().unwrap();
    let hidden: Vec<String> = live.hidden.iter().map(ToString::to_string).collect();
    assert_eq!(
        hidden,
        [
            "every NetworkPolicy of namespace b: kubectl may not list them",
            "every AdminNetworkPolicy: kubectl may not list them",
        ]
    );
    assert!(live.unseen.is_empty(), "{:?}", live.unseen);
}

#[test]
fn without_the_list_of_namespaces_that_of_the_context_is_looked_at() {
    let live =
        Fake::new("", &["pods@mine", "networkpolicies.networking.k8s.io@mine"]).ask().unwrap();
    assert!(!live.has_all_namespaces && live.hidden.is_empty());
    assert_eq!(live.objects.len(), 2);
    assert!(live.unseen[0].contains("only mine"), "{:?}", live.unseen);
    assert!(
        live.unseen.iter().any(|line| line == "kubectl may not list services of namespace mine")
    );
}

#[test]
fn a_cluster_that_does_not_answer_is_an_error_in_kubectls_words() {
    let down = |_: &[&str]| {
        let errors =
            "E1125 memcache.go:265\nThe connection to the server localhost:8080 was refused\n";
        Ok(Printed { errors: errors.to_owned(), ..Printed::default() })
    };
    assert_eq!(
        ask(&down, "default").unwrap_err().to_string(),
        "kubectl api-resources --verbs=list --no-headers: The connection to the server localhost:8080 was refused"
    );
    let missing = |_: &[&str]| Err(io::ErrorKind::NotFound.into());
    assert!(matches!(ask(&missing, "default"), Err(LiveError::Run(_))));
}

#[test]
fn lists_are_asked_for_side_by_side_and_no_more_than_eight() {
    let (running, changed) = (Mutex::new((0, 0)), Condvar::new());
    let fake = Fake::new(CILIUM, &["namespaces"]);
    let kubectl = |arguments: &[&str]| {
        let mut counts = running.lock().unwrap();
        counts.0 += 1;
        counts.1 = counts.1.max(counts.0);
        changed.notify_all();
        // One that is alone waits for company: what is asked for one after the other never has any.
        if arguments[0] == "get" && !arguments[1].contains(',') {
            let long = Duration::from_millis(300);
            counts = changed.wait_timeout_while(counts, long, |(_, most)| *most < 2).unwrap().0;
        }
        counts.0 -= 1;
        drop(counts);
        Ok(fake.run(arguments))
    };
    let live = ask(&kubectl, "mine").unwrap();
    let (_, most) = *running.lock().unwrap();
    assert!((2..=AT_ONCE).contains(&most), "{most}");
    assert_eq!(live.objects.len(), 1);
    assert_eq!(live.unseen.len(), 3 * 2, "{:?}", live.unseen);
}

#[test]
fn endpoints_are_asked_for_only_where_a_cluster_has_no_slices() {
    const ENDPOINTS_LINE: &str = "endpoints ep v1 true Endpoints\n";
    let asked = |more: &str| {
        let resources = format!("{ENDPOINTS_LINE}{more}");
        let fake = Fake::new(&resources, &["*"]);
        assert!(fake.ask().unwrap().has_all_endpoints);
        let asked = fake.asked.lock().unwrap();
        let get = asked.iter().find(|line| line.starts_with("get ")).unwrap();
        get.split([' ', ','])
            .filter(|name| name.starts_with("endpoint"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(asked(""), "endpoints");
    assert_eq!(
        asked("endpointslices discovery.k8s.io/v1 true EndpointSlice\n"),
        "endpointslices.discovery.k8s.io"
    );
    let unseen = Fake::new(ENDPOINTS_LINE, &["namespaces", "pods", "services"]).ask().unwrap();
    assert!(!unseen.has_all_endpoints);
}
