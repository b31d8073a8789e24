//! Services that lead nowhere, and their addresses in policies.

use std::net::IpAddr;

use super::{Context, Level, Lint, Remark};
use crate::isolation::End;
use crate::pod::Pod;
use crate::policy::Peer;
use crate::read::WrittenPolicy;
use crate::selector::{Operator, Requirement, Selector};
use crate::service::{Endpoints, Service, TargetPort};

impl Lint<'_> {
    /// A block that holds the address of a Service, which no policy sees: a connection to it has become
    /// one to a pod.
    pub(super) fn cluster_ip(&mut self, path: &str, peer: &Peer) {
        let Peer::Block { cidr, .. } = peer else { return };
        // Everything is not meant for one Service.
        if cidr.prefix_len() == 0 {
            return;
        }
        let cluster = self.context.cluster;
        let own = &self.policy.namespace;
        let holds = |address: IpAddr| peer.matches(cluster, own, End::Address(address));
        let found = cluster.services().iter().find_map(|service| {
            let address = service.cluster_ips.iter().find(|address| holds(**address))?;
            // A block that holds the pods too does what is meant.
            let pods = match service.endpoints(cluster.pods()) {
                Endpoints::Pods(pods) => pods,
                Endpoints::Unknown | Endpoints::External(_) => Vec::new(),
            };
            let held = |pod: &&Pod| pod.addresses.iter().any(|address| holds(*address));
            let all = !pods.is_empty() && pods.iter().all(held);
            (!all).then_some((service, *address))
        });
        let Some((service, address)) = found else { return };
        let meant = match &service.selector {
            Some(labels) => {
                let pods = selector(labels);
                let elsewhere = *own != service.namespace;
                let place = if elsewhere {
                    format!(" in namespace {}", service.namespace)
                } else {
                    String::new()
                };
                format!(": name the pods, which have {pods}{place}")
            }
            None => String::new(),
        };
        let message = format!(
            "{cidr} holds {address}, the ClusterIP of Service {service}; policies see the pods' \
             addresses, not the ClusterIP{meant}"
        );
        self.warn(&format!("{path}.ipBlock"), message);
    }
}

impl Context<'_> {
    /// Remarks about each Service; `written` has their places.
    pub(super) fn services(&self, written: &[WrittenPolicy], remarks: &mut Vec<Remark>) {
        for (service, written) in self.cluster.services().iter().zip(written) {
            let Endpoints::Pods(pods) = service.endpoints(self.cluster.pods()) else { continue };
            let told = if pods.is_empty() {
                self.selects_nobody(service, written)
            } else {
                self.unreached(service, &pods)
            };
            let told = told.into_iter().map(|(level, path, message)| Remark {
                level,
                finding: written.finding(&path, message),
            });
            remarks.extend(told);
        }
    }

    fn selects_nobody(
        &self,
        service: &Service,
        written: &WrittenPolicy,
    ) -> Vec<(Level, String, String)> {
        let Service { namespace, .. } = service;
        // A template that is meant for the namespace of who applies it.
        let there = |pod: &&Pod| {
            let namespace = pod.namespace.clone();
            Service { namespace, ..service.clone() }.selects(pod)
        };
        if !written.names_namespace()
            && let Some(pod) = self.cluster.pods().iter().find(there)
        {
            let message = format!(
                "Service {service} selects no pod in namespace {namespace}, where it is as it names none; \
                 if it is applied to namespace {}, as {pod} is, it is right",
                pod.namespace
            );
            return vec![(Level::Note, "spec.selector".to_owned(), message)];
        }
        let labels = selector(service.selector.as_ref().unwrap_or(&service.labels));
        let (level, message) = match self.operators.may_make(&labels, Some(namespace)) {
            Some(made) => (
                Level::Note,
                format!("no manifest has pods{} in namespace {namespace}; {made}", labels.with()),
            ),
            None => (
                Level::Warning,
                format!(
                    "Service {service} selects no pod: none in namespace {namespace} has {labels}"
                ),
            ),
        };
        vec![(level, "spec.selector".to_owned(), message)]
    }

    /// Ports of a Service that lead to no port of its pods, or to one that nobody may reach.
    fn unreached(&self, service: &Service, pods: &[&Pod]) -> Vec<(Level, String, String)> {
        let mut told = Vec::new();
        for (index, port) in service.ports.iter().enumerate() {
            let path = format!("spec.ports[{index}]");
            let protocol = port.protocol;
            let targets: Vec<(&Pod, u16)> =
                pods.iter().filter_map(|pod| Some((*pod, port.target_on(pod)?))).collect();
            let Some((first, number)) = targets.first() else {
                if let TargetPort::Named(name) = &port.target {
                    let message = format!(
                        "Service {service} leads to no port: no pod that it selects has a {protocol} port {name:?}"
                    );
                    told.push((Level::Warning, format!("{path}.targetPort"), message));
                }
                continue;
            };
            let unreached = targets.iter().all(|(pod, number)| {
                let reached = self.reached.at(pod);
                reached.is_some_and(|reached| !reached.contains(protocol, *number))
                    && !self.waits_for_somebody(pod, |rule| {
                        rule.covers(End::Pod(pod), protocol, *number)
                    })
            });
            if unreached {
                let others = self.reached.at(first).filter(|reached| !reached.is_none());
                let others = others.map(|reached| format!(" (only to {reached})"));
                let message = format!(
                    "nobody may reach Service {service} at port {}: no rule lets anyone to {protocol} \
                     port {number} of {first}{}",
                    port.port,
                    others.unwrap_or_default()
                );
                told.push((Level::Warning, path, message));
            }
        }
        told
    }
}

/// A Service's labels as a selector.
fn selector(labels: &crate::selector::Labels) -> Selector {
    let requirement = |(key, value): (&String, &String)| Requirement {
        key: key.clone(),
        operator: Operator::In(vec![value.clone()]),
    };
    Selector::new(labels.iter().map(requirement).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{pod, policy, service, told};

    fn shop(service_spec: &str) -> String {
        pod("shop/db", "app: db", "{name: pg, containerPort: 5432}")
            + &pod("shop/web", "app: web", "")
            + &service("shop/db", service_spec)
    }

    const DB: &str = "{clusterIP: 10.96.7.7, selector: {app: db}, ports: [{port: 5432}]}";

    fn egress(cidr: &str) -> Vec<String> {
        let rule = format!(
            "{{to: [{{ipBlock: {{cidr: {cidr}}}}}]}}, {{ports: [{{port: 53, protocol: UDP}}]}}"
        );
        told(&(shop(DB) + &policy("shop", &format!("{{policyTypes: [Egress], egress: [{rule}]}}"))))
    }

    #[test]
    fn a_block_that_holds_a_cluster_ip_is_told_with_the_pods_to_name() {
        for cidr in ["10.96.7.7/32", "10.96.0.0/12", "10.0.0.0/8"] {
            assert_eq!(
                egress(cidr),
                [format!(
                    "warning: spec.egress[0].to[0].ipBlock: {cidr} holds 10.96.7.7, the ClusterIP of \
                  Service shop/db; policies see the pods' addresses, not the ClusterIP: name the pods, \
                  which have app=db"
                )]
            );
        }
        for cidr in ["0.0.0.0/0", "10.96.7.8/32", "192.0.2.0/24"] {
            assert_eq!(egress(cidr), [""; 0], "{cidr}");
        }
    }

    #[test]
    fn a_service_that_selects_nobody_is_told_where_pods_are_known() {
        let spec = "{selector: {app: bd}, ports: [{port: 5432}]}";
        assert_eq!(
            told(&shop(spec)),
            [
                "warning: spec.selector: Service shop/db selects no pod: none in namespace shop has app=bd"
            ]
        );
        assert_eq!(told(&service("shop/db", spec)), [""; 0]);
        for spec in ["{ports: [{port: 1}]}", "{type: ExternalName, externalName: a.example}"] {
            assert_eq!(told(&shop(spec)), [""; 0], "{spec}");
        }
    }

    #[test]
    fn a_service_that_names_no_namespace_may_be_meant_for_that_of_its_pods() {
        let unnamed = |app: &str| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: db}}\n\
                 spec: {{selector: {{app: {app}}}, ports: [{{port: 5432}}]}}\n---\n"
            )
        };
        let pods = pod("shop/db", "app: db", "");
        assert_eq!(
            told(&(pods.clone() + &unnamed("db"))),
            [
                "note: spec.selector: Service default/db selects no pod in namespace default, where it is \
                 as it names none; if it is applied to namespace shop, as shop/db is, it is right"
            ]
        );
        assert!(told(&(pods.clone() + &unnamed("bd")))[0].starts_with("warning: "));
        let named = unnamed("db").replace("{name: db}", "{name: db, namespace: default}");
        assert!(told(&(pods + &named))[0].starts_with("warning: "));
    }

    #[test]
    fn a_service_whose_endpoints_no_one_may_reach_is_told() {
        let deny = policy("shop", "{podSelector: {matchLabels: {app: db}}}");
        let said = told(&(shop(DB) + &deny));
        let last = said.last().unwrap();
        assert!(last.contains("nobody may reach Service shop/db at port 5432"), "{said:?}");
        let other = policy(
            "shop",
            "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 9187}]}]}",
        );
        assert_eq!(
            told(&(shop(DB) + &other)),
            [
                "warning: spec.ports[0]: nobody may reach Service shop/db at port 5432: no rule lets anyone to \
              TCP port 5432 of shop/db (only to TCP 9187)"
            ]
        );
    }

    #[test]
    fn a_service_that_somebody_may_reach_or_that_waits_for_its_peers_is_not() {
        let allow = "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: pg}]}]}";
        assert_eq!(told(&(shop(DB) + &policy("shop", allow))), [""; 0]);
        let gone =
            allow.replace("ports:", "from: [{podSelector: {matchLabels: {app: gone}}}], ports:");
        let told = told(&(shop(DB) + &policy("shop", &gone)));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("matches nobody"), "{told:?}");
    }

    #[test]
    fn a_target_port_that_no_pod_of_the_service_has_is_told() {
        let spec = "{selector: {app: db}, ports: [{port: 5432, targetPort: postgres}]}";
        assert_eq!(
            told(&shop(spec)),
            [
                "warning: spec.ports[0].targetPort: Service shop/db leads to no port: no pod that it selects \
              has a TCP port \"postgres\""
            ]
        );
    }
}
