//! Tests that fail on some kernels and not on others.

use super::history::History;
use crate::run::event::Verdict;

/// A test that fails on some kernels and not on others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference<'h> {
    /// Name of the suite.
    pub(super) suite: &'h str,
    /// `suite.name`.
    pub(super) id: &'h str,
    /// Each kernel with a verdict for it, in report order. If several tests have this name, the
    /// worst verdict counts.
    pub(super) verdicts: Vec<(&'h str, Verdict)>,
}

/// The differences, in the order of the tests' first verdicts.
pub(super) fn differences(history: &History) -> Vec<Difference<'_>> {
    let mut all: Vec<Difference<'_>> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for outcome in &history.outcomes {
        let result = &outcome.result;
        let key = (&result.suite, &result.id, &result.case_of);
        let place = *places.entry(key).or_insert_with(|| {
            all.push(Difference {
                suite: &result.suite,
                id: &result.id,
                verdicts: Vec::new(),
            });
            all.len() - 1
        });
        let verdicts = &mut all[place].verdicts;
        match verdicts.iter_mut().find(|(one, _)| *one == result.kernel) {
            Some((_, verdict)) if is_bad(*verdict) || !is_bad(result.verdict) => {}
            Some((_, verdict)) => *verdict = result.verdict,
            None => verdicts.push((&result.kernel, result.verdict)),
        }
    }
    all.retain(|test| {
        let bad = test.on(is_bad).count();
        bad > 0 && bad < test.verdicts.len()
    });
    for test in &mut all {
        test.verdicts.sort_by_key(|(kernel, _)| {
            let kernels = &history.tally.kernels;
            kernels.iter().position(|tally| tally.kernel == *kernel)
        });
    }
    all
}

fn is_bad(verdict: Verdict) -> bool {
    !matches!(verdict, Verdict::Pass | Verdict::Skip)
}

impl<'h> Difference<'h> {
    fn on(&self, which: impl Fn(Verdict) -> bool) -> impl Iterator<Item = &'h str> {
        self.verdicts
            .iter()
            .filter(move |(_, verdict)| which(*verdict))
            .map(|(kernel, _)| *kernel)
    }

    /// A short description that names the smaller group of kernels: `fails on 5.10 only`, `fails on
    /// 5.10, 5.15`, `passes on 6.1 only`. Kernel names are not escaped.
    pub(super) fn words(&self) -> String {
        let bad: Vec<&str> = self.on(is_bad).collect();
        let good: Vec<&str> = self.on(|verdict| !is_bad(verdict)).collect();
        let passes: Vec<&str> = self.on(|verdict| verdict == Verdict::Pass).collect();
        let mut kinds = self.verdicts.iter().filter(|(_, verdict)| is_bad(*verdict));
        let first = kinds.next().map(|(_, verdict)| *verdict);
        let does = match first {
            Some(Verdict::Timeout) if kinds.all(|(_, verdict)| Some(*verdict) == first) => {
                "times out"
            }
            Some(Verdict::Lost) if kinds.all(|(_, verdict)| Some(*verdict) == first) => "is lost",
            _ => "fails",
        };
        let few_pass = !passes.is_empty() && passes.len() < bad.len();
        match (bad.as_slice(), good.as_slice()) {
            ([only], _) => format!("{does} on {only} only"),
            _ if few_pass && does == "fails" => format!("passes on {} only", passes.join(", ")),
            _ if few_pass && passes == good => {
                format!("passes on {} only, {does} on the others", passes.join(", "))
            }
            (_, [only]) => format!("{does} on all but {only}"),
            _ => format!("{does} on {}", bad.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{finished, history, started};

    #[test]
    fn a_test_that_fails_on_some_kernels_only_is_a_difference() {
        let all = ["5.10", "5.15", "6.1", "6.12"];
        let mut records = vec![started(&all, 6)];
        let mut add = |id: &str, bad: &[&str], verdict: Verdict| {
            // Not in report order.
            for kernel in all.iter().rev() {
                let verdict = match bad.contains(kernel) {
                    true => verdict,
                    false if *kernel == "6.1" => Verdict::Skip,
                    false => Verdict::Pass,
                };
                records.push(finished(kernel, id, verdict, ""));
            }
        };
        add("a.none", &[], Verdict::Fail);
        add("a.all", &all, Verdict::Fail);
        add("a.one", &["5.15"], Verdict::Fail);
        add("a.three", &["5.10", "6.1", "6.12"], Verdict::Timeout);
        add("a.pass", &["5.10", "6.1", "6.12"], Verdict::Fail);
        add("a.skip", &["5.10", "5.15", "6.12"], Verdict::Fail);
        add("a.two", &["6.12", "5.10"], Verdict::Lost);
        // Two tests of the same name: the one that failed counts.
        add("a.one", &["6.1"], Verdict::Fail);

        let history = history(&records);
        let found: Vec<_> = differences(&history)
            .into_iter()
            .map(|test| (test.id.to_owned(), test.words()))
            .collect();
        let expected = [
            ("a.one", "fails on 5.15, 6.1"),
            ("a.three", "passes on 5.15 only, times out on the others"),
            ("a.pass", "passes on 5.15 only"),
            ("a.skip", "fails on all but 6.1"),
            ("a.two", "is lost on 5.10, 6.12"),
        ];
        assert_eq!(
            found,
            expected.map(|(id, words)| (id.to_owned(), words.to_owned()))
        );
    }

    #[test]
    fn a_test_with_a_verdict_on_only_one_kernel_is_not_a_difference() {
        let history = history(&[
            started(&["5.10", "6.1"], 1),
            finished("6.1", "a.b", Verdict::Fail, ""),
        ]);
        assert_eq!(differences(&history), []);
    }
}
