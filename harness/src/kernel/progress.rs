//! What the user sees while kernels are fetched: bars on a terminal, one line a
//! file elsewhere. Always on stderr.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

/// Where progress goes.
#[derive(Debug)]
pub struct Progress {
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Bars(MultiProgress),
    Lines,
    Silent,
}

/// Progress of one file.
#[derive(Debug)]
pub struct FileProgress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Bars if stderr is a terminal, otherwise one line a file.
    pub fn stderr() -> Self {
        let mode = if std::io::stderr().is_terminal() {
            Mode::Bars(MultiProgress::new())
        } else {
            Mode::Lines
        };
        Progress { mode }
    }

    /// Bars above those that `bars` shows already; one line a file if it shows
    /// nothing.
    pub fn beside(bars: &MultiProgress) -> Self {
        let mode = if bars.is_hidden() {
            Mode::Lines
        } else {
            Mode::Bars(bars.clone())
        };
        Progress { mode }
    }

    /// Shows nothing.
    pub fn silent() -> Self {
        Progress { mode: Mode::Silent }
    }

    /// Shows one line.
    pub fn line(&self, text: &str) {
        match &self.mode {
            // Fails only when stderr is closed, and then nobody reads it.
            Mode::Bars(bars) => drop(bars.println(text)),
            Mode::Lines => drop(writeln!(std::io::stderr(), "{text}")),
            Mode::Silent => {}
        }
    }

    /// Says that another kiln is preparing the kernel `name`.
    pub(super) fn waiting(&self, name: &str) {
        self.line(&format!("waiting for another kiln that prepares {name}"));
    }

    /// Begins to show a download of `total` bytes, if that is known.
    pub fn file(&self, name: &str, total: Option<u64>) -> FileProgress {
        let bar = match &self.mode {
            Mode::Bars(bars) => {
                let bar = match total {
                    Some(total) => ProgressBar::new(total),
                    None => ProgressBar::no_length(),
                };
                let bar = bars.insert(0, bar);
                let template = if total.is_some() {
                    "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
                } else {
                    "{spinner} {msg} {bytes} {bytes_per_sec}"
                };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.set_message(name.to_owned());
                bar.enable_steady_tick(Duration::from_millis(200));
                Some(bar)
            }
            Mode::Lines => {
                match total {
                    Some(total) => self.line(&format!("fetching {name} ({})", HumanBytes(total))),
                    None => self.line(&format!("fetching {name}")),
                }
                None
            }
            Mode::Silent => None,
        };
        FileProgress { bar }
    }
}

impl FileProgress {
    /// So many bytes are there.
    pub fn set(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
    }
}

impl Drop for FileProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
