//! A terminal taken over for a while: an alternate screen, redrawn in place, and given back in any case.
//!
//! A terminal may stop reading, as one does on Ctrl-S or behind a connection that hangs, and whoever writes to it then
//! waits. So a thread of its own draws, which nothing else waits for: it is handed the latest frame, and those that it
//! had no time for are never drawn.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::queue;
use crossterm::style::Print;
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen,
};

/// Whether the terminal is ours now; a panic anywhere gives it back.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// How long a terminal may take to be given back. One that takes longer does not read, and is left as it is.
const GIVING_BACK: Duration = Duration::from_millis(200);

/// The terminal, taken over until this is dropped.
#[derive(Debug)]
pub(crate) struct Screen(Arc<Slot>);

/// What the drawing thread is handed.
#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The latest frame, until it is drawn.
    frame: Option<Vec<String>>,
    /// Whether the terminal is to be given back.
    is_closing: bool,
    /// Whether it was given back.
    has_ended: bool,
    /// What kept it from being drawn on.
    error: Option<io::Error>,
}

/// How large the terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

// === impl Screen ===

impl Screen {
    pub(crate) fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // Its message would go with the alternate screen.
                give_back();
                before(panic);
            }));
        });
        let slot = Arc::new(Slot::default());
        let screen = Self(Arc::clone(&slot));
        thread::Builder::new().name("screen".to_owned()).spawn(move || {
            let drawn = slot.draw();
            give_back();
            let mut state = slot.lock();
            (state.has_ended, state.error) = (true, drawn.err());
            slot.changed.notify_all();
        })?;
        Ok(screen)
    }

    /// Shows `lines` from the top, as soon as the terminal takes them, unless there are newer ones by then. What does
    /// not fit is not shown.
    ///
    /// *Errors*: the terminal is gone.
    pub(crate) fn draw(&self, lines: Vec<String>) -> io::Result<()> {
        let mut state = self.0.lock();
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        state.frame = Some(lines);
        self.0.changed.notify_all();
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closing = true;
        self.0.changed.notify_all();
        let is_taken = |state: &mut State| !state.has_ended;
        let waited = self.0.changed.wait_timeout_while(state, GIVING_BACK, is_taken);
        drop(waited);
    }
}

// === impl Slot ===

impl Slot {
    /// Takes the terminal, and draws the latest frame each time that there is one, until it is to be given back.
    fn draw(&self) -> io::Result<()> {
        let mut out = Vec::new();
        queue!(out, EnterAlternateScreen, Hide, DisableLineWrap)?;
        TAKEN.store(true, Ordering::SeqCst);
        write(&out)?;
        while let Some(frame) = self.next() {
            // A panic has given it back.
            if !TAKEN.load(Ordering::SeqCst) {
                break;
            }
            write(&drawn(&frame, Size::now().rows)?)?;
        }
        Ok(())
    }

    /// The latest frame, when there is one; `None` when the terminal is to be given back.
    fn next(&self) -> Option<Vec<String>> {
        let is_idle = |state: &mut State| state.frame.is_none() && !state.is_closing;
        let waited = self.changed.wait_while(self.lock(), is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.frame.take().filter(|_| !state.is_closing)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A frame as the terminal takes it, for one write.
fn drawn(lines: &[String], rows: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    queue!(out, BeginSynchronizedUpdate)?;
    for (row, line) in lines.iter().take(rows).enumerate() {
        let row = u16::try_from(row).unwrap_or(u16::MAX);
        queue!(out, MoveTo(0, row), Print(line), Clear(ClearType::UntilNewLine))?;
    }
    if lines.len() < rows {
        let row = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        queue!(out, MoveTo(0, row), Clear(ClearType::FromCursorDown))?;
    }
    // At the top, so that a key that is pressed does not scroll.
    queue!(out, MoveTo(0, 0), EndSynchronizedUpdate)?;
    Ok(out)
}

// === impl Size ===

impl Size {
    /// The size now; that of a classic terminal where it can't be told.
    pub(crate) fn now() -> Self {
        // Some that are none say 0.
        let told = told().filter(|(columns, rows)| *columns > 0 && *rows > 0);
        let (columns, rows) = told.unwrap_or((80, 24));
        Self {
            columns: usize::from(columns),
            rows: usize::from(rows),
        }
    }
}

/// Of the terminal that is drawn on, which need not be the one that the process was started from.
#[cfg(unix)]
fn told() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    Some((size.ws_col, size.ws_row))
}

#[cfg(not(unix))]
fn told() -> Option<(u16, u16)> {
    crossterm::terminal::size().ok()
}

fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let mut out = Vec::new();
        let queued = queue!(
            out,
            EndSynchronizedUpdate,
            EnableLineWrap,
            Show,
            LeaveAlternateScreen
        );
        // If the terminal is gone, there is nobody to give it back to.
        let _ = queued.and_then(|()| write(&out));
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
