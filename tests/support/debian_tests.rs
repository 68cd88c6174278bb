//! The runtime tests of Debian's bpftrace, as `make bpftrace` has fetched them.

use std::fs;

use super::upstream_tests;

/// What is known of them.
pub(crate) struct DebianTests {
    /// Their language.
    pub(crate) dialect: &'static str,
    /// How many there are.
    pub(crate) count: usize,
    /// What `kiln lint` says of their number.
    pub(crate) said: String,
}

/// Those of this machine's bpftrace: Debian 12's 0.17, or Debian 13's 0.23.
pub(crate) fn debian_tests() -> DebianTests {
    let version = fs::read_to_string(upstream_tests().join(".complete")).unwrap();
    let (dialect, count, never) = match version.split('.').nth(1) {
        Some("17") => ("0.17", 507, 18),
        Some("23") => ("0.23", 792, 8),
        _ => panic!("tests of another version: {version}"),
    };
    DebianTests {
        dialect,
        count,
        said: format!("{count} tests in dialect {dialect}, {never} more"),
    }
}
