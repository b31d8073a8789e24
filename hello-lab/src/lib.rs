//! hello-lab: a little Kubernetes on one Linux machine. Pods are processes in namespaces of
//! their own, NetworkPolicies are the kernel's, and the ordinary kubectl drives it.
//!
//! # Layout
//!
//! - [`store`]: the objects, their versions and watches; the one source of truth.
//! - [`api`]: the Kubernetes API that kubectl speaks, over TLS on 127.0.0.1.
//! - [`defaults`], [`validation`], [`deletion`]: the rules of that API.
//! - [`controllers`]: Deployments to ReplicaSets to Pods, Services to EndpointSlices,
//!   namespaces, garbage.
//! - [`pods`]: processes, probes, restarts, logs: what a kubelet does.
//! - [`network`]: namespaces, bridge, addresses, Service addresses.
//! - [`dns`]: names of Services.
//! - [`policy`]: asks netpol what the policies mean and has every pod's filter so.
//! - [`service_proxy`]: has every pod find the Services: what kube-proxy does.
//! - [`by_pod`]: what those two keep for each pod.
//! - [`system`], [`events`]: objects that every cluster has, and what happened to them.
//! - [`lab`]: all of these together.
//! - [`sandbox`]: the namespaces in which a lab runs, and in which nothing outlives it.
//! - [`shim`]: what is between the lab and the processes of a pod.
//! - [`runtime_folder`], [`commands`], [`args`]: what a person at a terminal sees of it.

pub mod api;
pub mod args;
pub mod by_pod;
pub mod commands;
pub mod controllers;
pub mod defaults;
pub mod deletion;
pub mod dns;
pub mod events;
pub mod lab;
pub mod network;
pub mod pods;
pub mod policy;
pub mod runtime_folder;
pub mod sandbox;
pub mod service_proxy;
pub mod shim;
pub mod store;
pub mod system;
pub mod validation;
