//! What is found changed after a test.

use std::time::{Duration, Instant};

use guest_init::message::{Remnant, RemnantKind};

/// How long restoring may take in total; the rest then stays changed.
const BUDGET: Duration = Duration::from_secs(10);
/// The length to which names are cut: a path may have 4096 bytes.
const MAX_NAME: usize = 200;

/// What was found, and the deadline for restoring it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) remnants: Vec<Remnant>,
    pub(super) deadline: Instant,
}

impl Found {
    pub(super) fn new() -> Self {
        Self {
            remnants: Vec::new(),
            deadline: Instant::now() + BUDGET,
        }
    }

    pub(super) fn add(&mut self, kind: RemnantKind, name: &str, gone: bool) {
        self.remnants.push(Remnant {
            kind,
            name: shown(name),
            gone,
        });
    }

    pub(super) fn late(&self) -> bool {
        Instant::now() > self.deadline
    }
}

/// What is in the first list but not in the second.
pub(super) fn beyond<'a, T: PartialEq>(
    these: &'a [T],
    those: &'a [T],
) -> impl Iterator<Item = &'a T> {
    these.iter().filter(|one| !those.contains(one))
}

/// A name, cut to fit a message.
pub(in super::super) fn shown(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}
