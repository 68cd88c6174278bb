//! A limit for the work that hostile types can cause.

use std::cell::Cell;

use super::error::RelocError;

/// Steps for all relocations of an object against one kernel. A large object takes some 100,000.
const STEPS: u32 = 20_000_000;

/// Steps that are left. libbpf's comparisons take exponential time for types made to that end.
#[derive(Debug)]
pub struct Budget(Cell<u32>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(STEPS))
    }
}

impl Budget {
    /// Takes one step.
    pub fn step(&self) -> Result<(), RelocError> {
        let left = self.0.get().checked_sub(1).ok_or(RelocError::TooLong)?;
        self.0.set(left);
        Ok(())
    }
}
