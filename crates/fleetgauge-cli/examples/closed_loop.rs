//! Watch a real HPA controller scale simulated engines by what the daemon tells it, and hold while things go wrong.
//!
//! ```text
//! cargo build --package fleetgauge-cli
//! KUBEBUILDER_ASSETS=$(cargo xtask control-plane) cargo run --package fleetgauge-cli --example closed_loop
//! ```
//!
//! API server, controllers, daemon and engines run here, on loopback. On a terminal, keys make the load and the faults; elsewhere, and
//! with `--script`, everything goes wrong in turn. It is what the tests of the closed loop run, with something to look at.

#[cfg(all(target_os = "linux", feature = "kubernetes"))]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the tests use the rest, and a demo may end where a test would"
)]
#[path = "../tests/support"]
mod support {
    pub(crate) mod aggregation;
    pub(crate) mod closed_loop;
    pub(crate) mod daemon;
    pub(crate) mod show;
}

#[cfg(all(target_os = "linux", feature = "kubernetes"))]
fn main() -> std::io::Result<()> {
    use std::io::{IsTerminal as _, Read as _, Write as _};
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

    use support::show::{Act, KEYS, SCRIPT, Show};

    let mut show = Show::start();
    let mut stdout = std::io::stdout();
    if std::env::args().any(|arg| arg == "--script") || !stdout.is_terminal() {
        return show.play(SCRIPT, &mut stdout);
    }
    let (sender, keys) = channel();
    std::thread::spawn(move || {
        let bytes = std::io::stdin().lock().bytes();
        bytes.map_while(Result::ok).try_for_each(|byte| sender.send(byte))
    });
    enable_raw_mode()?;
    let ended = loop {
        let screen = format!("{}\n{KEYS}\n", show.screen()).replace('\n', "\r\n");
        // From the top, on an empty screen.
        if let Err(error) = write!(stdout, "\x1b[2J\x1b[H{screen}").and_then(|()| stdout.flush()) {
            break Err(error);
        }
        let key = match keys.recv_timeout(Duration::from_millis(500)) {
            Ok(key) => char::from(key),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break Ok(()),
        };
        match Act::of_key(key, show.users()) {
            // In raw mode Ctrl-C is a key as well.
            Some(Act::End) => break Ok(()),
            None if key == '\u{3}' => break Ok(()),
            Some(act) => show.act(act),
            None => {}
        }
    };
    disable_raw_mode()?;
    ended
}

#[cfg(not(all(target_os = "linux", feature = "kubernetes")))]
fn main() {
    eprintln!("the control plane runs on Linux, and the daemon needs its feature `kubernetes`");
}
