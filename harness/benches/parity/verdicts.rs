//! The verdicts of both engines on a selection of tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// What both engines run.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// The directory that holds `runtime/`.
    pub(crate) tests: PathBuf,
    /// The tests; `None` means all.
    pub(crate) ids: Option<Vec<String>>,
    /// Loaded before the tests that look for modules: those of `kernels.toml`.
    pub(crate) modules: Vec<String>,
    /// Time limits are multiplied by this.
    pub(crate) scale: f64,
    /// VMs of kiln at the same time.
    pub(crate) jobs: u16,
    /// Continue with the results of an earlier run of upstream's engine.
    pub(crate) resume: bool,
    /// Our rules are off.
    pub(crate) compat: bool,
}

/// One engine's verdicts for an id, which several tests may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// A word for each test, sorted: `pass`, `fail`, `timeout`, `skip`, …
    pub(crate) verdicts: Vec<String>,
    /// kiln's rules that affected it.
    pub(crate) rules: BTreeSet<String>,
}

impl Said {
    pub(crate) fn add(&mut self, verdict: String) {
        self.verdicts.push(verdict);
        self.verdicts.sort();
    }

    /// The verdicts in one word.
    pub(crate) fn text(&self) -> String {
        if self.verdicts.is_empty() {
            return "none".to_owned();
        }
        self.verdicts.join("+")
    }
}

/// One engine's run.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) said: BTreeMap<String, Said>,
    /// Wall time, as each engine's module defines it; only of a completed run.
    pub(crate) wall: Option<Duration>,
}

impl Results {
    /// How many tests have this verdict.
    pub(crate) fn count(&self, verdict: &str) -> usize {
        let all = self.said.values().flat_map(|said| &said.verdicts);
        all.filter(|said| *said == verdict).count()
    }
}
