//! Shows progress while kernels are fetched: bars on a terminal, otherwise one line per file.
//! Always on stderr, or through a [`Watcher`].

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use super::download::OnProgress;

/// Where progress goes.
#[derive(Debug)]
pub struct Progress {
    mode: Mode,
}

enum Mode {
    Bars(MultiProgress),
    Lines,
    Silent,
    Watched(Arc<dyn Watcher>),
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Bars(_) => "Bars",
            Mode::Lines => "Lines",
            Mode::Silent => "Silent",
            Mode::Watched(_) => "Watched",
        })
    }
}

/// Shows progress without blocking: a download continues while the terminal is blocked.
pub trait Watcher: Send + Sync {
    /// Shows one line.
    fn line(&self, text: &str);

    /// Starts to show a file.
    fn file(&self, transfer: Arc<Transfer>);
}

/// A file being downloaded.
#[derive(Debug)]
pub struct Transfer {
    /// Its name.
    pub name: String,
    /// Its size in bytes, if that is known.
    pub total: Option<u64>,
    bytes: AtomicU64,
    over: AtomicBool,
}

impl Transfer {
    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether it has ended, successfully or not.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// A bar for it among `bars`.
    pub fn bar(&self, bars: &MultiProgress) -> ProgressBar {
        bar(bars, &self.name, self.total)
    }

    /// Its message if there are no bars.
    pub fn announcement(&self) -> String {
        announcement(&self.name, self.total)
    }
}

/// Progress of one file.
#[derive(Debug)]
pub struct FileProgress {
    bar: Option<ProgressBar>,
    watched: Option<Arc<Transfer>>,
}

impl Progress {
    /// Bars if stderr is a terminal, otherwise one line per file.
    pub fn stderr() -> Self {
        let mode = if std::io::stderr().is_terminal() {
            Mode::Bars(MultiProgress::new())
        } else {
            Mode::Lines
        };
        Progress { mode }
    }

    /// Shows progress through `watcher`.
    pub fn to(watcher: Arc<dyn Watcher>) -> Self {
        Progress {
            mode: Mode::Watched(watcher),
        }
    }

    /// Shows nothing.
    pub fn silent() -> Self {
        Progress { mode: Mode::Silent }
    }

    /// Shows one line.
    pub fn line(&self, text: &str) {
        match &self.mode {
            // Fails only if stderr is closed, and then nobody reads it.
            Mode::Bars(bars) => drop(bars.println(text)),
            Mode::Lines => drop(writeln!(std::io::stderr(), "{text}")),
            Mode::Silent => {}
            Mode::Watched(watcher) => watcher.line(text),
        }
    }

    /// Says that another kiln is preparing the kernel `name`.
    pub(super) fn waiting(&self, name: &str) {
        self.line(&format!(
            "waiting for another kiln that is preparing {name}"
        ));
    }

    /// Shows the download `get`, which reports the number of bytes so far and the total. `total`
    /// may be known before the server says it.
    pub(super) fn download<T>(
        &self,
        name: &str,
        total: Option<u64>,
        get: impl FnOnce(OnProgress<'_>) -> T,
    ) -> T {
        let mut shown = total.map(|total| self.file(name, Some(total)));
        get(&mut |bytes, total| {
            shown
                .get_or_insert_with(|| self.file(name, total))
                .set(bytes);
        })
    }

    /// Starts to show a download of `total` bytes, if that is known.
    pub fn file(&self, name: &str, total: Option<u64>) -> FileProgress {
        let mut shown = FileProgress {
            bar: None,
            watched: None,
        };
        match &self.mode {
            Mode::Bars(bars) => shown.bar = Some(bar(bars, name, total)),
            Mode::Lines => self.line(&announcement(name, total)),
            Mode::Silent => {}
            Mode::Watched(watcher) => {
                let transfer = Arc::new(Transfer {
                    name: name.to_owned(),
                    total,
                    bytes: AtomicU64::new(0),
                    over: AtomicBool::new(false),
                });
                watcher.file(Arc::clone(&transfer));
                shown.watched = Some(transfer);
            }
        }
        shown
    }
}

fn announcement(name: &str, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("fetching {name} ({})", HumanBytes(total)),
        None => format!("fetching {name}"),
    }
}

fn bar(bars: &MultiProgress, name: &str, total: Option<u64>) -> ProgressBar {
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
    bar
}

impl FileProgress {
    /// Sets the number of bytes so far.
    pub fn set(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
        if let Some(transfer) = &self.watched {
            transfer.bytes.store(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for FileProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some(transfer) = &self.watched {
            transfer.over.store(true, Ordering::Relaxed);
        }
    }
}
