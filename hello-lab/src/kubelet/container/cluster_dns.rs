//! The cluster's DNS, which is no program of its own: the lab answers in the network of the container whose
//! image it is, for as long as that one's process runs.

use anyhow::Context;

use super::Container;
use crate::kubelet::images::Image;
use crate::node::dns;

impl Container {
    /// Answers as the cluster's DNS, if that is what `image` is, until the future is dropped. That ends only
    /// where it can answer no more.
    pub(super) fn cluster_dns(
        &self,
        image: &Image,
    ) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        let store = &self.running.surroundings.store;
        let serve = || dns::serve(store.clone(), &self.sandbox.network);
        let server = image.is_dns.then(serve).transpose();
        let server = server.context("cannot listen on port 53 of the pod")?;
        Ok(async move {
            match server {
                Some(server) => server.await,
                None => std::future::pending().await,
            }
        })
    }
}
