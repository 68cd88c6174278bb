//! When to report a running test as slow.

use super::plan::{Plan, PlannedTest};
use crate::vm::guest_time::GuestTime;

/// How much of its limits a test may use before it is reported.
const PART: f64 = 0.75;

/// Waits until this test, which starts now, is to be reported as slow: `--slow-timeout` is on the
/// host's clock, and the test's limits are in the guest's own time.
pub(super) async fn is_slow(plan: &Plan, test: PlannedTest, time: &GuestTime) {
    if let Some(asked) = plan.policies.slow_timeout {
        tokio::time::sleep(asked).await;
    } else {
        let part = plan.test(test).limit.mul_f64(PART);
        time.limit(part).passed().await;
    }
}
