//! Finds processes that are left, by a test's directory in their arguments or environment.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

/// How long the last process may take to end: a killed QEMU first frees its memory.
const GRACE: Duration = Duration::from_secs(5);

/// Processes, except zombies, whose arguments or environment contain `path`; with their arguments.
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
