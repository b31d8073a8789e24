//! Random clusters and policies, to hold netpol against the kernel, against itself and against the
//! clock. Nothing of this is part of the programs.
//!
//! - [`large`]: clusters of many workloads for benchmarks: `generate-cluster` prints one, `bench-netpol`
//!   measures netpol on several.

pub mod large;
