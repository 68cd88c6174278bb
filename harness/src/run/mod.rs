//! Runs tests on VMs: the only place that knows both suites and VMs.

pub mod command;
pub mod dir;
pub mod event;
pub mod event_log;
pub mod tally;
