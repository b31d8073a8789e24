//! The program that becomes a container: hello-lab starts it for every process of a pod. A program of
//! its own because it is started so often, and a small one takes a third of the time.

use std::process::ExitCode;

use hello_lab::pods::container_init;

fn main() -> ExitCode {
    container_init::report(&container_init::run());
    ExitCode::from(container_init::START_FAILED)
}
