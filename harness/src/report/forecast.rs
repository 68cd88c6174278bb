//! When a run will end, by how long its tests took in earlier runs.

use std::collections::HashMap;

use super::History;
use crate::run::event::{Event, Record};

/// Known times that must be over before the pace of this run counts, in milliseconds.
const PACE_FROM: u64 = 10_000;
/// Tests that must be over before their mean time counts, where no times are known.
const MEAN_FROM: usize = 10;
/// Most that the pace may differ from earlier runs: 19 of 20 tests of a busy machine.
const MAX_PACE: u64 = 20;

/// Folds the events so far. Times are in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Forecast {
    /// What the tests of each kernel take, if it is known of all kernels.
    planned: Option<HashMap<String, u64>>,
    /// The same of the tests that are over, and how long they took.
    expected: u64,
    took: u64,
    over: usize,
    /// What the test that runs in each VM takes.
    running: HashMap<u32, u64>,
}

impl Forecast {
    pub(super) fn observe(&mut self, record: &Record) {
        match &record.event {
            Event::RunStarted(start) => {
                let planned = start.kernels.iter();
                self.planned = planned
                    .map(|kernel| Some((kernel.name.clone(), kernel.expected_ms?)))
                    .collect();
            }
            Event::KernelFailed(failed) => {
                if let Some(planned) = &mut self.planned {
                    planned.remove(&failed.kernel);
                }
            }
            Event::TestStarted(test) => {
                self.running
                    .insert(test.vm, test.expected_ms.unwrap_or_default());
            }
            Event::TestFinished(result) if result.case_of.is_none() => {
                self.expected = self
                    .expected
                    .saturating_add(self.running.remove(&result.vm).unwrap_or_default());
                self.took = self.took.saturating_add(result.duration_ms);
                self.over += 1;
            }
            _ => {}
        }
    }

    /// In how many milliseconds the run ends, with this many VMs.
    pub(super) fn left(&self, history: &History, vms: usize) -> Option<u64> {
        let vms = vms.max(1) as u64;
        let missing = history.tally.missing() as u64;
        if missing == 0 {
            return None;
        }
        let all = match &self.planned {
            Some(planned) => {
                let planned = planned
                    .values()
                    .fold(0, |sum: u64, ms| sum.saturating_add(*ms));
                let left = planned.saturating_sub(self.expected);
                match self.expected {
                    0..PACE_FROM => left,
                    expected => {
                        let took = self
                            .took
                            .clamp(expected / MAX_PACE, expected.saturating_mul(MAX_PACE));
                        scaled(left, took, expected)
                    }
                }
            }
            None if self.over >= MEAN_FROM => scaled(self.took, missing, self.over as u64),
            None => return None,
        };
        Some(all / vms)
    }
}

/// `value * by / of`.
fn scaled(value: u64, by: u64, of: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(by) / u128::from(of.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// `ends in about 12 min`.
pub(super) fn words(left: u64) -> String {
    let minutes = left.saturating_add(30_000) / 60_000;
    match minutes {
        0 => "ends in less than a minute".to_owned(),
        1..120 => format!("ends in about {minutes} min"),
        _ => format!("ends in about {} h", (minutes + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{at, finished, started};
    use crate::run::event::{TestStarted, Verdict};

    fn run(expected: Option<u64>, tests: usize, over: usize) -> Option<u64> {
        let mut start = started(&["6.1"], tests);
        if let Event::RunStarted(start) = &mut start.event {
            start.kernels[0].expected_ms = expected;
        }
        let mut records = vec![start];
        for number in 0..over {
            let id = format!("a.{number}");
            records.push(at(
                1,
                Event::TestStarted(TestStarted {
                    kernel: "6.1".into(),
                    vm: 0,
                    suite: "bpftrace".into(),
                    id: id.clone(),
                    attempt: 1,
                    expected_ms: expected.map(|all| all / tests as u64),
                }),
            ));
            // Each takes 3.1 s.
            records.push(finished("6.1", &id, Verdict::Pass, ""));
        }
        let mut forecast = Forecast::default();
        let mut history = History::default();
        for record in &records {
            forecast.observe(record);
            history.observe(record);
        }
        forecast.left(&history, 2)
    }

    #[test]
    fn known_times_say_when_the_run_ends() {
        // Nothing is over: by the known times alone.
        assert_eq!(run(Some(600_000), 100, 0), Some(300_000));
        // Each test was expected to take 6 s and took half of that.
        assert_eq!(run(Some(600_000), 100, 50), Some(77_500));
        assert_eq!(run(Some(600_000), 100, 100), None);
    }

    #[test]
    fn without_known_times_the_mean_of_this_run_counts_once_there_is_one() {
        assert_eq!(run(None, 100, 9), None);
        assert_eq!(run(None, 100, 20), Some(124_000));
    }

    #[test]
    fn times_read_well() {
        assert_eq!(words(20_000), "ends in less than a minute");
        assert_eq!(words(100_000), "ends in about 2 min");
        assert_eq!(words(3 * 3_600_000), "ends in about 3 h");
    }
}
