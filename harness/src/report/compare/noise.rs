//! Whether a test has become slower, or the machine was busy.

use std::collections::HashMap;

use super::entry::{Entry, Key};
use crate::report::class::Class;

/// Runs before that say how much a test's time varies by itself.
const ENOUGH: usize = 3;
/// Tests of a kernel that say how fast its VM was in one run against the other.
const PAIRS: usize = 10;
/// A slowdown of less than this, in milliseconds, is never reported.
const LEAST_MS: f64 = 1000.0;
/// The same as a part of the time before.
const LEAST_PART: f64 = 0.3;
/// The part where nothing is known of the noise.
const LEAST_UNKNOWN: f64 = 1.0;
/// Standard deviations that are not noise.
const SIGMAS: f64 = 5.0;
/// Makes a median of deviations an estimate of the standard deviation.
const MAD: f64 = 1.4826;

/// How long tests took in earlier runs, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Noise {
    times: HashMap<Key, Vec<f64>>,
    /// How many times longer everything on a kernel takes in the later run, and how much that
    /// differs from test to test, as a logarithm.
    pace: HashMap<String, (f64, f64)>,
}

impl Noise {
    /// Takes the time of a test in an earlier run.
    pub(super) fn earlier(&mut self, key: Key, ms: u64) {
        self.times.entry(key).or_default().push(float(ms));
    }

    /// Takes what the two runs have in common.
    pub(super) fn pairs<'e>(
        &mut self,
        pairs: impl Iterator<Item = (&'e Key, &'e Entry, &'e Entry)>,
    ) {
        let mut ratios: HashMap<&str, Vec<f64>> = HashMap::new();
        for (key, before, after) in pairs {
            if before.class == Class::Pass
                && after.class == Class::Pass
                && before.ms > 0
                && after.ms > 0
            {
                let ratio = (float(after.ms) / float(before.ms)).ln();
                ratios.entry(&key.kernel).or_default().push(ratio);
            }
        }
        for (kernel, mut logs) in ratios {
            if logs.len() >= PAIRS {
                let middle = median(&mut logs);
                let spread = deviation(&logs, middle);
                self.pace.insert(kernel.to_owned(), (middle.exp(), spread));
            }
        }
    }

    /// Whether the time after is longer than noise explains.
    pub(super) fn is_slower(&self, key: &Key, before: u64, after: u64) -> bool {
        let (before, after) = (float(before), float(after));
        let (pace, spread) = self.pace.get(&key.kernel).copied().unwrap_or((1.0, 0.0));
        // A test that has not become slower is not, even if all others have become faster.
        let expected = |usual: f64| usual * pace.max(1.0);
        let limit = match self.times.get(key) {
            Some(times) if times.len() >= ENOUGH => {
                let mut times = times.clone();
                let usual = median(&mut times).max(before);
                let noise = SIGMAS * deviation(&times, usual);
                expected(usual) + noise.max(LEAST_PART * usual).max(LEAST_MS)
            }
            _ if self.pace.contains_key(&key.kernel) => {
                let noise = before * ((SIGMAS * spread).exp() - 1.0);
                expected(before) + noise.max(LEAST_PART * before).max(LEAST_MS)
            }
            _ => expected(before) + (LEAST_UNKNOWN * before).max(LEAST_MS),
        };
        after > limit
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "milliseconds of a test are far below 2^53"
)]
fn float(ms: u64) -> f64 {
    ms as f64
}

/// Sorts the values; 0 if there are none.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn deviation(values: &[f64], middle: f64) -> f64 {
    let mut apart: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    MAD * median(&mut apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> Key {
        Key {
            kernel: "6.1".into(),
            suite: "bpftrace".into(),
            id: id.into(),
        }
    }

    fn entry(ms: u64) -> Entry {
        Entry {
            ms,
            ..Entry::of(Class::Pass)
        }
    }

    #[test]
    fn earlier_runs_say_what_is_noise() {
        let mut noise = Noise::default();
        for ms in [4000, 4100, 3900, 4050] {
            noise.earlier(key("steady"), ms);
        }
        for ms in [4000, 9000, 2000, 6000] {
            noise.earlier(key("wild"), ms);
        }
        assert!(noise.is_slower(&key("steady"), 4000, 6000));
        assert!(!noise.is_slower(&key("steady"), 4000, 5000));
        assert!(!noise.is_slower(&key("wild"), 4000, 9500));
        // Nothing is known of this one.
        assert!(!noise.is_slower(&key("new"), 4000, 7900));
        assert!(noise.is_slower(&key("new"), 4000, 8100));
        assert!(!noise.is_slower(&key("short"), 100, 900));
    }

    #[test]
    fn a_slower_machine_is_no_slower_test() {
        let keys: Vec<Key> = (0..12).map(|number| key(&format!("t{number}"))).collect();
        let (before, after) = (entry(2000), entry(5000));
        let mut noise = Noise::default();
        noise.pairs(keys.iter().map(|key| (key, &before, &after)));
        assert!(!noise.is_slower(&keys[0], 2000, 5000));
        assert!(noise.is_slower(&keys[0], 2000, 7000));
    }
}
