//! The guest's clocks.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

const SECOND: i64 = 1_000_000_000;

/// Nanoseconds since 1970; 0 if the clock cannot be read.
pub(super) fn realtime() -> i64 {
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, nanoseconds)
}

/// Since the kernel started its clock. Nothing in the guest can set it.
pub(super) fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// The same in nanoseconds.
pub(super) fn since_boot_ns() -> u64 {
    u64::try_from(since_boot().as_nanos()).unwrap_or(u64::MAX)
}

/// Adjusts the wall clock. By an offset, not to a time: on a busy host it may take a while until
/// the request arrives.
pub(super) fn adjust(delta: i64) -> nix::Result<()> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    let then = nanoseconds(now).saturating_add(delta);
    let then = TimeSpec::new(then.div_euclid(SECOND), then.rem_euclid(SECOND));
    clock_settime(ClockId::CLOCK_REALTIME, then)
}

fn nanoseconds(time: TimeSpec) -> i64 {
    time.tv_sec()
        .saturating_mul(SECOND)
        .saturating_add(time.tv_nsec())
}
