//! Several measurements of the same thing.

use std::fmt;
use std::time::Duration;

/// Times of the same thing.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// Shortest first.
    times: Vec<Duration>,
}

impl Sample {
    pub(crate) fn add(&mut self, time: Duration) {
        self.times.push(time);
        self.times.sort();
    }

    /// The middle one; the upper of the two in the middle.
    pub(crate) fn median(&self) -> Duration {
        self.times
            .get(self.times.len() / 2)
            .copied()
            .unwrap_or_default()
    }

    /// The shortest: the time when nothing else used the machine.
    fn shortest(&self) -> Duration {
        self.times.first().copied().unwrap_or_default()
    }

    /// The ratio of the medians.
    pub(crate) fn median_over(&self, base: &Self) -> f64 {
        self.median().as_secs_f64() / base.median().as_secs_f64()
    }

    /// The ratio of the shortest.
    pub(crate) fn shortest_over(&self, base: &Self) -> f64 {
        self.shortest().as_secs_f64() / base.shortest().as_secs_f64()
    }

    fn longest(&self) -> Duration {
        self.times.last().copied().unwrap_or_default()
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:7.3} s  ({:.3} to {:.3})",
            self.median().as_secs_f64(),
            self.shortest().as_secs_f64(),
            self.longest().as_secs_f64()
        )
    }
}
