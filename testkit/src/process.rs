//! A real server as a child process: started, waited for, paused, and surely ended.
//!
//! A `static` in a test binary is never dropped, and a test binary may be killed. So each server has a
//! reaper beside it: a shell that waits for the end of its standard input, which only this process
//! holds, and then kills the server and removes its directory.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Error, Result};

/// How long a loaded machine may take to start a server.
const START_PATIENCE: Duration = Duration::from_secs(60);
const POLL_PAUSE: Duration = Duration::from_millis(20);
/// Another process may take the free port before the server binds it.
const PORT_ATTEMPTS: usize = 8;

/// A running child with its directory, killed on drop.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    child: Child,
    reaper: Option<Child>,
    dir: Option<TempDir>,
    addr: SocketAddr,
}

// === impl Server ===

impl Server {
    /// Starts `program` with the arguments that `args` makes for an address, on a free port or on
    /// `port`, and waits until `ready` says so (given the address and what the server has written).
    ///
    /// `ready` must tell this server from another one that took the same port: by its own log, or by
    /// its directory.
    ///
    /// # Errors
    /// When it cannot be started, ends instead, or is not ready within a minute.
    pub fn start(
        program: &Path,
        dir: TempDir,
        port: Option<u16>,
        args: impl Fn(SocketAddr) -> Vec<String>,
        ready: impl Fn(SocketAddr, &str) -> bool,
    ) -> Result<Self> {
        let mut dir = Some(dir);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let addr = match port {
                Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                None => free_port()?,
            };
            let mut server = Self::spawn(program, dir.take().expect("given back below"), addr, &args(addr))?;
            match server.wait(&ready) {
                Ok(()) => return Ok(server),
                Err(Error::Failed { tail, .. })
                    if port.is_none()
                        && attempt < PORT_ATTEMPTS
                        && tail.contains("address already in use") =>
                {
                    server.end();
                    dir = server.dir.take();
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn spawn(program: &Path, dir: TempDir, addr: SocketAddr, args: &[String]) -> Result<Self> {
        let log = File::create(dir.path().join(LOG)).map_err(Error::io("creating the log file"))?;
        let same = log.try_clone().map_err(Error::io("sharing the log file"))?;
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(same);
        let child = command.spawn().map_err(|error| missing_or(program, error))?;
        let mut server = Self {
            program: program.to_owned(),
            child,
            reaper: None,
            dir: Some(dir),
            addr,
        };
        server.reaper = Some(server.spawn_reaper()?);
        Ok(server)
    }

    fn spawn_reaper(&self) -> Result<Child> {
        Command::new("sh")
            .arg("-c")
            .arg(r#"read _; kill -9 "$0"; rm -rf -- "$1""#)
            .arg(self.pid().to_string())
            .arg(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("starting the reaper"))
    }

    fn wait(&mut self, ready: impl Fn(SocketAddr, &str) -> bool) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let log = self.log();
            let is_ready = ready(self.addr, &log);
            if let Some(status) = self
                .child
                .try_wait()
                .map_err(Error::io("waiting for the server"))?
            {
                let tail = tail(&self.log());
                return Err(Error::Failed {
                    program: self.program.display().to_string(),
                    status: status.to_string(),
                    tail,
                });
            }
            if is_ready {
                return Ok(());
            }
            if Instant::now() > deadline {
                let event = format!("`{}` to become ready", self.program.display());
                return Err(Error::Timeout {
                    event,
                    seen: tail(&log),
                });
            }
            thread::sleep(POLL_PAUSE);
        }
    }

    /// The address that it was started for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The server's own directory.
    pub fn path(&self) -> &Path {
        self.dir
            .as_ref()
            .expect("taken only after the server has ended")
            .path()
    }

    /// What the server has written so far.
    pub fn log(&self) -> String {
        read_lossy(&self.path().join(LOG))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let failed = || Error::io(format!("signalling `{}`", self.program.display()));
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| failed()(io::Error::other("no such process")))?;
        kill_process(pid, signal).map_err(|errno| failed()(errno.into()))
    }

    /// Waits for the signal to have reached every thread: one that is still running may answer a request
    /// that comes after the signal was sent.
    pub(crate) fn until_stopped(&self) -> Result<()> {
        let tasks = format!("/proc/{}/task", self.pid());
        poll("every thread to stop", || {
            let failed = || Error::io(format!("reading {tasks}"));
            for task in fs::read_dir(&tasks).map_err(failed())? {
                let stat = task.map_err(failed())?.path().join("stat");
                // A thread that has ended meanwhile does not answer either.
                let stat = fs::read_to_string(stat).unwrap_or_else(|_| ") T".to_owned());
                let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim_start());
                if !state.starts_with(['T', 't']) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }

    /// Ends the server and gives its directory, with which it can be started again.
    pub fn into_dir(mut self) -> TempDir {
        self.end();
        self.dir.take().expect("taken only here")
    }

    /// Asks the server to end (SIGTERM), waits until it has, and gives its directory.
    ///
    /// # Errors
    /// When it does not end within a minute.
    pub fn terminate(mut self) -> Result<TempDir> {
        self.signal(Signal::TERM)?;
        poll("the server to end", || {
            self.child.try_wait().map_err(Error::io("waiting for the server"))
        })?;
        self.end();
        Ok(self.dir.take().expect("taken only here"))
    }

    /// The reaper goes first: once the child is waited for, its id may belong to another process.
    fn end(&mut self) {
        if let Some(mut reaper) = self.reaper.take() {
            let _ = reaper.kill();
            let _ = reaper.wait();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

// === helpers ===

const LOG: &str = "server.log";

/// Runs a program to its end and gives what it wrote to standard output.
pub(crate) fn run(program: &Path, args: &[PathBuf]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| missing_or(program, error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let tail = tail(&String::from_utf8_lossy(&output.stderr));
    Err(Error::Failed {
        program: program.display().to_string(),
        status: output.status.to_string(),
        tail,
    })
}

/// Calls `check` until it gives something, at most for a minute.
pub(crate) fn poll<T>(event: &str, mut check: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let seen = match check() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        };
        if Instant::now() > deadline {
            return Err(Error::Timeout {
                event: event.to_owned(),
                seen,
            });
        }
        thread::sleep(POLL_PAUSE);
    }
}

/// A directory of our own, which goes with the handle.
///
/// # Errors
/// When it cannot be made.
pub fn temp_dir() -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("fleetgauge-")
        .tempdir()
        .map_err(Error::io("creating a directory"))
}

/// A port of loopback that nobody had a moment ago.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(Error::io("looking for a free port"))
}

fn missing_or(program: &Path, error: io::Error) -> Error {
    let program = program.display().to_string();
    if error.kind() == io::ErrorKind::NotFound {
        return Error::Missing { program };
    }
    Error::io(format!("starting `{program}`"))(error)
}

fn read_lossy(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_how_to_install_it() {
        let error = Server::start(
            Path::new("fleetgauge-no-such-server"),
            temp_dir().unwrap(),
            None,
            |_| Vec::new(),
            |_, _| true,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`fleetgauge-no-such-server` is not installed: apt-get install prometheus victoria-metrics"
        );
    }

    #[test]
    fn a_server_that_ends_shows_what_it_said() {
        let args = |_| vec!["-c".to_owned(), "echo the reason >&2; exit 3".to_owned()];
        let error =
            Server::start(Path::new("sh"), temp_dir().unwrap(), None, args, |_, _| false).unwrap_err();
        let Error::Failed { tail, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(tail, "the reason");
    }

    #[test]
    fn a_taken_port_is_exchanged_for_another() {
        let dir = temp_dir().unwrap();
        let once = "test -e once && exec tail -f /dev/null; touch once; echo address already in use; exit 1";
        let args = |_| vec!["-c".to_owned(), once.to_owned()];
        let ready = |_: SocketAddr, _: &str| true;
        let marker = dir.path().join("once");
        let server = Server::start(Path::new("sh"), dir, None, args, |addr, log| {
            marker.exists() && ready(addr, log)
        });
        assert!(server.is_ok(), "{:?}", server.err());
    }

    /// Guards against servers left behind by a test binary that was killed or held them in a `static`.
    #[test]
    fn the_reaper_ends_the_server_when_its_holder_is_gone() {
        let args = |_| vec!["-c".to_owned(), "exec tail -f /dev/null".to_owned()];
        let mut server =
            Server::start(Path::new("sh"), temp_dir().unwrap(), None, args, |_, _| true).unwrap();
        let path = server.path().to_owned();
        // Closing the reaper's standard input is what the end of this process would do.
        drop(server.reaper.as_mut().unwrap().stdin.take());
        let status = server.child.wait().unwrap();
        assert!(!status.success());
        poll("the directory to go", || Ok((!path.exists()).then_some(()))).unwrap();
    }
}
