//! A mount namespace of a test's own, in which it puts other files over the host's.

use std::process::Command;

/// The options of unshare for one: a user who is not root needs a user namespace as well.
pub(crate) fn options() -> &'static str {
    if nix::unistd::geteuid().is_root() {
        "-m"
    } else {
        "-Urm"
    }
}

/// Whether mounts are allowed in one. Some containers allow none at all.
pub(crate) fn is_allowed() -> bool {
    let tried = Command::new("unshare")
        .args([options(), "mount", "-t", "tmpfs", "tmpfs", "/run"])
        .output();
    tried.is_ok_and(|output| output.status.success())
}
