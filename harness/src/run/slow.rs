//! When to report a running test as slow.

use std::time::Duration;

use super::plan::{Plan, PlannedTest};

/// How much of its limits a test may use before it is reported.
const PART: f64 = 0.75;

/// How long this test may run until it is reported as slow, in a VM whose limits are multiplied by
/// `factor`.
pub(super) fn slow_after(plan: &Plan, test: PlannedTest, factor: f64) -> Duration {
    let asked = plan.policies.slow_timeout;
    asked.unwrap_or_else(|| plan.test(test).limit.mul_f64(factor * PART))
}
