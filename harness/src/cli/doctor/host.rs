//! What `doctor` checks of the host.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::statvfs::statvfs;
use nix::unistd::ftruncate;

use super::check::{Check, Status};
use crate::guest::share;
use crate::hint::Hint;
use crate::store::{self, Store};
use crate::vm::args::MAX_SOCKET_PATH;
use crate::vm::relief::RAISE_LIMIT;

const MIB: u64 = 1 << 20;

/// Default memory of a VM, in bytes.
const VM_MEMORY: u64 = 2048 * MIB;

/// Disk space for a kernel, in bytes: package, unpacked modules, vmlinux.
const KERNEL_ROOM: u64 = 300 * MIB;

/// Disk space for the kernels of a usual matrix, in bytes.
const CACHE_ROOM: u64 = 2048 * MIB;

/// About how many files a guest touches in a test suite.
const COMFORTABLE_FILES: u64 = 8_192;

/// Bytes that our sockets' names add to the path of the temporary directory.
const SOCKET_NAME: usize = 40;

pub(super) fn memory() -> Check {
    const NAME: &str = "memory";
    let available = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| mem_available(&text));
    match available {
        None => Check::warn(NAME, "cannot find out how much is available"),
        Some(bytes) if bytes < VM_MEMORY => Check::warn(
            NAME,
            format!("{} MiB available, less than one VM may use", bytes / MIB),
        )
        .remedy("give VMs less memory: memory = \"1G\" below [defaults] in kernels.toml"),
        Some(bytes) => Check::ok(
            NAME,
            format!(
                "{} MiB available, room for {} VMs",
                bytes / MIB,
                bytes / VM_MEMORY
            ),
        ),
    }
}

/// `MemAvailable` of /proc/meminfo (proc(5)) in bytes.
fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Guest memory is a memfd of the VM's size, which the share processes map.
pub(super) fn memfd() -> Check {
    const NAME: &str = "shared memory";
    let made = memfd_create(c"kiln-doctor", MFdFlags::MFD_CLOEXEC)
        .and_then(|fd| ftruncate(fd, i64::try_from(VM_MEMORY).unwrap_or(i64::MAX)));
    match made {
        Ok(()) => Check::ok(NAME, "a memfd of a VM's size can be created"),
        Err(errno) => Check::fail(
            NAME,
            format!("cannot create a memfd of a VM's size: {errno}"),
        )
        .remedy(
            "raise the limits of file size and address space: `ulimit -f unlimited -v \
                 unlimited`",
        ),
    }
}

/// Each file that a guest caches holds a file descriptor in its share process.
pub(super) fn open_files() -> Check {
    const NAME: &str = "open files";
    // As a share process does.
    match share::raise_open_files() {
        Err(errno) => Check::warn(NAME, format!("cannot find out the limit: {errno}")),
        Ok(limit) => judge_open_files(limit),
    }
}

fn judge_open_files(limit: u64) -> Check {
    const NAME: &str = "open files";
    match share::guest_files(limit) {
        None => Check::fail(
            NAME,
            format!(
                "hard limit {limit}, but a share needs at least {}",
                share::OWN_DESCRIPTORS + 1
            ),
        )
        .remedy(RAISE_LIMIT),
        Some(left) => {
            let status = if left < COMFORTABLE_FILES {
                Status::Warn
            } else {
                Status::Ok
            };
            let check = Check::new(
                status,
                NAME,
                format!(
                    "limit {limit}: a guest may use {left} files of a share at a time, and walks \
                     over more are slow"
                ),
            );
            if status == Status::Warn {
                check.remedy(RAISE_LIMIT)
            } else {
                check
            }
        }
    }
}

pub(super) fn landlock() -> Check {
    const NAME: &str = "Landlock";
    if share::landlock_supported() {
        Check::ok(NAME, "supported by this kernel, and used for shares")
    } else {
        Check::warn(
            NAME,
            "not supported by this kernel: shares rely on seccomp and permissions",
        )
        .remedy("kernels have it since 5.13; it may need lsm=landlock,... on the command line")
    }
}

/// Sockets live there, and the length of their paths is limited.
pub(super) fn temporary_directory(dir: &Path) -> Check {
    const NAME: &str = "temporary files";
    let length = dir.as_os_str().as_bytes().len();
    if let Err(error) = writable(dir) {
        return Check::fail(NAME, format!("cannot write to {}: {error}", dir.display()))
            .remedy("set TMPDIR to a directory of yours");
    }
    if length + SOCKET_NAME > MAX_SOCKET_PATH {
        return Check::fail(
            NAME,
            format!("{} is too long for UNIX sockets below it", dir.display()),
        )
        .remedy("export TMPDIR=/tmp");
    }
    Check::ok(NAME, dir.display().to_string())
}

pub(super) fn cache(dir: &Path) -> Check {
    const NAME: &str = "cache";
    match fs::create_dir_all(dir).and_then(|()| writable(dir)) {
        Ok(()) => Check::ok(NAME, dir.display().to_string()),
        Err(error) => Check::fail(NAME, format!("cannot write to {}: {error}", dir.display()))
            .remedy("set XDG_CACHE_HOME to a directory of yours"),
    }
}

pub(super) fn disk(dir: &Path) -> Check {
    const NAME: &str = "disk space";
    match statvfs(dir) {
        Err(errno) => Check::warn(
            NAME,
            format!("cannot find out for {}: {errno}", dir.display()),
        ),
        Ok(stat) => judge_disk(stat.blocks_available().saturating_mul(stat.fragment_size())),
    }
}

fn judge_disk(free: u64) -> Check {
    const NAME: &str = "disk space";
    let found = format!("{} MiB free for the cache", free / MIB);
    if free < KERNEL_ROOM {
        Check::fail(NAME, format!("{found}, not enough for one kernel"))
            .remedy("free some space, or set XDG_CACHE_HOME to a directory on another disk")
    } else if free < CACHE_ROOM {
        Check::warn(NAME, format!("{found}, enough for only a few kernels"))
            .remedy("free some space, or set XDG_CACHE_HOME to a directory on another disk")
    } else {
        Check::ok(NAME, found)
    }
}

/// Only `--root nix`, kernels of `nix` sources and `kiln ci` need it.
pub(super) fn nix() -> Check {
    const NAME: &str = "Nix";
    let found = Store::from_env().and_then(|store| Ok((store::nix_version()?, store.files())));
    match found {
        Ok((version, files)) => Check::ok(NAME, format!("{version}, with {}", files.display())),
        Err(error @ store::Error::NotInstalled { .. }) => {
            let found = "not on PATH: `--root nix`, kernels of nix sources and `kiln ci` need it";
            with_hints_of(Check::warn(NAME, found), &error)
        }
        Err(error) => with_hints_of(Check::warn(NAME, error.to_string()), &error),
    }
}

fn with_hints_of(check: Check, error: &impl Hint) -> Check {
    error.hints().into_iter().fold(check, Check::remedy)
}

/// Tries to write, because permission bits do not show read-only mounts.
fn writable(dir: &Path) -> io::Result<()> {
    tempfile::tempfile_in(dir).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn available_memory_is_read_in_bytes() {
        let text = "MemTotal:  100 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(mem_available(text), Some(2 * MIB));
        assert_eq!(mem_available("MemTotal: 1 kB"), None);
    }

    #[test]
    fn limits_of_open_files_are_judged() {
        assert_eq!(judge_open_files(256).status, Status::Fail);
        assert_eq!(judge_open_files(4_096).status, Status::Warn);
        assert_eq!(judge_open_files(20_000).status, Status::Ok);
    }

    #[test]
    fn disk_space_is_judged() {
        assert_eq!(judge_disk(MIB).status, Status::Fail);
        assert_eq!(judge_disk(1024 * MIB).status, Status::Warn);
        assert_eq!(judge_disk(4096 * MIB).status, Status::Ok);
    }

    #[test]
    fn a_cache_below_a_file_cannot_be_written() {
        let check = cache(Path::new("/dev/null/kiln"));
        assert_eq!(check.status, Status::Fail);
        assert!(!check.remedies.is_empty());
    }

    #[test]
    fn a_temporary_directory_must_leave_room_for_socket_names() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("x".repeat(100));
        fs::create_dir(&dir).unwrap();
        assert_eq!(temporary_directory(&dir).status, Status::Fail);
    }
}
