//! Pseudo-terminals (pty(7)) for processes that a person talks to.

use std::io;
use std::os::fd::OwnedFd;

use rustix::termios::{Winsize, tcsetwinsize};
use tokio::net::unix::pipe;

/// The lab's end of a terminal.
#[derive(Debug)]
pub struct Terminal(OwnedFd);

impl Terminal {
    /// That of which the shim has opened this end; the other is the process's.
    pub(super) fn new(own: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&own, true)?;
        Ok(Self(own))
    }

    /// What the process writes. Ends when nobody has the other end.
    pub(super) fn reader(&self) -> io::Result<pipe::Receiver> {
        // A terminal can be read as a pipe is: without blocking, when the kernel says that it is ready.
        pipe::Receiver::from_owned_fd_unchecked(self.0.try_clone()?)
    }

    /// What the process reads.
    pub(super) fn writer(&self) -> io::Result<pipe::Sender> {
        pipe::Sender::from_owned_fd_unchecked(self.0.try_clone()?)
    }

    /// Tells the process how large its window is.
    pub fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.0, size)?)
    }
}

#[cfg(test)]
mod tests {
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::process::Command;

    use super::*;

    #[tokio::test]
    async fn what_goes_in_at_one_end_comes_out_at_the_other() {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let own = openpt(flags).unwrap();
        unlockpt(&own).unwrap();
        let end = ioctl_tiocgptpeer(&own, flags).unwrap();
        let terminal = Terminal::new(own).unwrap();
        terminal.resize(101, 33).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "stty size; read -r line; echo \"<$line>\""]);
        command.stdin(end.try_clone().unwrap()).stdout(end.try_clone().unwrap()).stderr(end);
        let mut child = command.spawn().unwrap();
        drop(command);
        terminal.writer().unwrap().write_all(b"hello\n").await.unwrap();
        let mut text = Vec::new();
        // Linux ends a terminal with an error (EIO).
        let _ = terminal.reader().unwrap().read_to_end(&mut text).await;
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("33 101\r\n") && text.ends_with("<hello>\r\n"), "{text:?}");
        assert!(child.wait().await.unwrap().success());
    }
}
