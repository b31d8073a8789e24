//! What the lab's only node does for its pods' network: the addresses and devices, the policies, the
//! Services and the names of the cluster.

pub mod network;

mod per_pod;

pub mod policy_enforcer;

pub mod service_proxy;

pub mod dns;
