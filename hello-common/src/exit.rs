//! Exit codes of what has ended, as shells count: a process's own, or 128 and the number of the signal
//! that ended it (POSIX, "Exit Status for Commands" of the shell's command language).

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

const OF_SIGNALS: i32 = 128;

/// The exit code as a number.
#[must_use]
pub fn number(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| OF_SIGNALS + status.signal().unwrap_or_default())
}

/// The exit code for a program to end with that has waited for another.
#[must_use]
pub fn code(status: ExitStatus) -> ExitCode {
    from_number(number(status))
}

/// The exit code of a program that ends because of a signal.
#[must_use]
pub fn of_signal(signal: i32) -> ExitCode {
    from_number(OF_SIGNALS + signal)
}

/// A number as an exit code; what cannot be one is a failure.
#[must_use]
pub fn from_number(number: i32) -> ExitCode {
    u8::try_from(number).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_with_its_code_or_with_128_and_its_signal() {
        assert_eq!(number(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(number(ExitStatus::from_raw(9)), 137);
        assert_eq!(code(ExitStatus::from_raw(0)), ExitCode::SUCCESS);
        assert_eq!(code(ExitStatus::from_raw(255 << 8)), ExitCode::from(255));
        assert_eq!(of_signal(15), ExitCode::from(143));
    }
}
