//! A terminal taken over for a while: an alternate screen, redrawn in place, and given back in any case.

use std::io::{self, Write as _};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::queue;
use crossterm::style::Print;
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen,
};

/// Whether the terminal is ours now; a panic anywhere gives it back.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, taken over until this is dropped.
#[derive(Debug)]
pub(crate) struct Screen(());

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
        let mut out = Vec::new();
        queue!(out, EnterAlternateScreen, Hide, DisableLineWrap)?;
        TAKEN.store(true, Ordering::SeqCst);
        let screen = Self(());
        write(&out)?;
        Ok(screen)
    }

    /// Shows `lines` from the top, in one write. What does not fit is not shown.
    pub(crate) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let rows = Size::now().rows;
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
        write(&out)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

// === impl Size ===

impl Size {
    /// The size now; that of a classic terminal where it can't be told.
    pub(crate) fn now() -> Self {
        // Some that are none say 0.
        let told = terminal::size()
            .ok()
            .filter(|(columns, rows)| *columns > 0 && *rows > 0);
        let (columns, rows) = told.unwrap_or((80, 24));
        Self {
            columns: usize::from(columns).max(20),
            rows: usize::from(rows).max(4),
        }
    }
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
