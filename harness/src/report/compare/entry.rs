//! The results of one side, by test and kernel.

use std::collections::HashMap;

use crate::report::class::Class;
use crate::report::results::{OneResult, RunResults};

/// Which test on which kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub kernel: String,
    pub suite: String,
    pub id: String,
}

/// A result on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub(in crate::report) class: Class,
    pub ms: u64,
    pub reason: String,
    pub source: Option<(String, usize)>,
}

impl Entry {
    #[cfg(test)]
    pub(in crate::report) fn of(class: Class) -> Self {
        Self {
            class,
            ms: 0,
            reason: String::new(),
            source: None,
        }
    }
}

/// The tests of a run; of several of one name on one kernel the worst counts.
pub fn entries(run: &RunResults) -> (Vec<Key>, HashMap<Key, Entry>) {
    let mut order = Vec::new();
    let mut entries: HashMap<Key, Entry> = HashMap::new();
    for one in &run.results {
        let OneResult {
            kernel,
            suite,
            id,
            class,
            ms,
            reason,
            source,
        } = one.clone();
        let key = Key { kernel, suite, id };
        let entry = Entry {
            class,
            ms,
            reason,
            source,
        };
        match entries.get_mut(&key) {
            Some(known) if known.class.is_unexpected() || !class.is_unexpected() => {}
            Some(known) => *known = entry,
            None => {
                order.push(key.clone());
                entries.insert(key, entry);
            }
        }
    }
    (order, entries)
}
