//! One result of a series.

use crate::report::class::Class;

/// A result in one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) run: usize,
    pub(super) class: Class,
    pub(super) ms: u64,
    /// Runs with the same image and program have the same number.
    pub(super) material: usize,
}
