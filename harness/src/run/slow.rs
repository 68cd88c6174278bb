//! When to report a running test as slow.

use std::time::Duration;

use super::place::UNLIMITED;
use super::plan::{Plan, PlannedRunner, PlannedTest, Work};

/// How much of its limits a test may use before it is reported.
const PART: f64 = 0.75;

/// How long this test may run until it is reported as slow, in a VM whose limits are multiplied by
/// `factor`.
pub(super) fn slow_after(plan: &Plan, test: &PlannedTest, factor: f64) -> Duration {
    let limits = match (&test.work, &plan.suite_of(test).runner) {
        (Work::Command(command), _) => command.timeout,
        (Work::Runtime(runtime), runner) => {
            let attach = match runner {
                PlannedRunner::Bpftrace(suite) => suite.vocabulary.dialect.attach_limit,
                PlannedRunner::Command => Duration::ZERO,
            };
            attach + runtime.timeout.unwrap_or(UNLIMITED)
        }
    };
    let asked = plan.policies.slow_timeout;
    asked.unwrap_or_else(|| limits.mul_f64(factor * PART))
}
