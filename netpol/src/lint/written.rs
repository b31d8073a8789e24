//! Endpoints that somebody has written down, for Services without a selector and beside those of others: where
//! each port of a Service leads, ready or not.

use crate::cluster::Cluster;
use crate::ends::end_of;
use crate::isolation::End;
use crate::pod::Pod;
use crate::service::{Service, ServicePort};

/// All of them.
pub(super) struct Written<'a>(Vec<Target<'a>>);

/// One endpoint of one port of a Service.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub service: &'a Service,
    pub port: &'a ServicePort,
    pub end: End<'a>,
    /// The port there.
    pub number: u16,
}

impl<'a> Written<'a> {
    pub(super) fn of(cluster: &'a Cluster) -> Self {
        let mut all = Vec::new();
        for service in cluster.services() {
            for list in cluster.endpoints_of(service) {
                for port in &service.ports {
                    let number =
                        if service.headless { Some(port.port) } else { list.target_of(port) };
                    let Some(number) = number else { continue };
                    all.extend(list.endpoints.iter().map(|endpoint| {
                        let end = end_of(cluster, endpoint);
                        Target { service, port, end, number }
                    }));
                }
            }
        }
        Self(all)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Target<'a>> {
        self.0.iter()
    }

    /// Those of a Service, which is one of the cluster's.
    pub(super) fn of_service(&self, service: &Service) -> impl Iterator<Item = &Target<'a>> {
        self.0.iter().filter(move |target| std::ptr::eq(target.service, service))
    }

    /// Those of a port of a Service, which is one of the cluster's.
    pub(super) fn of_port(&self, port: &ServicePort) -> impl Iterator<Item = &Target<'a>> {
        self.0.iter().filter(move |target| std::ptr::eq(target.port, port))
    }

    /// Those that are `pod`, which is one of the cluster's.
    pub(super) fn at(&self, pod: &Pod) -> impl Iterator<Item = &Target<'a>> {
        self.0.iter().filter(move |target| target.is(pod))
    }
}

impl Target<'_> {
    pub(super) fn is(&self, pod: &Pod) -> bool {
        matches!(self.end, End::Pod(own) if std::ptr::eq(own, pod))
    }

    /// As `Service NAME's; policies see its endpoint's port N`.
    pub(super) fn told(&self) -> String {
        let whose = if matches!(self.end, End::Pod(_)) { "the pod" } else { "its endpoint" };
        format!("Service {}'s; policies see {whose}'s port {}", self.service.name, self.number)
    }
}
