//! A terminal for a program under test: a pseudo-terminal, of which the test is the other side.
#![allow(dead_code)]

use std::fs::{File, OpenOptions};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// What is shown on the terminal is read from `leader`; `follower` is for the program.
pub(crate) struct Terminal {
    pub(crate) leader: File,
    pub(crate) follower: File,
}

impl Terminal {
    /// A terminal that does not tell its size.
    pub(crate) fn open() -> Self {
        // Closed in the child, which would otherwise keep its own terminal from hanging up.
        let leader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&leader).unwrap();
        unlockpt(&leader).unwrap();
        let name = ptsname(&leader, Vec::new()).unwrap();
        let follower = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        Self {
            leader: File::from(leader),
            follower,
        }
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        resize(&self.leader, columns, rows);
    }
}

pub(crate) fn resize(leader: &File, columns: u16, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(leader, size).unwrap();
}
