//! Random clusters and policies, to hold netpol against the kernel, against itself and against the
//! clock. Nothing of this is part of the programs.
//!
//! - [`large`]: clusters of many workloads for benchmarks: `generate-cluster` prints one, `bench-netpol`
//!   measures netpol on several.
//! - [`small`]: clusters in which much happens, for property tests and for the kernel;
//!   [`kernel`]: real sockets between their pods: `differential` compares them with the evaluator.

pub mod kernel;
pub mod large;
pub mod small;
