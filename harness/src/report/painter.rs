//! Writes the report to a terminal, or to a pipe or file instead.

use std::io::{self, Write};
use std::sync::Arc;

use indicatif::{MultiProgress, ProgressBar};

use super::TerminalStyle;
use super::interface::{ReportError, put};
use super::lend::Lend;
use super::live::{Live, View};
use crate::kernel::Transfer;

/// Something to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Whole lines that every reader gets: verdicts, and why some are missing.
    Line(String),
    /// Whole lines that a slow reader can do without.
    Remark(String),
    /// Whole lines for the user at the terminal, on standard error.
    Note(String),
    /// The newest view of the live lines.
    Live(View),
    /// The end of the report.
    End(String),
}

/// Shows pieces, at once or later.
pub trait Paint: Send {
    /// Takes the next piece.
    fn paint(&mut self, piece: Piece) -> Result<(), ReportError>;
}

/// Writes to `out` and draws live lines on standard error, at once.
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

    /// Starts to show the download of a file.
    pub(super) fn transfer(&mut self, transfer: Arc<Transfer>) {
        if self.lines.is_hidden() {
            self.note(&(transfer.announcement() + "\n"));
        } else {
            let bar = transfer.bar(&self.lines);
            self.transfers.push((transfer, bar));
        }
    }

    /// Gives the terminal away, without the live lines, until it comes back.
    pub(super) fn lend(&self, lend: Lend) {
        self.live.suspend(|| lend.give());
    }

    /// Whether files are being downloaded.
    pub(super) fn has_transfers(&self) -> bool {
        !self.transfers.is_empty()
    }

    /// Shows their progress.
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

    /// Writes whole lines, with the live lines hidden.
    fn write(&mut self, text: &str) -> Result<(), ReportError> {
        let Self { out, live, .. } = self;
        live.suspend(|| {
            out.write_all(text.as_bytes())?;
            out.flush()
        })
        .map_err(ReportError::Output)
    }

    /// For the user at the terminal, wherever the report goes; ignored if it is closed.
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
                put(&mut self.out, &text)
            }
        }
    }
}
