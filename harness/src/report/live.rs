//! What the terminal shows during a run: a line for each VM.
//!
//! [`View`] says what to show, [`Live`] draws it: a slow terminal gets the newest view and skips
//! earlier ones.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::activity::Activity;
use super::class::Class;
use super::{History, TerminalStyle, escape};

/// Time between two updates of the seconds.
const TICK: Duration = Duration::from_secs(1);
/// Characters of a kernel's name to show: leaves half of 40 columns to the test.
const MAX_KERNEL: usize = 12;
/// Columns of a bar, and the width that a terminal needs for bars.
const BAR: usize = 16;
const ROOM_FOR_BARS: u16 = 60;
/// Columns that stay free in the last line: a terminal shows Ctrl-C there as `^C`, and must not
/// start a new line for it.
const ROOM_FOR_KEYS: usize = 4;
/// The name in the line of the whole run.
const WHOLE: &str = "all";

/// What the lines show at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    vms: Vec<VmView>,
    whole: Count,
    /// Problems so far, when the run ends, and kernels not ready yet.
    message: String,
    /// Columns of the longest name.
    names: usize,
}

/// The line of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
struct VmView {
    vm: u32,
    /// Its kernel's name, as far as it fits.
    kernel: String,
    /// The progress of its kernel.
    count: Count,
    /// When it started its present activity, in milliseconds since the run started.
    since_ms: u64,
    what: String,
}

/// Tests with a verdict, of all that are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Count {
    done: usize,
    planned: usize,
}

impl View {
    /// The run as far as `history` and `doing` know it.
    pub(super) fn of(history: &History, activity: &Activity) -> Self {
        let tally = &history.tally;
        let names = tally.kernels.iter().map(|one| short(&one.kernel).len());
        let bad = Class::ALL
            .into_iter()
            .filter(|class| !matches!(class, Class::Pass | Class::Skip | Class::XFail))
            .map(|class| (class.count(history), class.word()))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"));
        let message: Vec<String> = bad
            .chain(activity.ends(history))
            .chain(activity.awaited())
            .collect();
        let vms = activity.vms().iter().map(|vm| {
            let of_kernel = tally.kernels.iter().find(|one| one.kernel == vm.kernel);
            VmView {
                vm: vm.number,
                kernel: short(&vm.kernel),
                count: of_kernel.map_or_else(Count::default, |kernel| Count {
                    done: kernel.planned() - kernel.missing(),
                    planned: kernel.planned(),
                }),
                since_ms: vm.since_ms,
                what: vm.what(),
            }
        });
        Self {
            vms: vms.collect(),
            whole: Count {
                done: tally.planned() - tally.missing(),
                planned: tally.planned(),
            },
            message: message.join(", "),
            names: names.chain([WHOLE.len()]).max().unwrap_or(0),
        }
    }
}

/// A line per running VM and one for the whole run, at the terminal's end.
///
/// With a hidden target nothing is drawn, and no thread ticks.
pub(super) struct Live {
    lines: MultiProgress,
    total: ProgressBar,
    vms: Vec<VmLine>,
    ticks: bool,
    look: TerminalStyle,
    /// Something has been shown.
    begun: bool,
}

struct VmLine {
    vm: u32,
    /// When what it shows began.
    since_ms: u64,
    bar: ProgressBar,
}

impl Live {
    /// Draws among `lines`, once there is something to draw.
    pub(super) fn new(lines: MultiProgress, look: TerminalStyle) -> Self {
        let ticks = !lines.is_hidden();
        Self {
            total: lines.add(ProgressBar::no_length()),
            lines,
            vms: Vec::new(),
            ticks,
            look,
            begun: false,
        }
    }

    /// Draws what `view` says.
    pub(super) fn show(&mut self, view: &View) {
        if !std::mem::replace(&mut self.begun, true) {
            let style = self.style(view.names, view.whole.planned, ROOM_FOR_KEYS);
            self.total.set_style(style);
            self.total.set_prefix(WHOLE);
            self.total.set_length(view.whole.planned as u64);
            if self.ticks {
                self.total.enable_steady_tick(TICK);
            }
        }
        self.down(view);
        for vm in &view.vms {
            let found = self.vms.iter().position(|line| line.vm == vm.vm);
            let line = found.unwrap_or_else(|| self.up(view.names, vm));
            let line = &mut self.vms[line];
            if line.since_ms != vm.since_ms {
                line.since_ms = vm.since_ms;
                line.bar.reset_elapsed();
            }
            if line.bar.message() != vm.what {
                line.bar.set_message(vm.what.clone());
            }
            line.bar.set_length(vm.count.planned as u64);
            line.bar.set_position(vm.count.done as u64);
        }
        self.total.set_position(view.whole.done as u64);
        self.total.set_message(view.message.clone());
    }

    /// Calls `write` while the lines are hidden.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.lines.suspend(write)
    }

    /// Removes everything from the terminal.
    pub(super) fn clear(&mut self) {
        for line in self.vms.drain(..) {
            line.bar.finish_and_clear();
        }
        self.total.finish_and_clear();
    }

    /// Adds a line for one more VM; returns its index.
    fn up(&mut self, names: usize, vm: &VmView) -> usize {
        let bar = ProgressBar::no_length();
        bar.set_style(self.style(names, vm.count.planned, 0));
        let bar = self.lines.insert_before(&self.total, bar);
        bar.set_prefix(vm.kernel.clone());
        if self.ticks {
            bar.enable_steady_tick(TICK);
        }
        self.vms.push(VmLine {
            vm: vm.vm,
            since_ms: 0,
            bar,
        });
        self.vms.len() - 1
    }

    /// The format of a line: name, bar, count, time and activity, with `free` columns after it.
    fn style(&self, names: usize, planned: usize, free: usize) -> ProgressStyle {
        let digits = planned.to_string().len();
        let (bold, done) = if self.look.colours {
            (".bold", ".green/black.bright")
        } else {
            ("", "")
        };
        let bar = if self.look.width.is_some_and(|width| width >= ROOM_FOR_BARS) {
            format!("{{bar:{BAR}{done}}}  ")
        } else {
            String::new()
        };
        let template = format!(
            "{{prefix:{names}{bold}}}  {bar}{{pos:>{digits}}}/{{len}}  {{elapsed:>3}}  {{wide_msg}}{:free$}",
            ""
        );
        ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸─")
    }

    /// Removes the lines of VMs that have ended.
    fn down(&mut self, view: &View) {
        self.vms.retain(|line| {
            let stays = view.vms.iter().any(|vm| vm.vm == line.vm);
            if !stays {
                line.bar.finish_and_clear();
                self.lines.remove(&line.bar);
            }
            stays
        });
    }
}

impl Drop for Live {
    /// A run that ends with an error also leaves nothing on the terminal.
    fn drop(&mut self) {
        self.clear();
    }
}

/// A kernel's name, shortened to fit a line.
fn short(kernel: &str) -> String {
    escape::line(kernel).chars().take(MAX_KERNEL).collect()
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
