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

/// A command that runs this script in one. Its last words are the command that the script gets:
/// `exec "$@"`.
pub(crate) fn running(script: &str) -> [&str; 6] {
    ["unshare", options(), "sh", "-c", script, "sh"]
}

/// Whether mounts are allowed in one. Some containers allow none at all.
pub(crate) fn is_allowed() -> bool {
    let tried = Command::new("unshare")
        .args([options(), "mount", "-t", "tmpfs", "tmpfs", "/run"])
        .output();
    tried.is_ok_and(|output| output.status.success())
}
