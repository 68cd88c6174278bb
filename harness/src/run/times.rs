//! How long tests and boots took in earlier runs: the longest tests start first, and a further VM
//! boots only if that saves time.
//!
//! Times are estimates: unknown times, or a cache that cannot be written, change no verdict. Times
//! that no run has seen for a while are dropped, since tests get renamed, and kernels given as
//! paths come and go.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::event::{Event, Verdict};
use crate::whole_file;

const FILE: &str = "times.json";
const LOCK: &str = "times.lock";
/// How long to wait for another harness that writes the file, and how often to check.
const LOCK_TRIES: u32 = 20;
const LOCK_POLL: Duration = Duration::from_millis(50);

/// If no times are known, boot a further VM from this many remaining tests per VM on.
const WORTH_A_BOOT: usize = 4;

/// Days after which to drop a time that no run has seen.
const KEPT_DAYS: u64 = 60;
/// How many kernels to remember; those that ran last.
const MAX_KERNELS: usize = 100;

/// How long something took, in milliseconds, and the day (in Unix time) when it last ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen(u64, u64);

impl Seen {
    fn now(millis: u64) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(millis, since.map_or(0, |time| time.as_secs() / 86400))
    }

    /// Averages it with the earlier value.
    fn after(self, before: Option<Self>) -> Self {
        let millis = before.map_or(self.0, |before| before.0.midpoint(self.0));
        Self(millis, self.1)
    }

    fn fresh(self, today: u64) -> bool {
        today.saturating_sub(self.1) <= KEPT_DAYS
    }
}

/// Times of one kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct KernelTimes {
    boot: Option<Seen>,
    /// Suite, then id.
    tests: BTreeMap<String, BTreeMap<String, Seen>>,
}

impl KernelTimes {
    /// The day when anything of it was last seen.
    fn last_seen(&self) -> Option<u64> {
        let tests = self.tests.values().flat_map(BTreeMap::values);
        tests.chain(&self.boot).map(|seen| seen.1).max()
    }

    fn forget(&mut self, today: u64) {
        self.boot = self.boot.filter(|boot| boot.fresh(today));
        for tests in self.tests.values_mut() {
            tests.retain(|_, seen| seen.fresh(today));
        }
        self.tests.retain(|_, tests| !tests.is_empty());
    }
}

/// Times by kernel.
#[derive(Debug, Clone, Default)]
pub struct Times {
    dir: PathBuf,
    kernels: BTreeMap<String, KernelTimes>,
}

impl Times {
    /// Reads what earlier runs left in the cache; empty if it cannot be read.
    pub fn load(cache_dir: &Path) -> Self {
        Self {
            dir: cache_dir.to_owned(),
            kernels: read(cache_dir),
        }
    }

    /// An empty one for the same cache.
    pub(super) fn fresh(&self) -> Self {
        Self {
            dir: self.dir.clone(),
            kernels: BTreeMap::new(),
        }
    }

    /// How long these tests (suite, id) take on this kernel; unknown ones count as the mean of the
    /// known ones. `None` if all are unknown.
    pub fn estimate<'t>(
        &self,
        kernel: &str,
        tests: impl IntoIterator<Item = (&'t str, String)>,
    ) -> Option<Vec<Duration>> {
        let kernel = self.kernels.get(kernel)?;
        let known: Vec<Option<u64>> = tests
            .into_iter()
            .map(|(suite, id)| Some(kernel.tests.get(suite)?.get(&id)?.0))
            .collect();
        let count = known.iter().flatten().count() as u64;
        let mean = known.iter().flatten().sum::<u64>().checked_div(count)?;
        let millis = known.into_iter().map(|time| time.unwrap_or(mean));
        Some(millis.map(Duration::from_millis).collect())
    }

    /// How long a boot of this kernel takes.
    pub(super) fn boot(&self, kernel: &str) -> Option<Duration> {
        let Seen(boot, _) = self.kernels.get(kernel)?.boot?;
        Some(Duration::from_millis(boot))
    }

    /// Records the times in an event.
    pub(super) fn observe(&mut self, event: &Event) {
        match event {
            Event::VmStarted(up) => {
                let kernel = self.kernels.entry(up.kernel.clone()).or_default();
                kernel.boot = Some(Seen::now(up.boot_ms));
            }
            // A test that was lost or cut short says nothing about the next time; the cases of a
            // command are not planned on their own.
            Event::TestFinished(result) | Event::AttemptFinished(result)
                if !matches!(result.verdict, Verdict::Lost | Verdict::Error)
                    && result.case_of.is_none() =>
            {
                let kernel = self.kernels.entry(result.kernel.clone()).or_default();
                let suite = kernel.tests.entry(result.suite.clone()).or_default();
                suite.insert(result.id.clone(), Seen::now(result.duration_ms));
            }
            _ => {}
        }
    }

    /// Merges these times into those in the cache, and drops old ones. Earlier values count half,
    /// so a busy moment is forgotten after a few runs.
    pub(super) fn keep(&self) -> io::Result<()> {
        if self.kernels.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(&self.dir)?;
        let _lock = lock(&self.dir.join(LOCK))?;
        let mut all = read(&self.dir);
        for (name, new) in &self.kernels {
            let old = all.entry(name.clone()).or_default();
            if let Some(boot) = new.boot {
                old.boot = Some(boot.after(old.boot));
            }
            for (suite, tests) in &new.tests {
                let old = old.tests.entry(suite.clone()).or_default();
                for (id, time) in tests {
                    let before = old.get(id).copied();
                    old.insert(id.clone(), time.after(before));
                }
            }
        }
        forget(&mut all, Seen::now(0).1);
        whole_file::remember(&self.dir.join(FILE), &all)
    }
}

fn forget(all: &mut BTreeMap<String, KernelTimes>, today: u64) {
    for kernel in all.values_mut() {
        kernel.forget(today);
    }
    all.retain(|_, kernel| kernel.last_seen().is_some());
    if all.len() > MAX_KERNELS {
        let mut days: Vec<_> = all.values().map(KernelTimes::last_seen).collect();
        days.sort_unstable();
        // Days are coarse: of the oldest day, keep as many as there is room for.
        let first = days[days.len() - MAX_KERNELS];
        let mut room = MAX_KERNELS - days.iter().filter(|day| **day > first).count();
        all.retain(|_, kernel| {
            let day = kernel.last_seen();
            let kept = day > first || (day == first && room > 0);
            room -= usize::from(kept && day == first);
            kept
        });
    }
}

/// All times.
fn read(dir: &Path) -> BTreeMap<String, KernelTimes> {
    whole_file::recall(&dir.join(FILE))
}

fn lock(path: &Path) -> io::Result<Flock<File>> {
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    for _ in 0..LOCK_TRIES {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, _)) => file = back,
        }
        std::thread::sleep(LOCK_POLL);
    }
    Err(io::Error::new(
        io::ErrorKind::WouldBlock,
        format!("another kiln holds {}", path.display()),
    ))
}

/// The known times of the tests of one kernel in a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    boot: Option<Duration>,
    /// By the test's index in the plan.
    tests: BTreeMap<usize, Duration>,
}

impl Pace {
    /// From estimates of `tests`, and of a boot.
    pub(super) fn new(
        tests: &[usize],
        estimates: Option<Vec<Duration>>,
        boot: Option<Duration>,
    ) -> Self {
        Self {
            boot,
            tests: tests
                .iter()
                .copied()
                .zip(estimates.into_iter().flatten())
                .collect(),
        }
    }

    /// The time of a test; the mean of the kernel's if only that is known.
    pub(super) fn of(&self, test: usize) -> Option<Duration> {
        self.tests.get(&test).copied()
    }

    /// Of all tests; `None` if nothing is known.
    pub(super) fn total(&self) -> Option<Duration> {
        (!self.tests.is_empty()).then(|| self.tests.values().sum())
    }

    /// Whether the queue is worth one more VM besides the existing `workers`.
    ///
    /// Without it they need `queued / workers`, with another one about `(queued + boot) / (workers
    /// + 1)`; that is less if `queued` is more than `workers * boot`.
    pub(super) fn worth_a_vm(
        &self,
        queue: impl ExactSizeIterator<Item = usize>,
        workers: usize,
    ) -> bool {
        let length = queue.len();
        if workers == 0 || length == 0 {
            return length > 0;
        }
        let queued: Option<Duration> = queue.map(|test| self.tests.get(&test).copied()).sum();
        match (queued, self.boot) {
            (Some(queued), Some(boot)) => {
                let workers = u32::try_from(workers).unwrap_or(u32::MAX);
                queued > boot.saturating_mul(workers)
            }
            _ => length > workers * WORTH_A_BOOT,
        }
    }

    /// Sorts by time, the longest first; equal and unknown ones stay in order.
    pub(super) fn sort(&self, tests: &mut [usize]) {
        tests.sort_by_key(|test| std::cmp::Reverse(self.tests.get(test)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn times(dir: &Path, boot: u64, tests: &[(&str, u64)]) -> Times {
        let by_id = tests
            .iter()
            .map(|&(id, ms)| (id.to_owned(), Seen::now(ms)))
            .collect();
        let kernel = KernelTimes {
            boot: Some(Seen::now(boot)),
            tests: BTreeMap::from([("s".to_owned(), by_id)]),
        };
        Times {
            dir: dir.to_owned(),
            kernels: BTreeMap::from([("6.1".to_owned(), kernel)]),
        }
    }

    fn estimate(times: &Times, kernel: &str, ids: &[&str]) -> Option<Vec<u128>> {
        let tests = ids.iter().map(|&id| ("s", id.to_owned()));
        let found = times.estimate(kernel, tests)?;
        Some(found.iter().map(Duration::as_millis).collect())
    }

    #[test]
    fn times_are_kept_beside_those_of_other_runs_and_the_past_counts_half() {
        let dir = tempfile::tempdir().unwrap();
        times(dir.path(), 4, &[("a", 10), ("b", 20)])
            .keep()
            .unwrap();
        times(dir.path(), 8, &[("a", 30)]).keep().unwrap();
        let found = Times::load(dir.path());
        assert_eq!(found.boot("6.1"), Some(Duration::from_millis(6)));
        assert_eq!(estimate(&found, "6.1", &["a", "b"]), Some(vec![20, 20]));
    }

    #[test]
    fn what_is_not_known_takes_the_mean() {
        let known = times(Path::new("/"), 1, &[("a", 10), ("b", 30)]);
        let found = estimate(&known, "6.1", &["new", "b", "a"]);
        assert_eq!(found, Some(vec![20, 30, 10]));
        assert_eq!(estimate(&known, "6.1", &["new"]), None);
        assert_eq!(estimate(&known, "5.10", &["a"]), None);
    }

    #[test]
    fn a_damaged_file_is_forgotten_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{\"6.1\":[]}").unwrap();
        assert_eq!(estimate(&Times::load(dir.path()), "6.1", &["a"]), None);
        times(dir.path(), 4, &[("a", 10)]).keep().unwrap();
        let found = Times::load(dir.path());
        assert_eq!(estimate(&found, "6.1", &["a"]), Some(vec![10]));
    }

    #[test]
    fn two_that_write_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for id in ["a", "b", "c", "d"] {
                let path = dir.path();
                scope.spawn(move || times(path, 1, &[(id, 5)]).keep().unwrap());
            }
        });
        let found = Times::load(dir.path());
        let all = estimate(&found, "6.1", &["a", "b", "c", "d"]);
        assert_eq!(all, Some(vec![5; 4]));
        assert_eq!(found.kernels["6.1"].tests["s"].len(), 4);
    }

    #[test]
    fn what_no_run_has_seen_for_long_is_forgotten() {
        let kernel = |boot, tests: &[(&str, u64)]| KernelTimes {
            boot: Some(Seen(1, boot)),
            tests: BTreeMap::from([(
                "s".to_owned(),
                tests
                    .iter()
                    .map(|&(id, day)| (id.to_owned(), Seen(1, day)))
                    .collect(),
            )]),
        };
        let mut all = BTreeMap::from([
            ("6.1".to_owned(), kernel(1000, &[("old", 900), ("a", 1000)])),
            ("/tmp/linux".to_owned(), kernel(900, &[("a", 900)])),
        ]);
        forget(&mut all, 1000);
        let kept = BTreeMap::from([("6.1".to_owned(), kernel(1000, &[("a", 1000)]))]);
        assert_eq!(all, kept);
    }

    #[test]
    fn no_more_kernels_are_remembered_than_anybody_has() {
        let mut all: BTreeMap<_, _> = (0..300_u64)
            .map(|index| {
                let kernel = KernelTimes {
                    boot: Some(Seen(1, 1000 + index / 40)),
                    tests: BTreeMap::new(),
                };
                (format!("{index:03}"), kernel)
            })
            .collect();
        forget(&mut all, 1010);
        assert_eq!(all.len(), MAX_KERNELS);
        assert!(all.contains_key("299") && !all.contains_key("199"));
    }

    #[test]
    fn cases_of_a_command_are_not_tests_that_are_planned() {
        use crate::report::samples::result;
        let mut times = Times::default();
        let mut case = result("6.1", "s.case", Verdict::Pass, "");
        case.case_of = Some("s.command".to_owned());
        times.observe(&Event::TestFinished(case));
        assert!(times.kernels.is_empty());
        let whole = result("6.1", "s.command", Verdict::Pass, "");
        times.observe(&Event::TestFinished(whole));
        assert_eq!(times.kernels["6.1"].tests["bpftrace"].len(), 1);
    }

    fn pace(boot: u64, seconds: &[u64]) -> Pace {
        let tests: Vec<usize> = (0..seconds.len()).collect();
        let times = seconds.iter().map(|&s| Duration::from_secs(s)).collect();
        Pace::new(&tests, Some(times), Some(Duration::from_secs(boot)))
    }

    #[test]
    fn a_further_vm_must_save_more_than_its_boot() {
        let pace = pace(10, &[4, 4, 4]);
        assert!(pace.worth_a_vm(0..1, 0), "the first one always");
        assert!(!pace.worth_a_vm(0..0, 0));
        assert!(!pace.worth_a_vm(0..2, 1));
        assert!(pace.worth_a_vm(0..3, 1));
        assert!(!pace.worth_a_vm(0..3, 2));
    }

    #[test]
    fn without_times_the_number_of_tests_decides() {
        let pace = Pace::default();
        assert!(!pace.worth_a_vm(0..4, 1));
        assert!(pace.worth_a_vm(0..5, 1));
        assert!(!pace.worth_a_vm(0..5, 2));
    }

    #[test]
    fn the_longest_come_first_and_equals_stay_in_order() {
        let mut order = vec![0, 1, 2, 3];
        pace(1, &[2, 5, 2, 9]).sort(&mut order);
        assert_eq!(order, [3, 1, 0, 2]);
        let mut order = vec![2, 0, 1];
        Pace::default().sort(&mut order);
        assert_eq!(order, [2, 0, 1]);
    }
}
