//! Runs tests on VMs: the only place that knows both suites and VMs.

pub mod aslr;
mod attempts;
mod befores;
mod bpftrace;
pub mod capacity;
pub mod command;
mod command_suite;
pub mod dir;
mod driver;
pub mod event;
pub mod event_log;
pub mod expectations;
mod known;
mod leftovers;
pub mod merge;
pub mod partition;
mod place;
pub mod plan;
pub mod policy;
pub mod pool;
mod preflight;
pub mod runs;
mod runtime_test;
mod session;
mod slow;
pub mod tally;
pub mod times;
