//! netpol: what a Kubernetes NetworkPolicy means, decided once.
//!
//! ```text
//! manifest files ──read──▶ Cluster ──▶ Isolation of a pod and a direction
//!                                          │             │
//!                                       evaluate      compile ──▶ nftables
//! ```
//!
//! # Layout
//!
//! - [`read`]: files to objects, strictly: positions, unknown fields, duplicate keys.
//! - [`live`]: what a cluster holds, asked by kubectl.
//! - [`validate`]: the API server's rules for a NetworkPolicy; [`names`]: for names and labels.
//! - [`field_error`]: what is wrong with one field, in the API server's words.
//! - [`selector`], [`port`], [`policy`]: a valid policy with the API's defaults applied.
//! - [`pod`]: pods; [`owners`]: whose they are; [`family`]: of which family of addresses a connection is.
//! - [`cluster`]: namespaces, pods, policies and Services together.
//! - [`service`]: which pods a Service stands for, and at which of their ports; [`endpoints`]: those that
//!   somebody has written down.
//! - [`isolation`]: the one place that says what policies mean for a pod.
//! - [`answer`]: yes, no, or not known.
//! - [`evaluate`]: may this connection be made, and which rule decided?
//! - [`explain`]: why not, or by which part of which rule.
//! - [`ends`]: the ends of a connection as people name them; [`spelling`]: which names they may have meant.
//! - [`connections`], [`connectivity`]: who may reach whom: every permitted pair;
//!   [`difference`]: what changes between two versions.
//! - [`describe`]: a policy by itself, in sentences.
//! - [`exposure`]: whom rules let in and out that the inputs do not have.
//! - [`lint`]: what is valid and probably not meant.
//! - [`ranges`], [`compile`]: the same decision as the filter of one pod.
//! - [`nftables`]: that filter as an nftables table, replaced over netlink without losing a packet.
//! - [`enforce`]: all of this for one pod with no cluster: `netpol enforce`, `apply`, `delete`.
//!
//! The numbers of the rules that tests and comments cite are those of the list in
//! [`isolation`].

pub mod answer;
pub mod cluster;
pub mod compile;
pub mod connections;
pub mod connectivity;
pub mod describe;
pub mod difference;
pub mod endpoints;
pub mod ends;
pub mod enforce;
pub mod evaluate;
pub mod explain;
pub mod exposure;
pub mod family;
pub mod field_error;
pub mod isolation;
pub mod lint;
pub mod live;
pub mod names;
pub mod nftables;
pub mod owners;
pub mod pod;
pub mod policy;
pub mod port;
pub mod ranges;
pub mod read;
pub mod selector;
pub mod service;
pub mod spelling;
pub mod validate;
