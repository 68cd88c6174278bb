//! Suites of BPF objects and bpftrace scripts: whether each loads on a kernel, by its types, its configuration and its
//! symbols. What loading it says is compared with that where the suite wants it.

mod judge;
mod said;
mod suite;

pub use judge::{contradiction, judge_load, judge_script, judge_static};
pub use said::{Class, Refused, refused};
pub use suite::BtfSuite;
