//! How often a test flakes, and how sure that is.

use std::collections::HashMap;

use super::point::Point;
use crate::report::class::Class;

/// The quantile of the normal distribution for 95 %.
const Z: f64 = 1.96;

/// Flakes among runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rate {
    /// Runs in which it flaked.
    pub(super) flakes: usize,
    /// Runs in which it ran.
    pub(super) runs: usize,
}

impl Rate {
    /// A test flakes in a run if its attempts differ, or if it fails between two runs of the same
    /// image and program in which it passes. Failures before the first pass and since the last one
    /// may have a cause that came or went.
    pub(super) fn of(points: &[Point]) -> Self {
        let ran = |point: &&Point| point.class != Class::Skip;
        let passes = |point: &Point| matches!(point.class, Class::Pass | Class::Flaky);
        // The first and the last run of each material that passed.
        let mut passed: HashMap<usize, (usize, usize)> = HashMap::new();
        for (place, point) in points.iter().enumerate().filter(|(_, point)| passes(point)) {
            passed.entry(point.material).or_insert((place, place)).1 = place;
        }
        let flaked = |(place, point): &(usize, &Point)| {
            let between = passed.get(&point.material);
            let between = between.is_some_and(|(first, last)| first < place && place < last);
            // A known failure is expected, but one among passes is a flake all the same.
            point.class == Class::Flaky || (!passes(point) && between)
        };
        let points = || points.iter().enumerate().filter(|(_, point)| ran(point));
        Self {
            flakes: points().filter(flaked).count(),
            runs: points().count(),
        }
    }

    fn parts(self) -> (f64, f64) {
        (float(self.flakes), float(self.runs))
    }

    /// The part of the runs, from 0 to 1.
    pub(super) fn part(self) -> f64 {
        let (flakes, runs) = self.parts();
        if self.runs == 0 { 0.0 } else { flakes / runs }
    }

    /// Wilson's interval for 95 %: E. B. Wilson, JASA 22 (1927), 209.
    fn interval(self) -> (f64, f64) {
        if self.runs == 0 {
            return (0.0, 1.0);
        }
        let (_, runs) = self.parts();
        let part = self.part();
        let square = Z * Z;
        let scale = 1.0 + square / runs;
        let middle = (part + square / (2.0 * runs)) / scale;
        let spread = (part * (1.0 - part) / runs + square / (4.0 * runs * runs)).sqrt();
        let half = Z * spread / scale;
        ((middle - half).max(0.0), (middle + half).min(1.0))
    }

    /// The least part that is likely.
    pub(super) fn low(self) -> f64 {
        self.interval().0
    }

    /// The greatest part that is likely.
    pub(super) fn high(self) -> f64 {
        self.interval().1
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of runs are far below 2^53"
)]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(classes: &[(Class, usize)]) -> Vec<Point> {
        let point = |(run, (class, material)): (usize, &(Class, usize))| Point {
            run,
            class: *class,
            ms: 1,
            material: *material,
        };
        classes.iter().enumerate().map(point).collect()
    }

    fn rate(classes: &[(Class, usize)]) -> (usize, usize) {
        let rate = Rate::of(&points(classes));
        (rate.flakes, rate.runs)
    }

    #[test]
    fn a_failure_among_passes_is_a_flake_and_a_regression_or_a_fix_is_not() {
        use Class::{Fail, Flaky, Pass, Skip};
        assert_eq!(rate(&[(Pass, 0), (Fail, 0), (Pass, 0), (Skip, 0)]), (1, 3));
        assert_eq!(rate(&[(Pass, 0), (Fail, 0), (Fail, 0)]), (0, 3));
        assert_eq!(rate(&[(Fail, 0), (Pass, 0)]), (0, 2));
        // What fixed it may be another program.
        assert_eq!(rate(&[(Fail, 0), (Pass, 1)]), (0, 2));
        assert_eq!(rate(&[(Flaky, 0), (Pass, 0)]), (1, 2));
        assert_eq!(rate(&[]), (0, 0));
    }

    #[test]
    fn the_interval_is_wilson_s() {
        // Values of statsmodels' proportion_confint(method="wilson").
        for (flakes, runs, low, high) in [
            (0, 10, 0.0, 0.2775),
            (1, 10, 0.0179, 0.4042),
            (5, 10, 0.2366, 0.7634),
            (10, 10, 0.7225, 1.0),
        ] {
            let rate = Rate { flakes, runs };
            assert!(
                (rate.low() - low).abs() < 1e-3,
                "{flakes} of {runs}: {}",
                rate.low()
            );
            assert!(
                (rate.high() - high).abs() < 1e-3,
                "{flakes} of {runs}: {}",
                rate.high()
            );
        }
    }

    proptest! {
        #[test]
        fn the_rate_lies_within_its_interval(runs in 0_usize..1000, part in 0.0_f64..=1.0) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let flakes = (float(runs) * part) as usize;
            let rate = Rate { flakes, runs };
            prop_assert!(rate.low() <= rate.part() + 1e-9 && rate.part() <= rate.high() + 1e-9);
            prop_assert!(rate.low() >= 0.0 && rate.high() <= 1.0);
        }
    }
}
