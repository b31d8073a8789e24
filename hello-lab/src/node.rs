//! What the lab's only node does for its pods' network: the addresses and devices, the policies, the
//! Services and the names of the cluster.

// What users send is no reason to panic: whoever wrote it is told, and the lab goes on.
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::unreachable)
)]

pub mod network;

mod per_pod;

pub mod policy_enforcer;

pub mod service_proxy;

pub mod dns;
