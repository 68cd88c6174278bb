//! Which processes are left, by what they carry of a test's directory.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

/// How long the last process may take to go: a killed QEMU gives its memory
/// back first.
const GRACE: Duration = Duration::from_secs(5);

/// Processes, zombies aside, whose arguments or environment name `path`; with
/// their arguments.
pub(crate) fn processes_naming(path: &Path) -> Vec<(Pid, String)> {
    let wanted = path.as_os_str().as_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let arguments = read("cmdline");
        if contains(&arguments, wanted) || contains(&read("environ"), wanted) {
            let text = String::from_utf8_lossy(&arguments).replace('\0', " ");
            found.push((Pid::from_raw(pid), text));
        }
    }
    found
}

/// The children of a process, with their `comm`.
pub(crate) fn children(parent: Pid) -> Vec<(Pid, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else {
            continue;
        };
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.map(|line| line[name.len()..].trim().to_owned())
        };
        if field("PPid:").as_deref() == Some(parent.to_string().as_str())
            && let Some(pid) = field("Pid:").and_then(|pid| pid.parse().ok())
        {
            found.push((Pid::from_raw(pid), field("Name:").unwrap_or_default()));
        }
    }
    found
}

/// Whether a process has ended.
pub(crate) fn is_gone(pid: Pid) -> bool {
    // A zombie has no arguments any more.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty())
        || !Path::new(&format!("/proc/{pid}")).exists()
}

pub(super) fn assert_none(path: &Path) {
    let start = Instant::now();
    loop {
        let left = processes_naming(path);
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < GRACE, "processes are left: {left:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}
