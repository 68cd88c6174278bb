//! The terminal as the live lines see it.

use std::io;
use std::sync::{Mutex, PoisonError};

use console::Term;
use indicatif::{ProgressDrawTarget, TermLike};

/// Maximum updates per second, as indicatif has for its own terminals.
const HERTZ: u8 = 20;

/// A terminal that leaves the cursor after the last word of a drawing.
///
/// indicatif fills the last line with blanks, which leaves the cursor at the right margin. The `^C`
/// that a terminal shows for Ctrl-C then moves it down, the next drawing starts a line too low, and
/// a stale line stays above.
#[derive(Debug)]
struct Screen<T> {
    terminal: T,
    /// Written since the cursor last moved.
    line: Mutex<String>,
}

/// Standard error as the terminal for the live lines.
pub(super) fn stderr() -> ProgressDrawTarget {
    on(Term::buffered_stderr())
}

/// A terminal for the live lines.
pub(super) fn on(terminal: impl TermLike + 'static) -> ProgressDrawTarget {
    let screen = Screen {
        terminal,
        line: Mutex::default(),
    };
    ProgressDrawTarget::term_like_with_hz(Box::new(screen), HERTZ)
}

impl<T: TermLike> Screen<T> {
    fn take(&self) -> String {
        std::mem::take(&mut *self.line.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The terminal, after flushing everything written so far.
    fn settled(&self) -> io::Result<&T> {
        self.terminal.write_str(&self.take())?;
        Ok(&self.terminal)
    }
}

impl<T: TermLike> TermLike for Screen<T> {
    fn width(&self) -> u16 {
        self.terminal.width()
    }
    fn height(&self) -> u16 {
        self.terminal.height()
    }
    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.settled()?.move_cursor_up(n)
    }
    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.settled()?.move_cursor_down(n)
    }
    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.settled()?.move_cursor_right(n)
    }
    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.settled()?.move_cursor_left(n)
    }
    fn write_line(&self, text: &str) -> io::Result<()> {
        self.settled()?.write_line(text)
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.push_str(text);
        Ok(())
    }
    fn clear_line(&self) -> io::Result<()> {
        self.settled()?.clear_line()
    }
    fn flush(&self) -> io::Result<()> {
        self.terminal.write_str(self.take().trim_end_matches(' '))?;
        self.terminal.flush()
    }
}
