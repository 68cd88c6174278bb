//! Suites of BPF objects: whether each loads on a kernel, by its types, its configuration and its
//! symbols. What loading it says is compared with that where the suite wants it.

mod judge;
mod suite;

pub use judge::{contradiction, judge_load, judge_static};
pub use suite::BtfSuite;
