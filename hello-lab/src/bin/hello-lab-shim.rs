//! The program that starts a pod's processes: see [`hello_lab::shim`]. A program of its own because
//! every pod has one: it is small, and has one thread.

use std::process::ExitCode;

fn main() -> ExitCode {
    hello_lab::shim::main(std::env::args_os().skip(1).collect())
}
