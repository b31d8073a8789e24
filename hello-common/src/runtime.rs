//! The tokio runtime of a program.

use std::fs::File;
use std::io;

use tokio::runtime::{Builder, Runtime};

/// The files that a runtime opens for itself, and two to spare.
const FILES: usize = 8;

/// Why there is no runtime.
#[derive(Debug, thiserror::Error)]
#[error("cannot start a runtime{}", hint(.cause))]
pub struct RuntimeError {
    #[source]
    cause: io::Error,
}

fn hint(cause: &io::Error) -> &'static str {
    const TOO_MANY_OPEN_FILES: i32 = 24;
    if cause.raw_os_error() == Some(TOO_MANY_OPEN_FILES) {
        " within the limit of open files (ulimit -n), which must be higher"
    } else {
        ""
    }
}

/// A runtime of one thread.
pub fn current_thread() -> Result<Runtime, RuntimeError> {
    build(&mut Builder::new_current_thread())
}

/// A runtime of a thread for each processor, or of as many as `threads` says.
pub fn multi_thread(threads: Option<usize>) -> Result<Runtime, RuntimeError> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    build(&mut builder)
}

fn build(builder: &mut Builder) -> Result<Runtime, RuntimeError> {
    let mut build = || {
        // Tokio panics where it cannot open what signals wake it by.
        let room = (0..FILES).map(|_| File::open("/dev/null")).collect::<io::Result<Vec<_>>>()?;
        drop(room);
        builder.enable_all().build()
    };
    build().map_err(|cause| RuntimeError { cause })
}
