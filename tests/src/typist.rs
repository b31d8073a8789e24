//! A person at a terminal who runs kubectl.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::{Lab, wait_for};

/// kubectl on a terminal, and what the terminal has shown.
pub struct Typist {
    keyboard: File,
    screen: Arc<Mutex<String>>,
    child: Child,
}

impl Typist {
    /// Runs kubectl with the arguments in `line` on a terminal of so many columns and rows.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start(lab: &Lab, line: &str, size: (u16, u16)) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let own = openpt(flags).expect("terminals");
        unlockpt(&own).expect("a terminal");
        let other = || -> OwnedFd { ioctl_tiocgptpeer(&own, flags).expect("a terminal") };
        tcsetwinsize(&own, window(size)).expect("a terminal");
        let mut kubectl = lab.command("kubectl");
        kubectl.args(line.split_whitespace()).stdin(other()).stdout(other()).stderr(other());
        let child = kubectl.spawn().expect("kubectl");
        drop(kubectl);

        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        let keyboard = File::from(own);
        let mut output = keyboard.try_clone().expect("a file");
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that nobody has any more ends with an error.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                shown.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Self { keyboard, screen, child }
    }

    /// Types.
    ///
    /// # Panics
    ///
    /// When the terminal is gone.
    pub fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a terminal");
    }

    /// Types a line.
    pub fn enter(&mut self, line: &str) {
        self.type_in(&format!("{line}\r"));
    }

    /// Makes the window larger or smaller, and tells kubectl as a terminal does.
    ///
    /// # Panics
    ///
    /// When the terminal is gone.
    pub fn resize(&self, columns: u16, rows: u16) {
        tcsetwinsize(&self.keyboard, window((columns, rows))).expect("a terminal");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process"));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGWINCH);
    }

    /// Whether the terminal has shown `text`.
    #[must_use]
    pub fn has(&self, text: &str) -> bool {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).contains(text)
    }

    /// Waits until the terminal has shown `text`.
    pub fn until(&self, text: &str) {
        wait_for(text, || self.has(text).then_some(()));
    }

    /// Closes the window: kubectl ends without a word to the other side.
    ///
    /// # Panics
    ///
    /// When kubectl does not end.
    pub fn hang_up(mut self) {
        let _ = self.child.kill();
        let _ = wait_for("kubectl's end", || self.child.try_wait().expect("a child"));
    }

    /// Waits until kubectl has ended; its exit code.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[must_use]
    pub fn end(mut self) -> Option<i32> {
        wait_for("kubectl's end", || self.child.try_wait().expect("a child")).code()
    }
}

fn window((ws_col, ws_row): (u16, u16)) -> Winsize {
    Winsize { ws_col, ws_row, ws_xpixel: 0, ws_ypixel: 0 }
}
