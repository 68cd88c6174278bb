//! How many files a share may keep open.

use std::fs;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Error;

/// Descriptors reserved for the server itself: one for each of the 509 memory slots that
/// vhost-user-backend 0.22 allows, and some more for sockets, event fds and the one inode being
/// opened.
pub const OWN_DESCRIPTORS: u64 = 509 + 101;

/// The most that any process may have (proc_sys_fs(5)).
const SYSTEM_LIMIT: &str = "/proc/sys/fs/nr_open";

/// Raises the limit of open files as far as this user may, and returns how many of them a guest may
/// use. Each inode that the guest caches holds one; past the limit it gets ENFILE, and the server
/// continues.
pub(super) fn raise() -> Result<u64, Error> {
    let limit = raise_open_files().map_err(|errno| Error::Setup {
        what: "raise the limit of open files",
        message: errno.to_string(),
    })?;
    guest_files(limit).ok_or(Error::OpenFiles {
        limit,
        needed: OWN_DESCRIPTORS + 1,
    })
}

/// How many files of a share a guest may cache at a time, if a process may have `limit` open;
/// `None` if that is too few for a share.
pub fn guest_files(limit: u64) -> Option<u64> {
    limit.checked_sub(OWN_DESCRIPTORS).filter(|left| *left > 0)
}

/// Raises this process's limit of open files: to the system's if the user may (`CAP_SYS_RESOURCE`),
/// else to the hard limit. Returns the limit.
pub fn raise_open_files() -> Result<u64, Errno> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let most = fs::read_to_string(SYSTEM_LIMIT)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .filter(|most| *most > hard);
    if let Some(most) = most
        && setrlimit(Resource::RLIMIT_NOFILE, most, most).is_ok()
    {
        return Ok(most);
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// The hard limit of open files (`RLIMIT_NOFILE`).
pub fn hard_limit() -> Option<u64> {
    getrlimit(Resource::RLIMIT_NOFILE)
        .ok()
        .map(|(_, hard)| hard)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_number_of_files_for_a_guest_is_computed() {
        assert_eq!(guest_files(OWN_DESCRIPTORS), None);
        assert_eq!(guest_files(4_096), Some(4_096 - OWN_DESCRIPTORS));
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_one_at_least() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let limit = raise_open_files().unwrap();
        assert!(limit >= hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (limit, limit));
    }
}
