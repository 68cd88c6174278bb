//! The terminal, written by its own thread, so that nobody waits for it.
//!
//! A blocked terminal (Ctrl-S, a pipe that nobody reads) costs memory for the lines of verdicts, of
//! which there are as many as tests. Other lines wait only up to [`MAX_REMARKS`], and of the live
//! lines only the newest view.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::MultiProgress;
use tokio::sync::oneshot;

use super::TerminalStyle;
use super::interface::ReportError;
use super::lend::{self, Lend, Lent};
use super::live::View;
use super::painter::{Paint, Painter, Piece};
use crate::kernel::{Progress, Transfer, Watcher};

/// Bytes of waiting lines that are not verdicts: some thousand lines, more than anybody would read.
const MAX_REMARKS: usize = 256 << 10;
/// Time between two checks of files being downloaded.
const TICK: Duration = Duration::from_millis(200);

/// A thread that owns the terminal.
pub struct Outlet {
    queue: Queue,
    written: oneshot::Receiver<Result<(), ReportError>>,
}

impl Outlet {
    /// A thread for standard output, and for standard error if `style` has live lines.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub fn start(style: TerminalStyle) -> io::Result<Self> {
        Self::over(io::stdout(), style, style.lines())
    }

    fn over(
        out: impl Write + Send + 'static,
        style: TerminalStyle,
        lines: MultiProgress,
    ) -> io::Result<Self> {
        let queue = Queue(Arc::new(Shared::default()));
        let (sender, written) = oneshot::channel();
        let shared = Arc::clone(&queue.0);
        std::thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || {
                let result = show(Painter::new(out, style, lines), &shared);
                // Possibly nobody is waiting.
                let _ = sender.send(result);
            })?;
        Ok(Self { queue, written })
    }

    /// A handle to show things.
    pub fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// Waits until everything is written; an error if that failed. A closed pipe is not an error.
    pub async fn finished(self) -> Result<(), ReportError> {
        self.queue.close();
        // A thread that ends without a result has panicked, and the panic said why.
        self.written.await.unwrap_or(Ok(()))
    }

    /// The same for blocking callers.
    pub fn finish(self) -> Result<(), ReportError> {
        self.queue.close();
        self.written.blocking_recv().unwrap_or(Ok(()))
    }
}

/// Writes everything until the end.
fn show<W: Write + Send>(mut painter: Painter<W>, shared: &Shared) -> Result<(), ReportError> {
    let mut result = Ok(());
    let mut mute = false;
    loop {
        let tick = painter.has_transfers().then_some(TICK);
        let painted = match shared.next(tick) {
            Next::Piece(Piece::Line(_) | Piece::Remark(_)) if mute => Ok(()),
            Next::Piece(Piece::End(_)) if mute => painter.paint(Piece::End(String::new())),
            Next::Piece(piece) => painter.paint(piece),
            Next::Transfer(transfer) => {
                painter.transfer(transfer);
                Ok(())
            }
            Next::Lend(lend) => {
                painter.lend(lend);
                Ok(())
            }
            Next::Tick => {
                painter.advance();
                Ok(())
            }
            Next::End => return result,
        };
        match painted {
            Ok(()) => {}
            // The run continues: its directory has everything.
            Err(ReportError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                mute = true;
            }
            Err(error) => {
                mute = true;
                if result.is_ok() {
                    result = Err(error);
                }
            }
        }
    }
}

/// What waits to be shown. No method of it waits for the terminal.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

impl Queue {
    /// Shows progress of downloads.
    pub fn progress(&self) -> Progress {
        Progress::to(Arc::new(self.clone()))
    }

    /// A line on standard error.
    pub fn note(&self, text: &str) {
        self.push(Piece::Note(format!("{text}\n")));
    }

    /// Waits until everything before is written and the live lines are away. Nothing is written
    /// until what this returns is dropped.
    pub async fn lend(&self) -> Lent {
        let (lend, granted) = lend::ask();
        self.0.lock().lends.push_back(lend);
        self.0.changed.notify_one();
        granted.await
    }

    fn push(&self, piece: Piece) {
        self.0.lock().push(piece);
        self.0.changed.notify_one();
    }

    fn close(&self) {
        self.0.lock().closed = true;
        self.0.changed.notify_one();
    }
}

impl Paint for Queue {
    fn paint(&mut self, piece: Piece) -> Result<(), ReportError> {
        self.push(piece);
        Ok(())
    }
}

/// Standard output for reports that only write lines.
impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.push(Piece::Line(text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Watcher for Queue {
    fn line(&self, text: &str) {
        self.note(text);
    }

    fn file(&self, transfer: Arc<Transfer>) {
        self.0.lock().transfers.push_back(transfer);
        self.0.changed.notify_one();
    }
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    pieces: VecDeque<Piece>,
    /// Bytes of the remarks and notes among them.
    remarks: usize,
    /// Dropped remarks and notes.
    left_out: usize,
    view: Option<View>,
    transfers: VecDeque<Arc<Transfer>>,
    lends: VecDeque<Lend>,
    closed: bool,
}

enum Next {
    Piece(Piece),
    Transfer(Arc<Transfer>),
    Lend(Lend),
    Tick,
    End,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next thing to show, or for `tick`.
    fn next(&self, tick: Option<Duration>) -> Next {
        let mut waiting = self.lock();
        loop {
            if let Some(next) = waiting.pop() {
                return next;
            }
            let Some(tick) = tick else {
                let woken = self.changed.wait(waiting);
                waiting = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let woken = self.changed.wait_timeout(waiting, tick);
            let (guard, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
            waiting = guard;
            if timeout.timed_out() {
                return Next::Tick;
            }
        }
    }
}

impl Waiting {
    fn push(&mut self, piece: Piece) {
        if let Piece::Remark(text) | Piece::Note(text) = &piece {
            if self.remarks + text.len() > MAX_REMARKS {
                self.left_out += 1;
                return;
            }
            self.remarks += text.len();
        }
        match piece {
            Piece::Live(view) => self.view = Some(view),
            piece => self.pieces.push_back(piece),
        }
    }

    fn pop(&mut self) -> Option<Next> {
        // Comes before the end of the report.
        if matches!(self.pieces.front(), Some(Piece::End(_)) | None) && self.left_out > 0 {
            let left_out = std::mem::take(&mut self.left_out);
            let text = format!("warning: {left_out} lines were left out while nobody read\n");
            return Some(Next::Piece(Piece::Remark(text)));
        }
        if let Some(piece) = self.pieces.pop_front() {
            if let Piece::Remark(text) | Piece::Note(text) = &piece {
                self.remarks -= text.len();
            }
            return Some(Next::Piece(piece));
        }
        if let Some(lend) = self.lends.pop_front() {
            return Some(Next::Lend(lend));
        }
        let transfer = self.transfers.pop_front().map(Next::Transfer);
        let view = || self.view.take().map(|view| Next::Piece(Piece::Live(view)));
        transfer.or_else(view).or(self.closed.then_some(Next::End))
    }
}

#[cfg(test)]
#[path = "outlet_tests.rs"]
mod tests;
