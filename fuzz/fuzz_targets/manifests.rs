//! Any text as manifests: read, listed, explained and compiled, without a panic and without a
//! disagreement of the evaluator and the compiled filters.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netpol::answer::Answer;
use netpol::compile::{Behaviour, compile};
use netpol::connectivity::connectivity;
use netpol::evaluate::Connection;
use netpol::explain::explain;
use netpol::isolation::End;
use netpol::policy::Direction;
use netpol::port::Protocol;
use netpol::read::{Input, manifests};

/// As many pods as are tried with each other.
const PODS: usize = 4;

fuzz_target!(|data: &[u8]| {
    let Ok(manifests) = manifests(&[Input::new("-")], data) else { return };
    let cluster = &manifests.cluster;
    let _ = connectivity(cluster);
    let filters: Vec<_> = cluster
        .pods()
        .iter()
        .take(PODS)
        .map(|pod| (pod, compile(cluster, pod, &[], Behaviour::default())))
        .collect();
    for (source, out) in &filters {
        for (destination, inwards) in &filters {
            for (protocol, port) in [(Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Sctp, 1)] {
                let connection = Connection {
                    source: End::Pod(source),
                    destination: End::Pod(destination),
                    protocol,
                    port,
                };
                let answer = explain(cluster, &connection).answer;
                // The kernel knows pods by their one address, if nobody else has it.
                let ([from], [to]) = (&source.addresses[..], &destination.addresses[..]) else { continue };
                let alone = |address| {
                    cluster.pods().iter().filter(|pod| pod.addresses.contains(address)).count() == 1
                };
                let host = source.host_network || destination.host_network;
                if from != to && alone(from) && alone(to) && !host {
                    let passes = out.passes(Direction::Egress, *to, protocol, port)
                        && inwards.passes(Direction::Ingress, *from, protocol, port);
                    // Filters deny what is not known.
                    assert_eq!(answer == Answer::Yes, passes, "{connection:?}");
                }
            }
        }
    }
});
