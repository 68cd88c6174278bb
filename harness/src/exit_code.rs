//! Exit codes, a stable interface of the command line.
//!
//! `run` and the subcommands that boot nothing use the first group; `exec` and `shell` pass the
//! guest's status through, and use [`OWN_FAILURE`] for kiln's own failures, as `timeout` and
//! `docker run` do.

/// Everything went as expected.
pub const OK: u8 = 0;
/// The command line could not be understood.
pub const USAGE: u8 = 2;
/// No test was selected.
pub const NOTHING_SELECTED: u8 = 4;
/// Set-up failed: no QEMU, no kernel, a bad file.
pub const SETUP_FAILED: u8 = 96;
/// A VM was lost and its tests could not be finished.
pub const VM_LOST: u8 = 97;
/// At least one test failed.
pub const TESTS_FAILED: u8 = 100;
/// Interrupted by SIGINT.
pub const INTERRUPTED: u8 = 130;
/// `exec`: the command ran longer than `--timeout`, as in timeout(1).
pub const TIMED_OUT: u8 = 124;
/// `exec` and `shell`: kiln itself failed, not the guest's command.
pub const OWN_FAILURE: u8 = 125;
/// `exec`: the command was found but could not be executed.
pub const CANNOT_EXECUTE: u8 = 126;
/// `exec`: the command was not found in the guest.
pub const NOT_FOUND: u8 = 127;
/// `exec`: base to which the number of a fatal signal is added.
pub const SIGNAL_BASE: u8 = 128;
