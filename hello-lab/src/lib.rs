//! hello-lab: a little Kubernetes on one Linux machine. Pods are processes in namespaces of
//! their own, NetworkPolicies are the kernel's, and the ordinary kubectl drives it.
//!
//! # Layout
//!
//! From the top down: a room uses those below it and none above. (`tests/tests/architecture.rs` holds
//! this order, and that of the modules in each room's own list.)
//!
//! - [`cli`]: what a person at a terminal does: `up`, `run`, `status`, `down`.
//! - [`lab`]: every room together, for as long as all of them work.
//! - [`bootstrap`]: the objects that every cluster has from its start.
//! - [`api`]: the Kubernetes API that kubectl speaks, over TLS on 127.0.0.1: one file a verb.
//! - [`controllers`]: Deployments to ReplicaSets to Pods, `StatefulSets`, `DaemonSets`, `CronJobs` to Jobs,
//!   Services to EndpointSlices and Endpoints, the scheduler, namespaces, garbage.
//! - [`kubelet`]: the pods' processes: sandboxes, containers, probes, restarts, logs.
//! - [`node`]: their network: addresses and devices, policies, Services, names.
//! - [`objects`]: the store, the one source of truth, and the rules of its kinds. The four above
//!   tell each other of changes here alone.
//! - [`shim`]: the process between the lab and the processes of a pod.
//! - [`stages`]: the processes and namespaces in which a lab runs, and which nothing outlives.
//! - [`args`]: the command line.
//! - [`loops`]: what must run for as long as the lab does, and ends it when it ends.
//! - [`mounts`], [`runtime_folder`], [`private_places`]: file systems in memory, the lab's folder, and what
//!   among the machine's programs is not for pods.

// What users send is no reason to panic: whoever wrote it is told, and the lab goes on.
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::unreachable)
)]

pub mod cli;

pub mod lab;

pub mod bootstrap;

pub mod api;

pub mod controllers;

pub mod kubelet;

pub mod node;

pub mod objects;

pub mod shim;

pub mod stages;

pub mod args;

pub mod loops;

pub mod mounts;

pub mod runtime_folder;

pub mod private_places;
