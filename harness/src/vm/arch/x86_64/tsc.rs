//! The frequency of the host's time stamp counter.
//!
//! A TCG guest's `rdtsc` returns the host's counter (QEMU's `cpu_get_host_ticks`), and on `microvm`
//! the guest has no HPET or PM timer to calibrate it against: on a busy host calibration fails and
//! the boot hangs. `tsc_early_khz=` gives the guest the frequency instead.

use std::sync::OnceLock;

/// Frequency of the host's TSC in kHz, measured once (about 5 ms); `None` if the host has no TSC.
pub(super) fn khz() -> Option<u64> {
    static KHZ: OnceLock<Option<u64>> = OnceLock::new();
    *KHZ.get_or_init(measure::khz)
}

#[cfg(target_arch = "x86_64")]
mod measure {
    use std::thread;
    use std::time::Duration;

    use nix::time::{ClockId, clock_gettime};

    /// Time between the two samples: an error of a microsecond is 200 ppm, and the kernel tolerates
    /// 500 (NTP's limit).
    const SPAN: Duration = Duration::from_millis(5);

    /// Attempts to get an uninterrupted sample.
    const ATTEMPTS: usize = 8;

    /// One instant, on both clocks.
    struct Sample {
        tsc: u64,
        nanoseconds: i128,
    }

    pub(super) fn khz() -> Option<u64> {
        let start = sample()?;
        thread::sleep(SPAN);
        let end = sample()?;
        let elapsed = end.nanoseconds - start.nanoseconds;
        let ticks = i128::from(end.tsc.checked_sub(start.tsc)?);
        if elapsed <= 0 {
            return None;
        }
        // Ticks per nanosecond are millions of kHz.
        u64::try_from(ticks * 1_000_000 / elapsed)
            .ok()
            .filter(|khz| *khz > 0)
    }

    /// Reads the counter between two readings of the clock, and takes the attempt with the shortest
    /// interval.
    fn sample() -> Option<Sample> {
        (0..ATTEMPTS)
            .filter_map(|_| {
                let before = now()?;
                // SAFETY: RDTSC exists on every x86-64 processor and reads a register only.
                // (PR_SET_TSC can forbid it to a process, which would then get SIGSEGV; nobody does
                // that to us.)
                #[allow(unused_unsafe)]
                let tsc = unsafe { core::arch::x86_64::_rdtsc() };
                let after = now()?;
                Some((
                    after - before,
                    Sample {
                        tsc,
                        nanoseconds: i128::midpoint(before, after),
                    },
                ))
            })
            .min_by_key(|(width, _)| *width)
            .map(|(_, sample)| sample)
    }

    /// The clock that NTP does not adjust, in nanoseconds.
    fn now() -> Option<i128> {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC_RAW).ok()?;
        Some(i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec()))
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod measure {
    pub(super) fn khz() -> Option<u64> {
        None
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    #[test]
    fn the_measurement_is_the_frequency_of_a_processor() {
        // Not stricter: a busy machine may preempt us at any time.
        let khz = super::measure::khz().unwrap();
        assert!((500_000..10_000_000).contains(&khz), "{khz}");
    }
}
