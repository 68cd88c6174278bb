//! A temporary directory for a command's work.

use super::Failure;
use crate::exit_code;
use crate::scratch::Scratch;

/// A temporary directory for a VM's sockets; removed when dropped.
pub(super) fn scratch_dir() -> Result<Scratch, Failure> {
    Scratch::new().map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot make a temporary directory: {error}"),
        )
        .hint("set TMPDIR to another directory")
    })
}
