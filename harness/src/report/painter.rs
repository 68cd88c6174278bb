//! Puts the report on a terminal, or into a pipe or file in its place.

use std::io::{self, Write};
use std::sync::Arc;

use indicatif::{MultiProgress, ProgressBar};

use super::live::{Live, View};
use super::{ReportError, TerminalStyle};
use crate::kernel::Transfer;

/// Something to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Whole lines that every reader gets: verdicts, and why there are none.
    Line(String),
    /// Whole lines that a reader who is far behind can do without.
    Remark(String),
    /// Whole lines for whoever sits at the terminal, on the standard error.
    Note(String),
    /// How the lines that change look now.
    Live(View),
    /// What stands at the end.
    End(String),
}

/// Shows pieces: at once, or by and by.
pub trait Paint: Send {
    /// Takes the next piece.
    fn paint(&mut self, piece: Piece) -> Result<(), ReportError>;
}

/// Writes to `out` and draws lines that change on the standard error, at once.
pub struct Painter<W> {
    out: W,
    live: Live,
    lines: MultiProgress,
    transfers: Vec<(Arc<Transfer>, ProgressBar)>,
}

impl<W: Write + Send> Painter<W> {
    /// Draws among `lines`.
    pub(super) fn new(out: W, style: TerminalStyle, lines: MultiProgress) -> Self {
        Self {
            out,
            live: Live::new(lines.clone(), style),
            lines,
            transfers: Vec::new(),
        }
    }

    /// Begins to show a file on its way.
    pub(super) fn transfer(&mut self, transfer: Arc<Transfer>) {
        if self.lines.is_hidden() {
            self.note(&(transfer.announcement() + "\n"));
        } else {
            let bar = transfer.bar(&self.lines);
            self.transfers.push((transfer, bar));
        }
    }

    /// Whether files are on their way.
    pub(super) fn has_transfers(&self) -> bool {
        !self.transfers.is_empty()
    }

    /// Shows how far they are.
    pub(super) fn advance(&mut self) {
        let lines = &self.lines;
        self.transfers.retain(|(transfer, bar)| {
            bar.set_position(transfer.bytes());
            if transfer.is_over() {
                bar.finish_and_clear();
                lines.remove(bar);
            }
            !transfer.is_over()
        });
    }

    /// Writes whole lines, with those that change out of the way.
    fn write(&mut self, text: &str) -> Result<(), ReportError> {
        let Self { out, live, .. } = self;
        live.suspend(|| {
            out.write_all(text.as_bytes())?;
            out.flush()
        })
        .map_err(ReportError::Output)
    }

    /// For whoever sits there, wherever the report goes; if it is closed, nobody.
    fn note(&self, text: &str) {
        self.live
            .suspend(|| drop(io::stderr().write_all(text.as_bytes())));
    }
}

impl<W: Write + Send> Paint for Painter<W> {
    fn paint(&mut self, piece: Piece) -> Result<(), ReportError> {
        match piece {
            Piece::Line(text) | Piece::Remark(text) => self.write(&text),
            Piece::Note(text) => {
                self.note(&text);
                Ok(())
            }
            Piece::Live(view) => {
                self.live.show(&view);
                Ok(())
            }
            Piece::End(text) => {
                self.live.clear();
                super::put(&mut self.out, &text)
            }
        }
    }
}
