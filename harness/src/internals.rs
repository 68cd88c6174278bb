//! What tests, benchmarks and fuzz targets use of the library. Nothing else
//! uses it, and it may change at any time.
//!
//! Each item says who needs it. Prefer a function to a type: everything that a
//! public type shows counts as used.

pub mod bare_boot;
pub mod fuzz;

use std::error::Error;
use std::path::Path;

use crate::config::Catalogue;
use crate::suite::bpftrace::Rule;

/// `benches/parity` and `benches/speed` read `events.jsonl`.
pub use crate::run::event::{Event, Verdict};
/// `benches/parity` and `benches/speed` read `events.jsonl`.
pub use crate::run::event_log::read_events;

/// `benches/parity`: the modules that a `kernels.toml` loads before all tests.
pub fn modules_before_tests(catalogue: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    Ok(Catalogue::load(catalogue)?.defaults.modules().to_vec())
}

/// `benches/parity`: the names of all rules by which verdicts differ from
/// those of upstream's engine.
pub fn rule_names() -> impl Iterator<Item = &'static str> {
    Rule::all().map(Rule::name)
}
