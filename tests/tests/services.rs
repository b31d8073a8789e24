//! `netpol why SRC svc/NAME:PORT` on what `kubectl get … -o yaml` says of a lab, against what its kernel does
//! with connections to the Service's address: which pods are reached, at which of their ports.
//!
//! Random Services and policies come from seeds. `HELLO_SERVICES_SEED` is the first, 1 unless it says something
//! else, and `HELLO_SERVICES_ROUNDS` says how many: 6, or a hundred in earnest. A difference is told with its seed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use end_to_end::services::answers::{Endpoint, Said, Seen, Way};
use end_to_end::services::{NAMESPACES, PORTS, World, by_hand, list, pod_with};
use end_to_end::{As, Lab, command_as, program, run, skip};
use nix::sched::{CloneFlags, setns};
use nix::unistd::geteuid;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Long enough for an answer within one machine. The labs here refuse what is denied, so few wait for it.
const MOMENT: Duration = Duration::from_millis(500);

/// How long the kernel may take to do as the objects say.
const SETTLING: Duration = Duration::from_secs(10);

/// How often a connection is tried at least for each endpoint that there is said to be: of four that answer,
/// each is met but for three times in a thousand.
const TRIES: usize = 5;

/// How often at most, where one that should be met was not yet.
const MOST_TRIES: usize = 100;

/// A pod, and servers on each of its ports that tell whose they are.
struct Place {
    namespace: String,
    name: String,
    network: File,
    /// End with it.
    _servers: JoinSet<()>,
}

/// Runs `f` on a thread in a network namespace.
fn inside<T: Send>(network: &File, f: impl FnOnce() -> T + Send) -> T {
    let run = || {
        setns(network, CloneFlags::CLONE_NEWNET).unwrap();
        f()
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap()
}

/// Has the kernel answer every connection that it refuses in this network; as it is, it answers so many a
/// second, and for the others a test has to wait. (An older kernel bounds them for the whole machine.)
fn answer_at_once() {
    for (setting, value) in
        [("ratelimit", "0"), ("msgs_per_sec", "1000000"), ("msgs_burst", "100000")]
    {
        let _ = std::fs::write(format!("/proc/sys/net/ipv4/icmp_{setting}"), value);
    }
}

/// Takes the pods' places and serves there.
fn places(lab: &Lab, runtime: &Runtime, pods: &[Value]) -> Vec<Place> {
    let _entered = runtime.enter();
    let place = |pod: &Value| {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        let network = File::open(format!("/proc/{}/ns/net", lab.process_of(&name))).unwrap();
        inside(&network, answer_at_once);
        let mut servers = JoinSet::new();
        for port in PORTS {
            let any = (Ipv4Addr::UNSPECIFIED, port);
            let (tcp, udp) = inside(&network, || {
                (std::net::TcpListener::bind(any).unwrap(), UdpSocket::bind(any).unwrap())
            });
            tcp.set_nonblocking(true).unwrap();
            udp.set_nonblocking(true).unwrap();
            let (tcp, udp) = (
                tokio::net::TcpListener::from_std(tcp).unwrap(),
                tokio::net::UdpSocket::from_std(udp).unwrap(),
            );
            let own = format!("{namespace}/{name}");
            let answer = own.clone();
            servers.spawn(async move {
                loop {
                    if let Ok((mut stream, _)) = tcp.accept().await {
                        let _ = stream.write_all(format!("{answer}:{port}").as_bytes()).await;
                    }
                }
            });
            servers.spawn(async move {
                let mut buffer = [0; 8];
                loop {
                    if let Ok((_, from)) = udp.recv_from(&mut buffer).await {
                        let _ = udp.send_to(format!("{own}:{port}").as_bytes(), from).await;
                    }
                }
            });
        }
        Place { namespace, name, network, _servers: servers }
    };
    pods.iter().map(place).collect()
}

/// One connection: who answers.
fn attempt(to: SocketAddr, protocol: &str) -> std::io::Result<Endpoint> {
    let mut answer = String::new();
    if protocol == "TCP" {
        let mut stream = TcpStream::connect_timeout(&to, MOMENT)?;
        stream.set_read_timeout(Some(MOMENT))?;
        stream.read_to_string(&mut answer)?;
    } else {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(MOMENT))?;
        socket.connect(to)?;
        socket.send(b"?")?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer)?;
        answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
    }
    let (pod, port) = answer.rsplit_once(':').ok_or(ErrorKind::UnexpectedEof)?;
    Ok((pod.to_owned(), port.parse().unwrap()))
}

/// Connects so often that each endpoint is met that `said` knows; called in the source's namespace.
fn observe(way: &Way, said: &Said) -> Seen {
    let mut seen = Seen::default();
    let endpoints = said.allowed.len() + said.denied.len();
    if said.is_unknown {
        return seen;
    }
    if way.to.is_empty() {
        seen.failed.insert("the name has no address".to_owned());
    }
    for tries in 1..=MOST_TRIES * endpoints.max(1) {
        for to in &way.to {
            match attempt(*to, &way.protocol) {
                Ok(endpoint) => seen.reached.insert(endpoint),
                Err(error) => seen.failed.insert(error.kind().to_string()),
            };
        }
        let is_met = said.allowed.is_subset(&seen.reached)
            && (said.denied.is_empty() || !seen.failed.is_empty());
        if is_met && tries >= TRIES * endpoints.max(1) {
            break;
        }
    }
    seen
}

/// Every port of the Services in the namespaces of the tests.
fn ways(lab: &Lab) -> Vec<Way> {
    let slices = lab.json("endpointslices -A");
    let behind = |service: &Value| {
        let mut addresses = BTreeSet::new();
        for slice in slices["items"].as_array().unwrap() {
            let of = &slice["metadata"];
            if of["namespace"] == service["namespace"]
                && of["labels"]["kubernetes.io/service-name"] == service["name"]
            {
                // Of what is not ready a name says nothing.
                let endpoints = slice["endpoints"].as_array().into_iter().flatten();
                let endpoints = endpoints.filter(|one| one["conditions"]["ready"] != false);
                addresses
                    .extend(endpoints.map(|one| one["addresses"][0].as_str().unwrap().to_owned()));
            }
        }
        addresses
    };
    let mut ways = Vec::new();
    for service in lab.json("services -A")["items"].as_array().unwrap() {
        let (of, spec) = (&service["metadata"], &service["spec"]);
        let namespace = of["namespace"].as_str().unwrap();
        if !NAMESPACES.contains(&namespace) {
            continue;
        }
        let addresses = match spec["clusterIP"].as_str().unwrap() {
            "None" => behind(of),
            address => BTreeSet::from([address.to_owned()]),
        };
        for port in spec["ports"].as_array().unwrap() {
            let number = u16::try_from(port["port"].as_u64().unwrap()).unwrap();
            let to = |address: &String| SocketAddrV4::new(address.parse().unwrap(), number).into();
            ways.push(Way {
                name: format!("{namespace}/svc/{}:{number}", of["name"].as_str().unwrap()),
                to: addresses.iter().map(to).collect(),
                protocol: port["protocol"].as_str().unwrap().to_owned(),
            });
        }
    }
    ways
}

/// A lab with the namespaces of the tests.
fn lab() -> Lab {
    let lab = Lab::start_with(As::Myself, &["--denied", "reject"]);
    let namespaces = NAMESPACES.map(|name| {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": name}}})
    });
    let _ = lab.kubectl_with("create -f -", &list(&namespaces));
    lab
}

fn dump(lab: &Lab) -> String {
    lab.kubectl("get namespaces,pods,services,endpointslices,endpoints,networkpolicies -A -o yaml")
}

/// Creates all of a world: policies last, so that nothing is denied before all is there.
fn create(lab: &Lab, runtime: &Runtime, world: &World) -> Vec<Place> {
    let _ = lab.kubectl_with("create -f -", &list(&[&*world.pods, &*world.services].concat()));
    let _ = lab.kubectl("wait -A --for=condition=Ready pod --all --timeout=30s");
    let places = places(lab, runtime, &world.pods);
    if !world.by_hand.is_empty() {
        let address = |pod: &Value| {
            let text = |place: &str| pod.pointer(place).and_then(Value::as_str);
            let (namespace, name) = (text("/metadata/namespace")?, text("/metadata/name")?);
            Some((format!("{namespace}/{name}"), text("/status/podIP")?.to_owned()))
        };
        let pods = lab.json("pods -A");
        let addresses = pods["items"].as_array().unwrap().iter().filter_map(address).collect();
        let written = by_hand::with_addresses(&world.by_hand, &addresses);
        let _ = lab.kubectl_with("create -f -", &list(&written));
    }
    if !world.policies.is_empty() {
        let _ = lab.kubectl_with("create -f -", &list(&world.policies));
    }
    places
}

fn remove(lab: &Lab, world: &World) {
    let all = [&*world.pods, &*world.by_hand, &*world.services, &*world.policies].concat();
    let _ = lab.kubectl_with("delete --grace-period=1 -f -", &list(&all));
}

/// Compares each pod with each Service: what differs still when the kernel has had its time. All that is
/// tried once it has settled must agree at once.
fn differences(lab: &Lab, places: &[Place], tally: &mut Tally) -> Option<String> {
    let (dump, ways) = (dump(lab), ways(lab));
    let ask = |place: &Place| -> Vec<Said> {
        let source = format!("{}/pod/{}", place.namespace, place.name);
        ways.iter().map(|way| Said::of(lab, &source, way, &dump)).collect()
    };
    let asked: Vec<(&Place, Vec<Said>)> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            places.iter().map(|place| (place, scope.spawn(|| ask(place)))).collect();
        threads.into_iter().map(|(place, thread)| (place, thread.join().unwrap())).collect()
    });
    let compare = || {
        let from = |(place, said): &(&Place, Vec<Said>)| {
            let mut told = String::new();
            for (way, said) in ways.iter().zip(said) {
                let seen = observe(way, said);
                if !said.agrees(&seen) {
                    let Place { namespace, name, .. } = place;
                    let _ =
                        writeln!(told, "{namespace}/{name}, {way:?}\n{said:#?}\nkernel: {seen:?}");
                }
            }
            told
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = asked
                .iter()
                .map(|one| scope.spawn(move || inside(&one.0.network, || from(one))))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<String>()
        })
    };
    let start = Instant::now();
    let told = loop {
        let told = compare();
        if told.is_empty() || start.elapsed() > SETTLING {
            break if told.is_empty() { compare() } else { told };
        }
    };
    asked.iter().flat_map(|(_, said)| said).for_each(|said| tally.add(said));
    (!told.is_empty()).then(|| format!("{told}{dump}"))
}

/// How often there was which answer: a test whose every connection is allowed shows little.
#[derive(Debug, Default)]
struct Tally {
    allowed: usize,
    denied: usize,
    differ: usize,
    no_endpoint: usize,
    unknown: usize,
}

impl Tally {
    fn add(&mut self, said: &Said) {
        let count = match (said.allowed.is_empty(), said.denied.is_empty()) {
            _ if said.is_unknown => &mut self.unknown,
            (true, true) => &mut self.no_endpoint,
            (false, true) => &mut self.allowed,
            (true, false) => &mut self.denied,
            (false, false) => &mut self.differ,
        };
        *count += 1;
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// `why` says what the kernel does, for each of a world's pods and Services; and it says `answers`: of a source
/// and a destination, each endpoint and its verdict.
fn holds(name: &str, world: &World, answers: &[(&str, &str, &str)]) {
    if !geteuid().is_root() {
        return skip(name, "entering a pod's network namespace from outside takes root");
    }
    let (lab, runtime) = (lab(), Runtime::new().unwrap());
    let places = create(&lab, &runtime, world);
    if let Some(told) = differences(&lab, &places, &mut Tally::default()) {
        panic!("{told}");
    }
    let dump = dump(&lab);
    for (source, destination, verdict) in answers {
        let mut command = lab.command(program("netpol"));
        let said = run(command.args(["why", source, destination, "-"]), &dump).ok();
        let lines = said.lines().filter_map(|line| line.split_once(" => ")?.1.split_once(" is "));
        let lines: BTreeSet<_> = lines.map(|(to, is)| format!("{to} {is}")).collect();
        let lines: Vec<_> = lines.into_iter().collect();
        assert_eq!(lines.join(", "), *verdict, "{source} {destination}: {said}");
    }
}

fn labelled_service(name: &str, app: &str, ports: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "x", "name": name},
        "spec": {"selector": {"app": app}, "ports": ports},
    })
}

fn labelled_policy(spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "x", "name": "p"}, "spec": spec,
    })
}

/// ../shared/cases/suites/service-named-target-ports.yaml, with ports that are served here.
#[test]
fn each_port_of_a_service_leads_to_the_pods_that_have_its_name_at_their_own_number() {
    let app = json!({"app": "multi"});
    let named = |name: &str, port: u16| json!([{"name": name, "containerPort": port}]);
    let pods = vec![
        pod_with("x", "pod1", &app, &[named("svc1", 8080)]),
        pod_with("x", "pod2", &app, &[named("svc2", 8081)]),
        pod_with("x", "pod3", &app, &[named("svc1", 81)]),
        pod_with("y", "asker", &json!({}), &[json!([])]),
    ];
    let ports = json!([
        {"name": "p1", "port": 80, "targetPort": "svc1"},
        {"name": "p2", "port": 81, "targetPort": "svc2"},
        {"name": "p3", "port": 82, "targetPort": "svc3"},
    ]);
    let services = vec![labelled_service("multi", "multi", &ports)];
    let world = World { pods, services, ..World::default() };
    let one = "x/pod1[Pod]:8080/TCP allowed, x/pod3[Pod]:81/TCP allowed";
    holds(
        "each_port_of_a_service_leads_to_the_pods_that_have_its_name",
        &world,
        &[
            ("y/pod/asker", "x/svc/multi:80", one),
            ("y/pod/asker", "x/svc/multi:p2", "x/pod2[Pod]:8081/TCP allowed"),
            ("y/pod/asker", "x/svc/multi:82", ""),
        ],
    );
}

/// ../shared/cases/17-hairpin-through-its-own-service
#[test]
fn a_pod_reaches_itself_through_its_own_service_and_no_other_pod_that_denies_it() {
    let app = json!({"app": "web"});
    let pods =
        vec![pod_with("x", "one", &app, &[json!([])]), pod_with("x", "two", &app, &[json!([])])];
    let services = vec![labelled_service("web", "web", &json!([{"port": 80, "targetPort": 8080}]))];
    for types in [json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])] {
        let policies = vec![labelled_policy(&json!({"podSelector": {}, "policyTypes": types}))];
        let world =
            World { pods: pods.clone(), services: services.clone(), policies, ..World::default() };
        let verdict = "x/one[Pod]:8080/TCP allowed, x/two[Pod]:8080/TCP denied";
        let name = "a_pod_reaches_itself_through_its_own_service_and_no_other_pod";
        holds(name, &world, &[("x/pod/one", "x/svc/web:80", verdict)]);
    }
}

#[test]
fn a_policy_that_names_the_services_port_allows_nothing_and_one_that_names_the_pods_does() {
    let pods = vec![
        pod_with("x", "db", &json!({"app": "db"}), &[json!([])]),
        pod_with("x", "backend", &json!({"app": "backend"}), &[json!([])]),
    ];
    let services = vec![labelled_service("db", "db", &json!([{"port": 80, "targetPort": 8080}]))];
    for (section, peers, direction) in [("ingress", "from", "Ingress"), ("egress", "to", "Egress")]
    {
        for (port, verdict) in [(80, "denied"), (8080, "allowed")] {
            let rule = json!({peers: [{"podSelector": {}}], "ports": [{"port": port}]});
            let spec = json!({"podSelector": {}, "policyTypes": [direction], section: [rule]});
            let world = World {
                pods: pods.clone(),
                services: services.clone(),
                policies: vec![labelled_policy(&spec)],
                ..World::default()
            };
            let verdict = format!("x/db[Pod]:8080/TCP {verdict}");
            let name = "a_policy_that_names_the_services_port_allows_nothing";
            holds(name, &world, &[("x/pod/backend", "db.x.svc:80", &verdict)]);
        }
    }
}

#[test]
fn of_pods_with_two_families_a_service_of_ipv4_has_the_answer_of_that_alone() {
    let pod = |name: &str, number: u8| {
        let mut pod = pod_with("x", name, &json!({"app": name}), &[json!([])]);
        let ips = [format!("10.244.0.{number}"), format!("fd00::{number}")];
        pod["status"] = json!({"podIPs": ips.map(|ip| json!({"ip": ip}))});
        pod
    };
    let mut service = labelled_service("web", "web", &json!([{"port": 80}]));
    service["spec"]["clusterIP"] = "10.96.0.7".into();
    let from = json!([{"ipBlock": {"cidr": "0.0.0.0/0"}}]);
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": from}]});
    let (mut netpol, _home) = command_as(As::Myself, program("netpol"));
    let objects = [pod("web", 1), pod("client", 2), service, labelled_policy(&spec)];
    let arguments = ["why", "x/client", "x/svc/web:80", "-", "--expect", "allowed"];
    let said = run(netpol.args(arguments), &list(&objects)).ok();
    assert!(said.contains(":80/TCP is allowed\n") && !said.contains("IPv6"), "{said}");
    // To the pod itself the ways are two.
    let (mut netpol, _home) = command_as(As::Myself, program("netpol"));
    let said = run(netpol.args(["why", "x/client", "x/pod/web:80", "-"]), &list(&objects)).ok();
    assert!(said.contains("is denied over IPv6"), "{said}");
}

#[test]
fn for_random_services_and_policies_why_says_what_the_kernel_does() {
    const NAME: &str = "for_random_services_and_policies_why_says_what_the_kernel_does";
    if !geteuid().is_root() {
        return skip(NAME, "entering a pod's network namespace from outside takes root");
    }
    let first = number("HELLO_SERVICES_SEED").unwrap_or(1);
    let rounds = number("HELLO_SERVICES_ROUNDS").unwrap_or(6);
    let (lab, runtime) = (lab(), Runtime::new().unwrap());
    let mut tally = Tally::default();
    for seed in first..first + rounds {
        let world = World::random(seed, &seed.to_string());
        let places = create(&lab, &runtime, &world);
        if let Some(told) = differences(&lab, &places, &mut tally) {
            panic!("{told}the same again: HELLO_SERVICES_SEED={seed} HELLO_SERVICES_ROUNDS=1");
        }
        drop(places);
        remove(&lab, &world);
    }
    println!("{tally:?}");
    let Tally { allowed, denied, differ, no_endpoint, unknown } = tally;
    if rounds >= 6 {
        assert!([allowed, denied, differ, no_endpoint, unknown].iter().all(|count| *count > 0));
    }
}
