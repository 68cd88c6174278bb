//! The pool's events about VMs and kernels.

use super::Pool;
use crate::run::event::{Event, KernelReport, VmLost, Warning, bounded_text};
use crate::run::plan::PlannedKernel;
use crate::run::session::Lost;
use crate::run::settings::KernelLog;
use crate::vm::kernel_log::KernelProblem;
use crate::vm::machine::QMP_STATUS;

impl Pool<'_> {
    pub(super) fn emit(&self, event: Event) {
        self.times.borrow_mut().observe(&event);
        // The receiver lives as long as the run.
        let _ = self.events.send(event);
    }

    pub(super) fn lost(&self, kernel: &PlannedKernel, vm: u32, test: Option<String>, lost: &Lost) {
        let status = &lost.evidence.status;
        self.emit(Event::VmLost(VmLost {
            kernel: kernel.name.clone(),
            vm,
            reason: lost.reason.clone(),
            test,
            console: bounded_text(lost.evidence.console.as_bytes()),
            // Reports name the problem.
            qmp_status: Some(status.strip_prefix(QMP_STATUS).unwrap_or(status))
                .filter(|status| !status.is_empty())
                .map(str::to_owned),
        }));
    }

    pub(super) fn kernel_reports(
        &self,
        kernel: &PlannedKernel,
        vm: u32,
        test: Option<&str>,
        reports: Vec<KernelProblem>,
    ) {
        for report in reports {
            if self.plan.settings.kernel_log == KernelLog::Ignore {
                return;
            }
            self.emit(Event::KernelReport(KernelReport {
                kernel: kernel.name.clone(),
                vm,
                kind: report.kind.to_owned(),
                test: test.map(ToOwned::to_owned),
                // If there is a test, its verdict says it.
                fails: test.is_none() && self.plan.settings.kernel_log.fails(&report),
                allowed: report.allowed,
                denied: report.denied,
                text: bounded_text(report.text.as_bytes()),
            }));
        }
    }

    pub(super) fn warn(&self, kernel: &PlannedKernel, message: String) {
        self.emit(Event::Warning(Warning {
            kernel: Some(kernel.name.clone()),
            message,
        }));
    }
}
