//! A bisection: what was asked, the answers so far, and what follows from them.

use std::collections::BTreeSet;

use super::chance::{Seen, chance};
use super::journal::{Answer, Asked, LookFor, Verdict};
use super::order::{Version, ranks};
use super::search::{Search, Side};

/// What the two ends say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Not both have been tried.
    Untried,
    /// What they should: there is a change between them.
    Differ,
    /// Both the same.
    Same(Verdict),
    /// Each what the other should.
    Swapped,
    /// This one cannot say.
    Mute(usize),
}

/// The result.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The last kernel before the change.
    pub before: usize,
    /// The first that is known to be after it.
    pub after: usize,
    /// Those between that could not say: the change may be on any of them, too.
    pub skipped: Vec<usize>,
    /// How likely this is if answers were flaky; `None` if they were not.
    pub chance: Option<f64>,
}

/// A bisection.
#[derive(Debug, Clone)]
pub struct State {
    asked: Asked,
    /// The answers of each kernel.
    answers: Vec<Vec<Answer>>,
    search: Search,
}

impl State {
    /// Nothing has been tried yet. `asked` has two kernels at least.
    pub fn new(asked: Asked) -> Self {
        let versions: Vec<Version> = asked
            .kernels
            .iter()
            .map(|kernel| Version {
                upstream: kernel.upstream.clone(),
                package: kernel.package.clone(),
            })
            .collect();
        Self {
            answers: vec![Vec::new(); asked.kernels.len()],
            search: Search::new(ranks(&versions)),
            asked,
        }
    }

    /// What was asked.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// A kernel's name.
    pub fn name(&self, kernel: usize) -> &str {
        self.asked.kernels.get(kernel).map_or("", |one| &one.name)
    }

    /// The position of a kernel.
    pub fn position(&self, name: &str) -> Option<usize> {
        let mut kernels = self.asked.kernels.iter();
        kernels.position(|kernel| kernel.name == name)
    }

    /// The answers of a kernel.
    pub fn answers(&self, kernel: usize) -> &[Answer] {
        self.answers.get(kernel).map_or(&[], Vec::as_slice)
    }

    /// Takes an answer.
    pub fn take(&mut self, answer: Answer) {
        let Some(kernel) = self.position(&answer.kernel) else {
            return;
        };
        if let Some(answers) = self.answers.get_mut(kernel) {
            answers.push(answer);
        }
        if let Some(verdict) = self.verdict(kernel) {
            self.search.take(kernel, self.side(verdict));
        }
    }

    /// The verdict of a kernel, once it has run as often as it must. A bug that shows once is there.
    pub fn verdict(&self, kernel: usize) -> Option<Verdict> {
        let answers = self.answers(kernel);
        let last = answers.last()?.verdict;
        if !matches!(last, Verdict::Good | Verdict::Bad) {
            return Some(last);
        }
        if answers.len() < self.asked.confirm as usize {
            return None;
        }
        let bad = answers.iter().any(|answer| answer.verdict == Verdict::Bad);
        Some(if bad { Verdict::Bad } else { Verdict::Good })
    }

    /// Whether its runs differ.
    pub fn is_flaky(&self, kernel: usize) -> bool {
        let has = |verdict| {
            self.answers(kernel)
                .iter()
                .any(|one| one.verdict == verdict)
        };
        has(Verdict::Good) && has(Verdict::Bad)
    }

    /// What the first kernel should be, and the last.
    pub fn expected(&self) -> (Verdict, Verdict) {
        match self.asked.look_for {
            LookFor::Broken => (Verdict::Good, Verdict::Bad),
            LookFor::Fixed => (Verdict::Bad, Verdict::Good),
        }
    }

    fn side(&self, verdict: Verdict) -> Side {
        match verdict {
            verdict if verdict == self.expected().0 => Side::Before,
            verdict if verdict == self.expected().1 => Side::After,
            _ => Side::Unknown,
        }
    }

    fn last(&self) -> usize {
        self.asked.kernels.len().saturating_sub(1)
    }

    /// What the ends say.
    pub fn ends(&self) -> Ends {
        let (first, last) = (self.verdict(0), self.verdict(self.last()));
        for (kernel, verdict) in [(0, first), (self.last(), last)] {
            if matches!(verdict, Some(Verdict::Skip | Verdict::Unavailable)) {
                return Ends::Mute(kernel);
            }
        }
        match (first, last) {
            (Some(first), Some(last)) if first == last => Ends::Same(first),
            (Some(first), Some(_)) if first == self.expected().0 => Ends::Differ,
            (Some(_), Some(_)) => Ends::Swapped,
            _ => Ends::Untried,
        }
    }

    /// Whether a run on this kernel still helps.
    pub fn wants(&self, kernel: usize) -> bool {
        let is_end = kernel == 0 || kernel == self.last();
        self.verdict(kernel).is_none() && (is_end || self.search.wants(kernel))
    }

    /// Up to `free` kernels to run on next, while `running` run.
    pub fn next(&self, running: &BTreeSet<usize>, free: usize) -> Vec<usize> {
        let begun = |kernel: &usize| {
            let is_end = *kernel == 0 || *kernel == self.last();
            is_end && self.ends() == Ends::Untried || !self.answers(*kernel).is_empty()
        };
        let all = 0..self.asked.kernels.len();
        let mut next: Vec<usize> = all
            .filter(begun)
            .filter(|kernel| self.wants(*kernel) && !running.contains(kernel))
            .take(free)
            .collect();
        if self.ends() == Ends::Differ && next.len() < free {
            let busy: BTreeSet<usize> = running.iter().chain(&next).copied().collect();
            next.extend(self.search.next(&busy, free - next.len()));
        }
        next
    }

    /// At most how many more kernels are tried one after the other, if none is skipped.
    pub fn left(&self) -> u32 {
        let ends = [0, self.last()];
        let ends = ends.iter().filter(|end| self.verdict(**end).is_none());
        u32::try_from(ends.count()).unwrap_or(0) + self.search.left()
    }

    /// Runs for which a VM was started.
    pub fn boots(&self) -> usize {
        let answers = self.answers.iter().flatten();
        answers.filter(|answer| answer.booted).count()
    }

    /// The result, once nothing is left to try.
    pub fn found(&self) -> Option<Found> {
        if self.ends() != Ends::Differ || !self.search.is_over() {
            return None;
        }
        let (before, after) = self.search.neighbours();
        Some(Found {
            before,
            after,
            skipped: self.search.skipped().collect(),
            chance: self.chance(),
        })
    }

    fn chance(&self) -> Option<f64> {
        let last = self.last();
        let (before, after) = self.search.neighbours();
        // A bug shows on the later kernels, or, if they have its mend, on the earlier ones.
        let mirrored = self.asked.look_for == LookFor::Fixed;
        let at = |kernel: usize| if mirrored { last - kernel } else { kernel };
        let count = |kernel: usize, verdict| {
            let answers = self.answers(kernel).iter();
            let count = answers.filter(|answer| answer.verdict == verdict).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let mut seen: Vec<Seen> = (0..=last)
            .filter(|kernel| !self.answers(*kernel).is_empty())
            .map(|kernel| Seen {
                at: at(kernel),
                shown: count(kernel, Verdict::Bad),
                missed: count(kernel, Verdict::Good),
            })
            .collect();
        seen.sort_by_key(|one| one.at);
        chance(&seen, if mirrored { at(before) } else { after }, last)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::super::journal::Candidate;
    use super::*;

    fn state(kernels: usize, look_for: LookFor, confirm: u32) -> State {
        let candidate = |number: usize| Candidate {
            name: format!("k{number}"),
            upstream: format!("6.{}.{}", number / 4, number % 4),
            package: format!("6.{}.{}-1", number / 4, number % 4),
        };
        State::new(Asked {
            format: 1,
            kiln: String::new(),
            started_at: String::new(),
            cwd: String::new(),
            words: Vec::new(),
            look_for,
            confirm,
            kernels: (0..kernels).map(candidate).collect(),
        })
    }

    fn answer(state: &State, kernel: usize, verdict: Verdict) -> Answer {
        Answer {
            kernel: state.name(kernel).to_owned(),
            attempt: 1,
            verdict,
            reason: String::new(),
            took_ms: 1,
            booted: true,
            dir: String::new(),
        }
    }

    fn tell(state: &mut State, kernel: usize, verdict: Verdict) {
        state.take(answer(state, kernel, verdict));
    }

    #[test]
    fn both_ends_come_first_and_what_is_wrong_with_them_is_told_apart() {
        let fresh = state(9, LookFor::Broken, 1);
        assert_eq!(fresh.next(&BTreeSet::new(), 1), [0]);
        assert_eq!(fresh.next(&BTreeSet::new(), 4), [0, 8]);
        for (first, last, ends) in [
            (Verdict::Good, Verdict::Bad, Ends::Differ),
            (Verdict::Bad, Verdict::Good, Ends::Swapped),
            (Verdict::Good, Verdict::Good, Ends::Same(Verdict::Good)),
            (Verdict::Bad, Verdict::Bad, Ends::Same(Verdict::Bad)),
            (Verdict::Good, Verdict::Skip, Ends::Mute(8)),
            (Verdict::Unavailable, Verdict::Bad, Ends::Mute(0)),
        ] {
            let mut state = fresh.clone();
            tell(&mut state, 0, first);
            tell(&mut state, 8, last);
            assert_eq!(state.ends(), ends);
            let next = state.next(&BTreeSet::new(), 1);
            assert_eq!(next.is_empty(), ends != Ends::Differ, "{next:?}");
        }
    }

    #[test]
    fn a_mend_is_looked_for_from_bad_to_good() {
        let mut state = state(5, LookFor::Fixed, 1);
        tell(&mut state, 0, Verdict::Bad);
        tell(&mut state, 4, Verdict::Good);
        assert_eq!(state.ends(), Ends::Differ);
        tell(&mut state, 2, Verdict::Bad);
        tell(&mut state, 3, Verdict::Good);
        let found = state.found().unwrap();
        assert_eq!((found.before, found.after, found.chance), (2, 3, None));
    }

    #[test]
    fn a_kernel_is_bad_if_one_of_its_runs_is_and_flaky_answers_have_a_chance() {
        let mut state = state(3, LookFor::Broken, 2);
        for (kernel, verdicts) in [
            (0, [Verdict::Good, Verdict::Good]),
            (2, [Verdict::Good, Verdict::Bad]),
            (1, [Verdict::Good, Verdict::Good]),
        ] {
            for verdict in verdicts {
                assert_eq!(state.verdict(kernel), None);
                tell(&mut state, kernel, verdict);
            }
        }
        assert_eq!(state.verdict(2), Some(Verdict::Bad));
        assert!(state.is_flaky(2) && !state.is_flaky(1));
        let found = state.found().unwrap();
        assert_eq!((found.before, found.after), (1, 2));
        let chance = found.chance.unwrap();
        assert!((chance - 0.8).abs() < 1e-9, "{chance}");
    }

    #[test]
    fn a_kernel_that_cannot_say_is_not_asked_again() {
        let mut state = state(5, LookFor::Broken, 3);
        for (kernel, verdict) in [(0, Verdict::Good), (4, Verdict::Bad)] {
            (0..3).for_each(|_| tell(&mut state, kernel, verdict));
        }
        assert_eq!(state.next(&BTreeSet::new(), 1), [2]);
        tell(&mut state, 2, Verdict::Skip);
        assert!(!state.wants(2));
        let next = state.next(&BTreeSet::new(), 1)[0];
        tell(&mut state, next, Verdict::Good);
        // It has begun, and is not confirmed.
        assert_eq!(state.next(&BTreeSet::new(), 1), [next]);
        assert!(state.next(&BTreeSet::from([next]), 1) != [next]);
    }

    proptest! {
        /// Killed after any answer, it goes on to the same result with the answers it has.
        #[test]
        fn answers_of_an_earlier_run_lead_to_the_same_result(
            kernels in 2_usize..60,
            at in any::<prop::sample::Index>(),
            kill in any::<prop::sample::Index>(),
            confirm in 1_u32..3,
        ) {
            let change = 1 + at.index(kernels - 1);
            let truth = |kernel: usize| if kernel < change { Verdict::Good } else { Verdict::Bad };
            let mut state = state(kernels, LookFor::Broken, confirm);
            let mut written = Vec::new();
            while let Some(&kernel) = state.next(&BTreeSet::new(), 1).first() {
                let answer = answer(&state, kernel, truth(kernel));
                written.push(answer.clone());
                state.take(answer);
            }
            let found = state.found().unwrap();
            prop_assert_eq!((found.before, found.after), (change - 1, change));
            let n = kernels.next_power_of_two().trailing_zeros() as usize;
            prop_assert!(state.boots() <= (n + 2) * confirm as usize);
            let mut resumed = State::new(state.asked().clone());
            let kept = kill.index(written.len() + 1);
            written.truncate(kept);
            for answer in written {
                resumed.take(answer);
            }
            while let Some(&kernel) = resumed.next(&BTreeSet::new(), 1).first() {
                let answer = answer(&resumed, kernel, truth(kernel));
                resumed.take(answer);
            }
            prop_assert_eq!(resumed.found(), Some(found));
            prop_assert_eq!(resumed.boots(), state.boots());
        }
    }
}
