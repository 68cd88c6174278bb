//! Which kernel to try next, and when the answer is known: positions in an order, no kernels.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// On which side of the change a kernel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// It behaves as the first kernel does.
    Before,
    /// It behaves as the last one does.
    After,
    /// It cannot say.
    Unknown,
}

/// A search in an order of kernels whose first is before the change and whose last is after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// How much a kernel divides: its series above its version above its build.
    ranks: Vec<u8>,
    before: usize,
    after: usize,
    skipped: BTreeSet<usize>,
}

/// Kernels in a row that nobody has tried, as the positions of their neighbours.
#[derive(Debug, Clone, Copy)]
struct Gap {
    from: usize,
    to: usize,
}

impl Search {
    /// Over kernels with these ranks, at least two.
    pub fn new(ranks: Vec<u8>) -> Self {
        Self {
            before: 0,
            after: ranks.len().saturating_sub(1),
            ranks,
            skipped: BTreeSet::new(),
        }
    }

    /// The last position that is known to be before the change, and the first after it.
    pub fn neighbours(&self) -> (usize, usize) {
        (self.before, self.after)
    }

    /// Whether an answer at this position would still help.
    pub fn wants(&self, position: usize) -> bool {
        self.before < position && position < self.after && !self.skipped.contains(&position)
    }

    /// The positions between the neighbours that could not say.
    pub fn skipped(&self) -> impl Iterator<Item = usize> + '_ {
        self.skipped
            .range(self.before + 1..self.after.max(self.before + 1))
            .copied()
    }

    /// Takes an answer; one that no longer helps changes nothing.
    pub fn take(&mut self, position: usize, side: Side) {
        if !self.wants(position) {
            return;
        }
        match side {
            Side::Before => self.before = position,
            Side::After => self.after = position,
            Side::Unknown => drop(self.skipped.insert(position)),
        }
    }

    /// Whether nothing is left to try.
    pub fn is_over(&self) -> bool {
        (self.before + 1..self.after).all(|position| self.skipped.contains(&position))
    }

    /// At most how many more kernels have to be tried one after the other, if none is skipped.
    pub fn left(&self) -> u32 {
        let gaps = self.gaps(&BTreeSet::new()).into_iter();
        halvings(gaps.map(Gap::size).sum())
    }

    /// Up to `free` positions to try while `running` are being tried: the middle, or several at
    /// even distances. After skips, as git does, they are away from what was skipped.
    pub fn next(&self, running: &BTreeSet<usize>, free: usize) -> Vec<usize> {
        let mut gaps: Vec<(Gap, usize)> =
            self.gaps(running).into_iter().map(|gap| (gap, 0)).collect();
        let centre = self.before + self.after;
        for _ in 0..free {
            // The gap whose parts are the largest; of equal ones, the nearest to the middle.
            let widest = gaps
                .iter_mut()
                .filter(|(gap, points)| *points < gap.size())
                .max_by_key(|(gap, points)| {
                    let off = (gap.from + gap.to).abs_diff(centre);
                    (gap.size() / (*points + 1), std::cmp::Reverse(off))
                });
            if let Some((_, points)) = widest {
                *points += 1;
            }
        }
        let mut positions = Vec::new();
        for (gap, points) in gaps {
            match points {
                0 => {}
                1 => positions.push(self.middle(gap)),
                _ => positions.extend((1..=points).map(|n| gap.at(n, points + 1))),
            }
        }
        positions
    }

    /// What is untried between the neighbours, without `running`.
    fn gaps(&self, running: &BTreeSet<usize>) -> Vec<Gap> {
        let tried =
            |position: &usize| self.skipped.contains(position) || running.contains(position);
        let mut gaps = Vec::new();
        let mut from = self.before;
        for to in (self.before + 1..self.after)
            .filter(tried)
            .chain([self.after])
        {
            if to > from + 1 {
                gaps.push(Gap { from, to });
            }
            from = to;
        }
        gaps
    }

    /// The position that divides a gap: of those that leave no more steps than the middle, one of
    /// the highest rank, as near to the middle as possible.
    fn middle(&self, gap: Gap) -> usize {
        let half = 1_usize << halvings(gap.size()).saturating_sub(1);
        (gap.from + 1..gap.to)
            .filter(|at| at - gap.from <= half && gap.to - at <= half)
            .max_by_key(|&at| {
                let off = (at - gap.from).abs_diff(gap.to - at);
                (self.ranks.get(at), std::cmp::Reverse(off))
            })
            .unwrap_or(gap.from + 1)
    }
}

impl Gap {
    fn size(self) -> usize {
        self.to - self.from - 1
    }

    /// The end of the `n`th of `parts` parts.
    fn at(self, n: usize, parts: usize) -> usize {
        self.from + (self.to - self.from) * n / parts
    }
}

/// ⌈log₂(`untried` + 1)⌉: how often that many kernels are halved until none is left.
fn halvings(untried: usize) -> u32 {
    usize::BITS - untried.leading_zeros()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn none() -> BTreeSet<usize> {
        BTreeSet::new()
    }

    #[test]
    fn the_middle_comes_first_and_a_series_is_preferred_where_it_costs_nothing() {
        let plain = Search::new(vec![0; 9]);
        assert_eq!(plain.next(&none(), 1), [4]);
        assert_eq!(plain.left(), 3);
        // Eight between: four steps at most from anywhere from the second to the seventh.
        let mut ranks = vec![0; 10];
        ranks[2] = 2;
        ranks[6] = 1;
        assert_eq!(Search::new(ranks.clone()).next(&none(), 1), [2]);
        // Seven between leave no choice.
        assert_eq!(Search::new(ranks[..9].to_vec()).next(&none(), 1), [4]);
    }

    #[test]
    fn several_at_once_divide_evenly_and_a_later_one_goes_into_the_largest_gap() {
        let mut search = Search::new(vec![0; 13]);
        assert_eq!(search.next(&none(), 3), [3, 6, 9]);
        search.take(6, Side::After);
        let running = BTreeSet::from([3]);
        assert!(!search.wants(9));
        assert_eq!(search.next(&running, 1), [5]);
    }

    #[test]
    fn a_skipped_middle_is_left_behind() {
        let mut search = Search::new(vec![0; 17]);
        search.take(8, Side::Unknown);
        let next = search.next(&none(), 1)[0];
        assert!(next.abs_diff(8) >= 3, "{next} is beside what was skipped");
    }

    #[test]
    fn if_all_between_are_skipped_they_are_the_answer() {
        let mut search = Search::new(vec![0; 5]);
        for _ in 0..3 {
            let at = search.next(&none(), 1)[0];
            search.take(at, Side::Unknown);
        }
        assert!(search.is_over());
        assert!(search.next(&none(), 4).is_empty());
        assert_eq!(search.neighbours(), (0, 4));
        assert_eq!(search.skipped().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn two_kernels_are_neighbours_from_the_start() {
        assert!(Search::new(vec![0; 2]).is_over());
        assert!(Search::new(vec![0; 2]).next(&none(), 2).is_empty());
    }

    /// Searches `n` kernels with the change before `change`; returns how many were tried.
    fn search(ranks: &[u8], change: usize, broken: &BTreeSet<usize>) -> (usize, Search) {
        let mut search = Search::new(ranks.to_vec());
        let mut tried = 0;
        while !search.is_over() {
            let at = search.next(&none(), 1)[0];
            assert!(search.wants(at));
            tried += 1;
            search.take(at, truth(at, change, broken));
        }
        (tried, search)
    }

    fn truth(at: usize, change: usize, broken: &BTreeSet<usize>) -> Side {
        match at {
            at if broken.contains(&at) => Side::Unknown,
            at if at >= change => Side::After,
            _ => Side::Before,
        }
    }

    proptest! {
        #[test]
        fn every_change_is_found_in_the_fewest_steps(
            ranks in prop::collection::vec(0_u8..3, 2..200),
            at in any::<prop::sample::Index>(),
        ) {
            let n = ranks.len();
            let change = 1 + at.index(n - 1);
            let (tried, search) = search(&ranks, change, &none());
            prop_assert_eq!(search.neighbours(), (change - 1, change));
            // With the two ends: at most the logarithm of n, and two.
            let limit = n.next_power_of_two().trailing_zeros() as usize;
            prop_assert!(tried <= limit, "{} of {}", tried, n);
        }

        #[test]
        fn skips_cost_one_boot_each_at_most_beyond_the_interval_and_hide_nothing(
            n in 2_usize..80,
            at in any::<prop::sample::Index>(),
            broken in prop::collection::btree_set(1_usize..80, 0..40),
        ) {
            let change = 1 + at.index(n - 1);
            let broken: BTreeSet<usize> = broken.into_iter().filter(|b| b + 1 < n).collect();
            let (tried, search) = search(&vec![0; n], change, &broken);
            prop_assert!(tried < n);
            let (before, after) = search.neighbours();
            prop_assert!(before < change && change <= after);
            // Only kernels that cannot say are between them.
            prop_assert!((before + 1..after).all(|at| broken.contains(&at)));
        }

        #[test]
        fn answers_in_any_order_from_several_at_once_find_the_same(
            n in 2_usize..120,
            at in any::<prop::sample::Index>(),
            broken in prop::collection::btree_set(1_usize..120, 0..10),
            jobs in 1_usize..6,
            order in prop::collection::vec(any::<prop::sample::Index>(), 300),
        ) {
            let change = 1 + at.index(n - 1);
            let broken: BTreeSet<usize> = broken.into_iter().filter(|b| b + 1 < n).collect();
            let mut search = Search::new(vec![0; n]);
            let mut running = BTreeSet::new();
            let mut tried = BTreeMap::new();
            let mut order = order.into_iter();
            while !search.is_over() {
                for at in search.next(&running, jobs - running.len()) {
                    prop_assert!(running.insert(at), "{} twice at once", at);
                    *tried.entry(at).or_insert(0) += 1;
                }
                prop_assert!(!running.is_empty() && running.len() <= jobs);
                let all: Vec<usize> = running.iter().copied().collect();
                let done = all[order.next().unwrap().index(all.len())];
                running.remove(&done);
                search.take(done, truth(done, change, &broken));
                running.retain(|at| search.wants(*at));
            }
            let (before, after) = search.neighbours();
            prop_assert!(before < change && change <= after);
            prop_assert!((before + 1..after).all(|at| broken.contains(&at)));
            prop_assert!(tried.values().all(|times| *times == 1));
        }
    }
}
