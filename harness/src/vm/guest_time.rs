//! The guest's own time, in which the limits of tests count.
//!
//! Under TCG a guest computes many times slower than the machine that a test's author had, so a
//! limit cannot be taken as it is. But it sleeps no longer: were the limit multiplied by the VM's
//! slowness, a test that waits for nothing would wait for minutes. So time in which the VM works
//! counts divided by its slowness, time in which it is idle counts in full, and time in which it
//! waits for a CPU of the host does not count. A busy host then changes no verdict, unless it is so
//! busy that a limit on the wall clock passes.

mod account;
mod threads;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use self::account::Account;
pub(super) use self::account::Busy;
pub(super) use self::threads::Threads;

/// How often to look what the VM does while a limit runs.
const TICK: Duration = Duration::from_millis(50);

/// A limit passes at the latest when it has taken this many times as long on the host as work
/// without a pause would take. An idle host needs 1 at most, and one on which four programs
/// compete for each CPU needs 4.
const BUSIEST: f64 = 4.0;

/// A guest's clock. Clones share it.
#[derive(Debug, Clone)]
pub struct GuestTime(Arc<Mutex<Clock>>);

#[derive(Debug)]
struct Clock {
    meter: Box<dyn Meter>,
    factor: f64,
    account: Account,
    at: Instant,
    /// What the meter showed then.
    last: Vec<Busy>,
}

/// Shows what the threads of a VM have done since a moment in the past; the vCPUs come first.
trait Meter: Debug + Send {
    fn look(&mut self, now: Instant) -> Vec<Busy>;

    /// How many vCPUs there are.
    fn vcpus(&self) -> usize;
}

impl Meter for Threads {
    fn look(&mut self, _now: Instant) -> Vec<Busy> {
        self.look().to_vec()
    }

    fn vcpus(&self) -> usize {
        self.vcpus
    }
}

/// Of a VM of which nothing is known: it has worked all the time since then.
#[derive(Debug)]
struct Unknown(Instant);

impl Meter for Unknown {
    fn look(&mut self, now: Instant) -> Vec<Busy> {
        vec![Busy {
            ran: now.duration_since(self.0),
            waited: Duration::ZERO,
        }]
    }

    fn vcpus(&self) -> usize {
        0
    }
}

impl Clock {
    /// The guest's time since this clock was made.
    fn now(&mut self) -> Duration {
        let now = Instant::now();
        let busy = self.meter.look(now);
        let interval = now.duration_since(self.at);
        self.account.count(interval, &self.last, &busy);
        self.at = now;
        self.last = busy;
        self.account.guest_time(self.factor)
    }
}

impl GuestTime {
    /// Of a VM of which nothing is known: it seems to work all the time.
    pub(super) fn unmetered() -> Self {
        Self::of(Unknown(Instant::now()))
    }

    /// Of the VM that has these threads.
    pub(super) fn metered(threads: Threads) -> Self {
        Self::of(threads)
    }

    fn of(mut meter: impl Meter + 'static) -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(Clock {
            last: meter.look(now),
            meter: Box::new(meter),
            factor: 1.0,
            account: Account::default(),
            at: now,
        })))
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how many times slower than the reference the VM is, also for limits that have started.
    pub fn set_factor(&self, factor: f64) {
        self.clock().factor = factor;
    }

    /// The guest's time, since a moment in the past.
    pub fn now(&self) -> Duration {
        self.clock().now()
    }

    /// A limit that starts now and passes when the guest has had this much time.
    pub fn limit(&self, limit: Duration) -> Limit {
        let mut clock = self.clock();
        Limit {
            guest: Some((self.clone(), clock.now() + limit)),
            latest: Instant::now() + limit.mul_f64(clock.factor * BUSIEST),
        }
    }

    /// What the vCPUs have done since a moment in the past.
    pub(super) fn vcpus(&self) -> Busy {
        let mut clock = self.clock();
        let vcpus = clock.meter.vcpus();
        let busy = clock.meter.look(Instant::now());
        busy.into_iter()
            .take(vcpus)
            .fold(Busy::default(), Busy::and)
    }
}

/// A time limit, in a guest's own time or on the host's clock.
#[derive(Debug, Clone)]
pub struct Limit {
    /// The guest's clock, and when the limit passes by it.
    guest: Option<(GuestTime, Duration)>,
    /// When it passes at the latest.
    latest: Instant,
}

impl From<Instant> for Limit {
    /// On the host's clock.
    fn from(latest: Instant) -> Self {
        Self {
            guest: None,
            latest,
        }
    }
}

impl Limit {
    /// The same limit, but it passes after this much time on the host at the latest.
    #[must_use]
    pub fn at_most(mut self, host: Duration) -> Self {
        self.latest = self.latest.min(Instant::now() + host);
        self
    }

    /// Waits until it has passed. Returns how late we noticed.
    pub async fn passed(&self) -> Duration {
        let mut look = Instant::now();
        loop {
            let late = look.elapsed();
            let Some((time, ends)) = &self.guest else {
                sleep_until(self.latest).await;
                return self.latest.elapsed();
            };
            let left = ends.saturating_sub(time.now());
            if left.is_zero() || Instant::now() >= self.latest {
                return late;
            }
            look = self.latest.min(Instant::now() + left.min(TICK));
            sleep_until(look).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A VM that works as a function of the time since it started.
    #[derive(Debug)]
    struct Made {
        start: Instant,
        busy: fn(Duration) -> Busy,
    }

    impl Meter for Made {
        fn look(&mut self, now: Instant) -> Vec<Busy> {
            vec![(self.busy)(now.duration_since(self.start))]
        }

        fn vcpus(&self) -> usize {
            1
        }
    }

    /// How long a limit of five seconds takes in a VM that is ten times slower.
    async fn five_seconds(busy: fn(Duration) -> Busy) -> f64 {
        let start = Instant::now();
        let time = GuestTime::of(Made { start, busy });
        time.set_factor(10.0);
        let late = time.limit(Duration::from_secs(5)).passed().await;
        assert!(late < TICK, "{late:?}");
        start.elapsed().as_secs_f64()
    }

    fn ran(ran: Duration) -> Busy {
        Busy {
            ran,
            waited: Duration::ZERO,
        }
    }

    #[track_caller]
    fn about(found: f64, expected: f64) {
        let off = (found - expected).abs();
        assert!(
            off <= 2.0 * TICK.as_secs_f64(),
            "{found} instead of {expected}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_passes_soon_for_who_sleeps_and_late_for_who_works() {
        about(five_seconds(|_| Busy::default()).await, 5.0);
        about(five_seconds(ran).await, 50.0);
        // Two seconds of sleep leave three for work.
        let sleeps_first = |at: Duration| ran(at.saturating_sub(Duration::from_secs(2)));
        about(five_seconds(sleeps_first).await, 2.0 + 30.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_waits_for_a_busy_host_but_not_for_ever() {
        let half = |at: Duration| Busy {
            ran: at / 2,
            waited: at / 2,
        };
        about(five_seconds(half).await, 100.0);
        let starved = |at: Duration| Busy {
            ran: Duration::ZERO,
            waited: at,
        };
        about(five_seconds(starved).await, 50.0 * BUSIEST);
    }

    #[tokio::test(start_paused = true)]
    async fn of_an_unknown_vm_all_time_is_work() {
        let time = GuestTime::unmetered();
        time.set_factor(10.0);
        let start = Instant::now();
        time.limit(Duration::from_secs(5)).passed().await;
        about(start.elapsed().as_secs_f64(), 50.0);
        let limit = time.limit(Duration::from_secs(5));
        limit.at_most(Duration::from_secs(8)).passed().await;
        about(start.elapsed().as_secs_f64(), 58.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_on_the_host_s_clock_is_just_that() {
        let start = Instant::now();
        let late = Limit::from(start + Duration::from_secs(3)).passed().await;
        assert!(late < TICK, "{late:?}");
        about(start.elapsed().as_secs_f64(), 3.0);
    }
}
