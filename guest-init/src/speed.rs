//! The work that measures how fast a VM is.
//!
//! Time limits of tests assume a machine like their author's; under TCG a guest is tens of times
//! slower. To express that as one number, the guest times a fixed piece of work, and the host
//! compares it with [`REFERENCE_MICROS`].

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long [`work`] takes on the machines that upstream's limits assume, in microseconds:
/// guest-init itself run natively on an idle AMD EPYC core (it prints the figure when it is not PID
/// 1), median of seven, rounded.
pub const REFERENCE_MICROS: u64 = 7_500;

const ROUNDS: u64 = 400_000;
const PAGES: usize = 1024;
const PAGE: usize = 4096;

/// Does the work once and returns how long it took.
///
/// One part computes with unpredictable branches, the other touches fresh
/// pages: what dominates the start of a program as large as bpftrace is page
/// faults, and emulation slows them more than arithmetic.
pub fn work() -> Duration {
    let start = Instant::now();
    let mut state = black_box(0x9e37_79b9_7f4a_7c15_u64);
    let mut odd = 0_u64;
    for _ in 0..ROUNDS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state & 1 == 1 {
            odd = odd.wrapping_add(state);
        } else {
            odd = odd.rotate_left(3);
        }
    }
    black_box(odd);
    for round in 0..4_u8 {
        // Above malloc's mmap threshold, so every round faults its pages again.
        let mut memory = Vec::<u8>::with_capacity(PAGES * PAGE);
        memory.resize(PAGES * PAGE, round);
        black_box(memory.as_slice());
    }
    start.elapsed()
}

/// How many times slower than the reference a duration of `micros` is; never below 1, so that a
/// fast machine does not shorten any limits.
pub fn factor(micros: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds, far below 2^52")]
    let ratio = micros as f64 / REFERENCE_MICROS as f64;
    ratio.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_takes_measurable_time() {
        assert!(work() > Duration::from_micros(500));
    }

    #[test]
    fn a_fast_machine_does_not_shorten_limits() {
        assert!((factor(1) - 1.0).abs() < f64::EPSILON);
        assert!((factor(REFERENCE_MICROS * 35) - 35.0).abs() < 1e-9);
    }
}
