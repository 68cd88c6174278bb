//! How likely a result is if answers are flaky.

/// What was seen on one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its position: the change is before a position, and kernels from there on show it.
    pub at: usize,
    /// Runs that showed it.
    pub shown: u32,
    /// Runs that did not.
    pub missed: u32,
}

/// The probability that the change is at `answer`, of positions 1 to `last`; `None` if all runs of
/// each kernel agree, in which case nothing is known to be flaky.
///
/// Kernels before the change never show it, and those after it miss it at one rate, which is
/// estimated from kernels that showed it at least once (rule of succession). Every position is as
/// likely as the others at first.
pub fn chance(seen: &[Seen], answer: usize, last: usize) -> Option<f64> {
    if seen.iter().all(|one| one.shown == 0 || one.missed == 0) {
        return None;
    }
    let showing = seen.iter().filter(|one| one.shown > 0);
    let (missed, runs) = showing.fold((0, 0), |(missed, runs), one| {
        (missed + one.missed, runs + one.missed + one.shown)
    });
    let miss = (f64::from(missed) + 1.0) / (f64::from(runs) + 2.0);
    // How likely it is to see this with the change at `change`.
    let likelihood = |change: usize| -> f64 {
        seen.iter()
            .map(|one| {
                let after = one.at >= change;
                match (after, one.shown) {
                    (false, 0) => 1.0,
                    (false, _) => 0.0,
                    (true, _) => powers(1.0 - miss, one.shown) * powers(miss, one.missed),
                }
            })
            .product()
    };
    let all: f64 = (1..=last).map(likelihood).sum();
    Some(likelihood(answer) / all)
}

fn powers(base: f64, times: u32) -> f64 {
    base.powi(i32::try_from(times).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn seen(at: usize, shown: u32, missed: u32) -> Seen {
        Seen { at, shown, missed }
    }

    #[test]
    fn answers_that_agree_leave_no_doubt_to_count() {
        assert_eq!(chance(&[seen(0, 0, 3), seen(4, 3, 0)], 4, 4), None);
    }

    #[test]
    fn more_runs_make_a_flaky_result_surer() {
        let few = chance(&[seen(0, 0, 2), seen(1, 0, 2), seen(2, 1, 1)], 2, 2).unwrap();
        let many = chance(&[seen(0, 0, 9), seen(1, 0, 9), seen(2, 5, 4)], 2, 2).unwrap();
        assert!((0.5..0.9).contains(&few), "{few}");
        assert!(many > 0.99, "{many}");
        // One of two runs missed it, and so by the rule of succession half of all do.
        assert!((few - 1.0 / 1.25).abs() < 1e-9, "{few}");
    }

    proptest! {
        #[test]
        fn the_chances_of_all_positions_make_one(
            runs in prop::collection::vec((0_u32..5, 0_u32..5), 2..20),
        ) {
            let last = runs.len() - 1;
            let seen: Vec<Seen> = runs
                .iter()
                .enumerate()
                // The first does not show it, the last does.
                .map(|(at, &(shown, missed))| match at {
                    0 => seen(at, 0, missed),
                    at if at == last => seen(at, shown.max(1), missed),
                    _ => seen(at, shown, missed),
                })
                .collect();
            let chances: Option<Vec<f64>> =
                (1..=last).map(|at| chance(&seen, at, last)).collect();
            if let Some(chances) = chances {
                prop_assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            }
        }
    }
}
