//! What the terminal shows of a run that goes on: a line for each VM.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::class::Class;
use super::doing::Doing;
use super::{History, TerminalStyle, escape};
use crate::run::event::Event;

/// Between two drawings of the seconds.
const TICK: Duration = Duration::from_secs(1);
/// Characters shown of a kernel's name: leaves half of 40 columns to the test.
const MAX_KERNEL: usize = 12;
/// Columns of a bar, and those that a terminal needs for the lines to have one.
const BAR: usize = 16;
const ROOM_FOR_BARS: u16 = 60;
/// Columns that stay free in the last line: a terminal shows Ctrl-C there as
/// `^C`, and must not begin a line of its own for it.
const ROOM_FOR_KEYS: usize = 4;
/// What the line of the whole run has in place of a kernel's name.
const WHOLE: &str = "all";

/// A line per running VM and one for the whole run, at the terminal's end.
///
/// Nothing is drawn, and no thread ticks, on a hidden target.
pub(super) struct Live {
    lines: MultiProgress,
    total: ProgressBar,
    vms: Vec<VmLine>,
    ticks: bool,
    look: TerminalStyle,
    /// Columns of the longest name.
    names: usize,
}

struct VmLine {
    kernel: String,
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
            names: 0,
        }
    }

    /// Takes in what happened; `history` and `doing` have taken it in already.
    pub(super) fn observe(&mut self, event: &Event, history: &History, doing: &Doing) {
        let tally = &history.tally;
        if let Event::RunStarted { kernels, .. } = event {
            let names = kernels.iter().map(|kernel| short(&kernel.name).len());
            self.names = names.chain([WHOLE.len()]).max().unwrap_or(0);
            self.total
                .set_style(self.style(tally.planned(), ROOM_FOR_KEYS));
            self.total.set_prefix(WHOLE);
            self.total.set_length(tally.planned() as u64);
            if self.ticks {
                self.total.enable_steady_tick(TICK);
            }
        }
        self.down(doing);
        for vm in doing.vms() {
            let found = self.vms.iter().position(|line| line.vm == vm.number);
            let line = found.unwrap_or_else(|| self.up(&vm.kernel, vm.number, history));
            let line = &mut self.vms[line];
            if line.since_ms != vm.since_ms {
                line.since_ms = vm.since_ms;
                line.bar.reset_elapsed();
            }
            let what = vm.what();
            if line.bar.message() != what {
                line.bar.set_message(what);
            }
        }
        self.count(history, doing);
    }

    /// Does `write` with the lines out of its way.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.lines.suspend(write)
    }

    /// Leaves nothing on the terminal.
    pub(super) fn clear(&mut self) {
        for line in self.vms.drain(..) {
            line.bar.finish_and_clear();
        }
        self.total.finish_and_clear();
    }

    /// A line for one more VM; its place among the lines.
    fn up(&mut self, kernel: &str, vm: u32, history: &History) -> usize {
        let bar = ProgressBar::no_length();
        let of_kernel = history
            .tally
            .kernels
            .iter()
            .find(|one| one.kernel == kernel);
        bar.set_style(self.style(of_kernel.map_or(0, |kernel| kernel.planned()), 0));
        let bar = self.lines.insert_before(&self.total, bar);
        bar.set_prefix(short(kernel));
        if self.ticks {
            bar.enable_steady_tick(TICK);
        }
        self.vms.push(VmLine {
            kernel: kernel.to_owned(),
            vm,
            since_ms: 0,
            bar,
        });
        self.vms.len() - 1
    }

    /// How a line looks: name, bar, count, time, and what goes on, with so many
    /// columns `free` behind it.
    fn style(&self, planned: usize, free: usize) -> ProgressStyle {
        let names = self.names;
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

    /// Takes away the lines of VMs that are gone.
    fn down(&mut self, doing: &Doing) {
        self.vms.retain(|line| {
            let stays = doing.vms().iter().any(|vm| vm.number == line.vm);
            if !stays {
                line.bar.finish_and_clear();
                self.lines.remove(&line.bar);
            }
            stays
        });
    }

    /// Shows how far each kernel is, and the whole run.
    fn count(&self, history: &History, doing: &Doing) {
        let tally = &history.tally;
        for line in &self.vms {
            let of_kernel = tally.kernels.iter().find(|one| one.kernel == line.kernel);
            if let Some(kernel) = of_kernel {
                line.bar.set_length(kernel.planned() as u64);
                line.bar
                    .set_position((kernel.planned() - kernel.missing()) as u64);
            }
        }
        self.total
            .set_position((tally.planned() - tally.missing()) as u64);
        let bad = Class::ALL
            .into_iter()
            .filter(|class| !matches!(class, Class::Pass | Class::Skip | Class::XFail))
            .map(|class| (class.count(history), class.word()))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"));
        let message: Vec<String> = bad.chain(doing.awaited()).collect();
        self.total.set_message(message.join(", "));
    }
}

impl Drop for Live {
    /// Also a run that ends with an error leaves nothing on the terminal.
    fn drop(&mut self) {
        self.clear();
    }
}

/// As much of a kernel's name as a line has room for.
fn short(kernel: &str) -> String {
    escape::line(kernel).chars().take(MAX_KERNEL).collect()
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
