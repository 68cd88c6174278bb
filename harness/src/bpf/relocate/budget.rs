//! A limit for the work that hostile types can cause.

use std::cell::Cell;

use super::error::RelocError;

/// Steps for all relocations of an object against one kernel. A large object takes some 100,000.
const STEPS: u32 = 20_000_000;
/// Names for the explanations of an object against one kernel; a large struct has 300.
const NAMES: usize = 200_000;

/// Steps that are left. libbpf's comparisons take exponential time for types made to that end.
#[derive(Debug)]
pub struct Budget {
    steps: Cell<u32>,
    /// Names that may still be looked at for what somebody may have meant.
    names: Cell<usize>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            steps: Cell::new(STEPS),
            names: Cell::new(NAMES),
        }
    }
}

impl Budget {
    /// Takes one step.
    pub fn step(&self) -> Result<(), RelocError> {
        let left = self.steps.get().checked_sub(1);
        self.steps.set(left.ok_or(RelocError::TooLong)?);
        Ok(())
    }

    /// Whether so many names may be compared with one.
    pub fn compares(&self, names: usize) -> bool {
        let left = self.names.get().checked_sub(names);
        self.names.set(left.unwrap_or(0));
        left.is_some()
    }
}
