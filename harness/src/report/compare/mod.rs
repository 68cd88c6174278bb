//! Two runs side by side: what has become worse, better, slower, and what is new or gone.

mod change;
mod comparison;
mod entry;
mod error;
mod exercise;
mod junit_side;
mod noise;
mod notes;
mod rename;
mod sides;
mod words;

pub use change::Change;
pub use comparison::{Baseline, Comparison};
pub use error::CompareError;
pub use exercise::compare_junit;
pub use words::CompareFormat;
