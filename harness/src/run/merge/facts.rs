//! Which events of several runs belong to the joined run, and which facts do not agree.

use std::collections::{BTreeMap, BTreeSet};

use crate::run::event::{
    Event, KernelReady, KernelReport, SpeedMeasured, SuiteReady, TestResult, TestSlow, TestStarted,
    VmLost, VmStarted, VmStarting, VmStopped, Warning,
};

/// Kernel, suite, id, and the test of which it is a case.
pub(super) type Key = (String, String, String, Option<String>);

pub(super) fn key(result: &TestResult) -> Key {
    (
        result.kernel.clone(),
        result.suite.clone(),
        result.id.clone(),
        result.case_of.clone(),
    )
}

/// Facts of runs about each kernel and suite.
#[derive(Default)]
pub(super) struct Facts {
    /// SHA-256 of the image.
    kernels: BTreeMap<String, String>,
    /// Version under test.
    suites: BTreeMap<String, Option<String>>,
    /// Kernels that were not available, and why: several parts of one run may report it.
    failed: BTreeSet<(String, String)>,
}

/// Whether an event belongs to the joined run; warns about parts that tested different things.
pub(super) fn keep(
    event: &Event,
    dropped: &BTreeSet<Key>,
    facts: &mut Facts,
    warnings: &mut Vec<Warning>,
) -> bool {
    match event {
        Event::RunStarted(_) | Event::RunFinished(_) => false,
        Event::TestFinished(result) | Event::AttemptFinished(result) => {
            !dropped.contains(&key(result))
        }
        Event::TestStarted(test) => {
            let (kernel, suite, id) = (&test.kernel, &test.suite, &test.id);
            !dropped.contains(&(kernel.clone(), suite.clone(), id.clone(), None))
        }
        Event::KernelReady(KernelReady { kernel, sha256, .. }) => {
            let known = facts.kernels.get(kernel);
            if known.is_some_and(|known| known != sha256) {
                warnings.push(Warning {
                    kernel: Some(kernel.clone()),
                    message: "the runs booted different images under this name".to_owned(),
                });
            }
            let new = known != Some(sha256);
            facts.kernels.insert(kernel.clone(), sha256.clone());
            new
        }
        Event::KernelFailed(failed) => {
            let fact = (failed.kernel.clone(), failed.reason.clone());
            facts.failed.insert(fact)
        }
        Event::SuiteReady(SuiteReady { suite, version, .. }) => {
            let known = facts.suites.get(suite);
            if let Some(known) = known.filter(|known| *known != version) {
                let name = |version: &Option<String>| version.clone().unwrap_or("unknown".into());
                warnings.push(of_the_run(format!(
                    "the runs tested different versions of {suite}: {} and {}",
                    name(known),
                    name(version)
                )));
            }
            let new = known != Some(version);
            facts.suites.insert(suite.clone(), version.clone());
            new
        }
        _ => true,
    }
}

/// The number of the VM that an event is about.
pub(super) fn vm_of(event: &mut Event) -> Option<&mut u32> {
    match event {
        Event::VmStarting(VmStarting { vm, .. })
        | Event::VmStarted(VmStarted { vm, .. })
        | Event::SpeedMeasured(SpeedMeasured { vm, .. })
        | Event::TestStarted(TestStarted { vm, .. })
        | Event::TestSlow(TestSlow { vm, .. })
        | Event::KernelReport(KernelReport { vm, .. })
        | Event::VmStopped(VmStopped { vm, .. })
        | Event::VmLost(VmLost { vm, .. }) => Some(vm),
        Event::AttemptFinished(result) | Event::TestFinished(result) => Some(&mut result.vm),
        _ => None,
    }
}

/// A warning that is not about a kernel.
pub(super) fn of_the_run(message: String) -> Warning {
    Warning {
        kernel: None,
        message,
    }
}
