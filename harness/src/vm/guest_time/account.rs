//! Adds up a guest's own time from what its VM's threads did.

use std::collections::VecDeque;
use std::time::Duration;

/// How many intervals a wait may reach back that has just ended.
const RECENT: usize = 64;

/// If we look at the threads this much after the last time, then nobody let us run, and probably
/// not the VM either.
const LATE: Duration = Duration::from_millis(500);

/// What a thread has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::vm) struct Busy {
    /// It ran on a host CPU.
    pub(super) ran: Duration,
    /// It was ready to run, and waited for a host CPU.
    pub(super) waited: Duration,
}

impl Busy {
    /// What it has done since it had done `before`.
    pub(in crate::vm) fn since(self, before: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
        }
    }

    /// What both have done.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            ran: self.ran + other.ran,
            waited: self.waited + other.waited,
        }
    }

    fn total(self) -> Duration {
        self.ran + self.waited
    }

    /// How much of the time in which it had something to do it also ran, from 0 to 1.
    pub(in crate::vm) fn share(self) -> f64 {
        if self.ran.is_zero() {
            return 1.0;
        }
        self.ran.div_duration_f64(self.total())
    }
}

/// Time on the host, by what the VM did in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    /// All threads slept: the guest waited, for a timer for example.
    idle: Duration,
    /// At least one ran.
    ran: Duration,
    /// None ran, but at least one waited for a host CPU.
    waited: Duration,
    /// The last intervals, the newest first.
    recent: VecDeque<Interval>,
}

#[derive(Debug, Clone, Copy)]
struct Interval {
    length: Duration,
    /// How much of it counts as idle.
    idle: Duration,
}

impl Account {
    /// Counts an interval in which each thread did this.
    pub(super) fn count(&mut self, interval: Duration, before: &[Busy], now: &[Busy]) {
        let mut all = Busy::default();
        let mut most = Duration::ZERO;
        for (now, before) in now.iter().zip(before) {
            let did = now.since(*before);
            all = all.and(did);
            most = most.max(did.total());
        }
        let ran = all.ran.min(interval);
        let waited = all.waited.min(interval.saturating_sub(ran));
        let idle = interval.saturating_sub(ran + waited);
        let missed = idle.saturating_sub(LATE);
        self.ran += ran + missed;
        self.waited += waited;
        self.idle += idle.min(LATE);
        self.waited_before(most.saturating_sub(interval));
        self.recent.truncate(RECENT - 1);
        self.recent.push_front(Interval {
            length: interval,
            idle: idle.min(LATE),
        });
    }

    /// Linux counts a wait when it is over: what looked idle in this time before the current
    /// interval was not.
    fn waited_before(&mut self, mut time: Duration) {
        for interval in &mut self.recent {
            let waited = interval.idle.min(time);
            interval.idle = interval.idle.saturating_sub(waited);
            self.idle = self.idle.saturating_sub(waited);
            self.waited += waited;
            time = time.saturating_sub(interval.length);
        }
    }

    /// The guest's own time, in a VM that is `factor` times slower than the reference.
    ///
    /// What the guest computes takes it `factor` times longer, and what it waits for takes as long
    /// as everywhere. In a VM that waits for a host CPU nothing goes on. A factor below 1, which
    /// only users ask for, shortens everything.
    pub(super) fn guest_time(&self, factor: f64) -> Duration {
        self.ran.div_f64(factor) + self.idle.div_f64(factor.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FACTOR: f64 = 10.0;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Threads of a made VM, and a made clock.
    struct Made {
        threads: Vec<Busy>,
        account: Account,
    }

    impl Made {
        fn new(threads: usize) -> Self {
            Self {
                threads: vec![Busy::default(); threads],
                account: Account::default(),
            }
        }

        /// `interval` passes, in which each thread runs and waits for so many milliseconds.
        fn pass(&mut self, interval: u64, did: &[(u64, u64)]) {
            let before = self.threads.clone();
            for (thread, (ran, waited)) in self.threads.iter_mut().zip(did) {
                thread.ran += ms(*ran);
                thread.waited += ms(*waited);
            }
            self.account.count(ms(interval), &before, &self.threads);
        }

        fn time(&self) -> Duration {
            self.account.guest_time(FACTOR)
        }
    }

    #[test]
    fn waiting_counts_in_full_and_work_by_the_factor() {
        let mut vm = Made::new(1);
        vm.pass(50, &[(0, 0)]);
        assert_eq!(vm.time(), ms(50));
        vm.pass(50, &[(50, 0)]);
        assert_eq!(vm.time(), ms(55));
        vm.pass(50, &[(20, 0)]);
        assert_eq!(vm.time(), ms(55 + 2 + 30));
    }

    #[test]
    fn a_busy_host_makes_the_same_work_cost_no_more() {
        let mut idle_host = Made::new(1);
        idle_host.pass(50, &[(30, 0)]);
        // Three programs on the same CPU.
        let mut busy_host = Made::new(1);
        for _ in 0..2 {
            busy_host.pass(50, &[(15, 30)]);
        }
        busy_host.pass(10, &[(0, 0)]);
        assert_eq!(idle_host.time(), busy_host.time());
    }

    #[test]
    fn a_wait_that_linux_reports_when_it_is_over_was_not_idle() {
        let mut vm = Made::new(1);
        vm.pass(50, &[(0, 0)]);
        vm.pass(50, &[(0, 0)]);
        assert_eq!(vm.time(), ms(100));
        // It was ready to run for all of the 150 ms.
        vm.pass(50, &[(0, 150)]);
        assert_eq!(vm.time(), ms(0));
    }

    #[test]
    fn a_wait_beside_work_takes_nothing_from_other_times() {
        let mut vm = Made::new(2);
        vm.pass(100, &[(0, 0), (0, 0)]);
        // The vCPU runs, and another thread waits for a CPU all the while.
        vm.pass(50, &[(50, 0), (0, 0)]);
        vm.pass(50, &[(50, 0), (0, 100)]);
        assert_eq!(vm.time(), ms(100 + 10));
    }

    #[test]
    fn of_several_threads_one_that_works_is_enough() {
        let mut vm = Made::new(3);
        vm.pass(50, &[(50, 0), (50, 0), (0, 0)]);
        assert_eq!(vm.time(), ms(5));
        // The vCPU sleeps while a share reads for it.
        vm.pass(50, &[(20, 0), (0, 0), (20, 10)]);
        assert_eq!(vm.time(), ms(5 + 4));
    }

    #[test]
    fn time_in_which_nobody_looked_does_not_count_as_the_guest_s_wait() {
        let mut vm = Made::new(1);
        vm.pass(10_500, &[(0, 0)]);
        assert_eq!(vm.time(), ms(500 + 1000));
    }

    #[test]
    fn a_factor_below_one_shortens_everything() {
        let mut vm = Made::new(1);
        vm.pass(50, &[(25, 0)]);
        assert_eq!(vm.account.guest_time(0.5), ms(100));
    }

    proptest! {
        #[test]
        fn guest_time_lies_between_all_work_and_all_waiting(
            intervals in proptest::collection::vec(
                (1_u64..400, proptest::collection::vec((0_u64..500, 0_u64..500), 3)),
                0..20,
            ),
            factor in 0.1_f64..100.0,
        ) {
            let mut vm = Made::new(3);
            let mut wall = Duration::ZERO;
            for (interval, did) in intervals {
                wall += ms(interval);
                vm.pass(interval, &did);
                let (waited, sum) = (vm.account.waited, vm.account.idle + vm.account.ran);
                prop_assert_eq!(sum + waited, wall);
                let time = vm.account.guest_time(factor);
                let slack = Duration::from_micros(1);
                prop_assert!(time <= wall.div_f64(factor.min(1.0)) + slack);
                prop_assert!(time + slack >= wall.saturating_sub(waited).div_f64(factor.max(1.0)));
            }
        }
    }
}
