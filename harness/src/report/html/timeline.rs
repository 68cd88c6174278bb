//! When each VM did what.

use std::collections::HashMap;

use crate::run::event::{Event, Record, TestResult};

/// What the VMs of a run did, in the order of their starts.
#[derive(Debug, Default)]
pub(in crate::report) struct Timeline {
    pub(super) vms: Vec<VmTimes>,
    /// Tests that have started and not ended: suite, id, attempt.
    open: HashMap<(u32, String, String, u32), u64>,
}

/// What one VM did; times in milliseconds from the start of the run.
#[derive(Debug, Default)]
pub(super) struct VmTimes {
    pub(super) vm: u32,
    pub(super) kernel: String,
    /// QEMU was started.
    pub(super) starts: u64,
    /// The guest was ready for tests.
    pub(super) ready: Option<u64>,
    /// The VM ended, or was lost.
    pub(super) ends: Option<u64>,
    pub(super) tests: Vec<Span>,
}

/// One attempt at a test.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) suite: String,
    pub(super) id: String,
    pub(super) starts: u64,
    pub(super) lasts: u64,
    /// Another attempt followed.
    pub(super) retried: bool,
}

impl Timeline {
    /// Takes the next event.
    pub(in crate::report) fn observe(&mut self, record: &Record) {
        let at = record.at_ms;
        match &record.event {
            Event::VmStarting(vm) => self.vm(vm.vm, &vm.kernel).starts = at,
            Event::VmStarted(up) => {
                let vm = self.vm(up.vm, &up.kernel);
                // Files older than `vm_starting` have only this.
                if vm.starts == 0 {
                    vm.starts = at.saturating_sub(up.boot_ms);
                }
                vm.ready = Some(at);
            }
            Event::SpeedMeasured(speed) => self.vm(speed.vm, &speed.kernel).ready = Some(at),
            Event::TestStarted(test) => {
                let key = (test.vm, test.suite.clone(), test.id.clone(), test.attempt);
                self.open.insert(key, at);
            }
            Event::AttemptFinished(result) => self.ended(result, at, true),
            Event::TestFinished(result) if result.case_of.is_none() => {
                self.ended(result, at, false);
                self.has_verdict(result);
            }
            Event::VmStopped(vm) => self.vm(vm.vm, &vm.kernel).ends = Some(at),
            Event::VmLost(lost) => self.vm(lost.vm, &lost.kernel).ends = Some(at),
            _ => {}
        }
    }

    fn ended(&mut self, result: &TestResult, at: u64, retried: bool) {
        let key = (
            result.vm,
            result.suite.clone(),
            result.id.clone(),
            result.attempt,
        );
        // Tests that did not run, such as known skips, have no start.
        let Some(starts) = self.open.remove(&key) else {
            return;
        };
        let lasts = result.duration_ms.min(at.saturating_sub(starts));
        self.vm(result.vm, &result.kernel).tests.push(Span {
            suite: key.1,
            id: key.2,
            starts,
            lasts,
            retried,
        });
    }

    /// A test with a verdict runs nowhere. In an interrupted run that was merged with its rest, the
    /// verdict is from another VM.
    fn has_verdict(&mut self, result: &TestResult) {
        let vms = &self.vms;
        let is_of_kernel = |number: u32| {
            let vm = vms.iter().find(|vm| vm.vm == number);
            vm.is_some_and(|vm| vm.kernel == result.kernel)
        };
        self.open.retain(|(vm, suite, id, _), _| {
            *suite != result.suite || *id != result.id || !is_of_kernel(*vm)
        });
    }

    /// Tests that run: VM, id, and since when.
    pub(super) fn running(&self) -> Vec<(u32, &str, u64)> {
        let mut running: Vec<_> = self
            .open
            .iter()
            .map(|((vm, _, id, _), starts)| (*vm, id.as_str(), *starts))
            .collect();
        running.sort_unstable();
        running
    }

    fn vm(&mut self, number: u32, kernel: &str) -> &mut VmTimes {
        let found = self.vms.iter().rposition(|one| one.vm == number);
        let index = found.unwrap_or_else(|| {
            self.vms.push(VmTimes {
                vm: number,
                kernel: kernel.to_owned(),
                ..VmTimes::default()
            });
            self.vms.len() - 1
        });
        &mut self.vms[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{at, result};
    use crate::run::event::{TestStarted, Verdict, VmStarting, VmStopped};

    fn start(attempt: u32) -> Event {
        Event::TestStarted(TestStarted {
            kernel: "6.1".into(),
            vm: 3,
            suite: "bpftrace".into(),
            id: "a.b".into(),
            attempt,
            expected_ms: None,
        })
    }

    fn end(attempt: u32) -> TestResult {
        TestResult {
            vm: 3,
            attempt,
            ..result("6.1", "a.b", Verdict::Fail, "")
        }
    }

    #[test]
    fn a_test_that_was_interrupted_runs_until_another_vm_gives_its_verdict() {
        let starting = |kernel: &str, vm: u32| {
            let kernel = kernel.to_owned();
            Event::VmStarting(VmStarting { kernel, vm })
        };
        let verdict = |kernel: &str, vm: u32| {
            let result = result(kernel, "a.b", Verdict::Pass, "");
            Event::TestFinished(TestResult { vm, ..result })
        };
        let mut timeline = Timeline::default();
        for event in [
            starting("6.1", 3),
            start(1),
            starting("6.12", 4),
            verdict("6.12", 4),
        ] {
            timeline.observe(&at(5, event));
        }
        assert_eq!(timeline.running(), [(3, "a.b", 5)]);
        timeline.observe(&at(6, starting("6.1", 5)));
        timeline.observe(&at(7, verdict("6.1", 5)));
        assert_eq!(timeline.running(), []);
    }

    #[test]
    fn a_retried_test_has_two_spans_of_its_vm() {
        let (kernel, vm) = ("6.1".to_owned(), 3);
        let mut timeline = Timeline::default();
        for record in [
            at(
                5,
                Event::VmStarting(VmStarting {
                    kernel: kernel.clone(),
                    vm,
                }),
            ),
            at(100, start(1)),
            // An attempt is only reported when the next one begins.
            at(9000, Event::AttemptFinished(end(1))),
            at(9000, start(2)),
            at(9500, Event::TestFinished(end(2))),
            at(9600, start(3)),
            at(9700, Event::VmStopped(VmStopped { kernel, vm })),
        ] {
            timeline.observe(&record);
        }
        assert_eq!(timeline.running(), [(3, "a.b", 9600)]);
        let [vm] = timeline.vms.as_slice() else {
            panic!("{timeline:?}");
        };
        assert_eq!((vm.starts, vm.ready, vm.ends), (5, None, Some(9700)));
        let spans = vm
            .tests
            .iter()
            .map(|span| (span.starts, span.lasts, span.retried));
        assert_eq!(
            spans.collect::<Vec<_>>(),
            [(100, 3100, true), (9000, 500, false)]
        );
    }
}
