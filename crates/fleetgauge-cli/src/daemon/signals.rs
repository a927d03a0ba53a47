//! The signals that end the daemon, and the one that has it read its configuration anew.

use std::io;

/// What the process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    End,
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is no such signal"))]
    Reload,
}

/// The signals of the process. Whatever comes once it is made waits for its turn, instead of ending the process.
#[cfg(unix)]
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

/// The signals of the process.
#[cfg(not(unix))]
pub(crate) struct Signals;

// === impl Signals ===

impl Signals {
    /// Listens for them, from now on.
    ///
    /// *Errors*: it cannot be listened for them.
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    #[cfg(not(unix))]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    /// The next one.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> io::Result<Told> {
        Ok(tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hangup.recv() => Told::Reload,
        })
    }

    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) -> io::Result<Told> {
        tokio::signal::ctrl_c().await?;
        Ok(Told::End)
    }
}
