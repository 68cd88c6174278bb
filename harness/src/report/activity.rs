//! What each VM is activity: for the live lines, and for the answer to SIGUSR1.

use std::fmt::Write as _;

use super::forecast::{self, Forecast};
use super::{History, escape};
use crate::run::event::{Event, KernelFailed, KernelReady, Record, VmLost, VmStopped};

/// Characters of a test's id or a kernel's name to show.
const MAX_NAME: usize = 200;

/// Folds the events so far.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Kernels that are not ready to boot.
    awaited: Vec<String>,
    vms: Vec<Vm>,
    forecast: Forecast,
}

/// A VM of the run.
#[derive(Debug)]
pub(super) struct Vm {
    /// Name of its kernel, not escaped.
    pub(super) kernel: String,
    /// Counts the VMs of the run, from 0.
    pub(super) number: u32,
    state: State,
    /// When it started its present activity.
    pub(super) since_ms: u64,
}

#[derive(Debug)]
enum State {
    /// QEMU has been started.
    Boots,
    /// The guest is up and is being prepared.
    IsMadeReady,
    Runs {
        id: String,
        attempt: u32,
        /// Reported as slow.
        slow: bool,
    },
    /// Between two tests, or shutting down.
    IsDone,
}

impl Activity {
    pub(super) fn observe(&mut self, record: &Record) {
        let at_ms = record.at_ms;
        self.forecast.observe(record);
        match &record.event {
            Event::RunStarted(start) => {
                let kernels = start.kernels.iter();
                self.awaited = kernels.map(|kernel| kernel.name.clone()).collect();
            }
            Event::KernelReady(KernelReady { kernel, .. })
            | Event::KernelFailed(KernelFailed { kernel, .. }) => {
                self.awaited.retain(|name| name != kernel);
            }
            Event::VmStarting(starting) => self.vms.push(Vm {
                kernel: starting.kernel.clone(),
                number: starting.vm,
                state: State::Boots,
                since_ms: at_ms,
            }),
            Event::VmStarted(up) => self.set(up.vm, State::IsMadeReady, at_ms),
            Event::SpeedMeasured(speed) => self.set(speed.vm, State::IsDone, at_ms),
            Event::TestStarted(test) => {
                let state = State::Runs {
                    id: test.id.clone(),
                    attempt: test.attempt,
                    slow: false,
                };
                self.set(test.vm, state, at_ms);
            }
            Event::TestSlow(test) => {
                for each in self.vms.iter_mut().filter(|each| each.number == test.vm) {
                    if let State::Runs { slow, .. } = &mut each.state {
                        *slow = true;
                    }
                }
            }
            Event::TestFinished(result) | Event::AttemptFinished(result) => {
                let runs = |each: &Vm| {
                    each.number == result.vm
                        // A case's verdict comes before its command's.
                        && matches!(&each.state, State::Runs { id, .. } if *id == result.id)
                };
                if self.vms.iter().any(runs) {
                    self.set(result.vm, State::IsDone, at_ms);
                }
            }
            Event::VmStopped(VmStopped { vm, .. }) | Event::VmLost(VmLost { vm, .. }) => {
                self.vms.retain(|each| each.number != *vm);
            }
            _ => {}
        }
    }

    fn set(&mut self, vm: u32, state: State, at_ms: u64) {
        if let Some(each) = self.vms.iter_mut().find(|each| each.number == vm) {
            each.state = state;
            each.since_ms = at_ms;
        }
    }

    /// The existing VMs, in the order of their start.
    pub(super) fn vms(&self) -> &[Vm] {
        &self.vms
    }

    /// Says when the run will end, if that can be known.
    pub(super) fn ends(&self, history: &History) -> Option<String> {
        let left = self.forecast.left(history, self.vms.len())?;
        Some(forecast::words(left))
    }

    /// Says which kernels are not ready to boot, if any.
    pub(super) fn awaited(&self) -> Option<String> {
        let names: Vec<_> = self.awaited.iter().map(|kernel| name(kernel)).collect();
        (!names.is_empty()).then(|| format!("not ready yet: {}", names.join(", ")))
    }

    /// A line for each VM, and one for the kernels that are not ready yet.
    pub(super) fn text(&self, now_ms: u64) -> String {
        let mut text = String::new();
        for vm in &self.vms {
            let what = match (&vm.state, vm.what()) {
                (State::Runs { .. }, what) => format!("runs {what}"),
                (State::IsDone, _) => "runs no test".to_owned(),
                (_, what) => what,
            };
            let seconds = now_ms.saturating_sub(vm.since_ms) / 100;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "VM {}  {}  {what}  (for {}.{} s)",
                vm.number,
                name(&vm.kernel),
                seconds / 10,
                seconds % 10
            );
        }
        if self.vms.is_empty() {
            text.push_str("no VM runs\n");
        }
        if let Some(awaited) = self.awaited() {
            text.push_str(&awaited);
            text.push('\n');
        }
        text
    }
}

impl Vm {
    /// A short description of its activity, with the id of a test; nothing between two tests.
    pub(super) fn what(&self) -> String {
        match &self.state {
            State::Boots => "boots".to_owned(),
            State::IsMadeReady => "is made ready".to_owned(),
            State::IsDone => String::new(),
            State::Runs { id, attempt, slow } => {
                let again = match attempt {
                    0 | 1 => String::new(),
                    attempt => format!(", attempt {attempt}"),
                };
                let slow = if *slow { ", slow" } else { "" };
                format!("{}{again}{slow}", name(id))
            }
        }
    }
}

/// A name, escaped and shortened.
fn name(name: &str) -> String {
    escape::clip(&escape::line(name), MAX_NAME).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{at, finished, started};
    use crate::run::event::{TestSlow, TestStarted, Verdict, VmStarting};

    fn test_started(at_ms: u64, attempt: u32) -> Record {
        let event = Event::TestStarted(TestStarted {
            kernel: "6.1".into(),
            vm: 0,
            suite: "bpftrace".into(),
            id: "a.b\x1b[2J".into(),
            attempt,
            expected_ms: None,
        });
        at(at_ms, event)
    }

    #[test]
    fn each_vm_is_shown_with_its_activity_and_duration() {
        let mut activity = Activity::default();
        let mut tell = |record: Record, now: u64| {
            activity.observe(&record);
            activity.text(now)
        };
        let text = tell(started(&["5.10", "6.1"], 2), 0);
        assert_eq!(text, "no VM runs\nnot ready yet: 5.10, 6.1\n");
        let ready = Event::KernelReady(KernelReady {
            kernel: "6.1".into(),
            release: "6.1.0".into(),
            sha256: String::new(),
            packages: None,
        });
        tell(at(10, ready), 10);
        let starting = Event::VmStarting(VmStarting {
            kernel: "6.1".into(),
            vm: 0,
        });
        let text = tell(at(100, starting), 2_100);
        assert_eq!(text, "VM 0  6.1  boots  (for 2.0 s)\nnot ready yet: 5.10\n");
        let failed = Event::KernelFailed(KernelFailed {
            kernel: "5.10".into(),
            reason: String::new(),
            hints: Vec::new(),
        });
        tell(at(110, failed), 110);
        let text = tell(test_started(5_000, 1), 6_550);
        assert_eq!(text, "VM 0  6.1  runs a.b\\x1b[2J  (for 1.5 s)\n");
        let slow = Event::TestSlow(TestSlow {
            kernel: "6.1".into(),
            vm: 0,
            id: "a.b\x1b[2J".into(),
            elapsed_ms: 3_000,
            guest_ms: None,
        });
        let text = tell(at(8_000, slow), 9_000);
        assert_eq!(text, "VM 0  6.1  runs a.b\\x1b[2J, slow  (for 4.0 s)\n");
        let text = tell(test_started(9_000, 2), 9_000);
        assert_eq!(
            text,
            "VM 0  6.1  runs a.b\\x1b[2J, attempt 2  (for 0.0 s)\n"
        );
        let other = finished("6.1", "a.case", Verdict::Pass, "");
        assert!(tell(other, 9_000).contains("attempt 2"), "a case of it");
        let own = finished("6.1", "a.b\x1b[2J", Verdict::Pass, "");
        assert!(tell(own, 9_000).contains("runs no test"));
        let stopped = Event::VmStopped(VmStopped {
            kernel: "6.1".into(),
            vm: 0,
        });
        assert_eq!(tell(at(9_100, stopped), 9_100), "no VM runs\n");
    }
}
