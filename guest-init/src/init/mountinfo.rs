//! The mounts of `/proc/PID/mountinfo`, proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// A mount: filesystem type and mount point. Not its id: a filesystem that was unmounted and
/// mounted again is not a remnant.
pub(super) type Mount = (String, PathBuf);

/// The options of a mount, and those of its filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) mount: String,
    pub(super) filesystem: String,
}

/// Those of each mount; if several are on one mount point, of the topmost.
pub(super) type AllOptions = Vec<(Mount, Options)>;

/// All mounts of `mountinfo`, in order, and their options.
pub(super) fn read_mounts(text: &[u8]) -> (Vec<Mount>, AllOptions) {
    let mut mounts = Vec::new();
    let mut all = AllOptions::new();
    for (mount, options) in text.split(|&byte| byte == b'\n').filter_map(parse) {
        // Mounted by the kernel as soon as somebody looks there.
        if mount.1 != Path::new("/sys/kernel/debug/tracing") {
            all.push((mount.clone(), options));
            mounts.push(mount);
        }
    }
    (mounts, all)
}

/// A line of `mountinfo`, proc_pid_mountinfo(5): the mount point is the fifth
/// field and the options the sixth, the type follows a lone `-`, and the options
/// of the filesystem come last.
fn parse(line: &[u8]) -> Option<(Mount, Options)> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let point = fields.get(4)?;
    let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    let text = |at: usize| Some(String::from_utf8_lossy(fields.get(at)?).into_owned());
    let mount = (text(dash + 1)?, OsString::from_vec(unescaped(point)).into());
    let options = Options {
        mount: text(5)?,
        filesystem: text(dash + 3).unwrap_or_default(),
    };
    Some((mount, options))
}

/// Space, tab, newline and backslash are written as three octal digits.
pub(super) fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let digits = rest.get(..3).filter(|_| first == b'\\');
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(byte.unwrap_or(first));
        text = if byte.is_some() {
            rest.get(3..).unwrap_or_default()
        } else {
            rest
        };
    }
    plain
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    fn mount(fstype: &str, point: &str) -> Mount {
        (fstype.to_owned(), point.into())
    }

    #[test]
    fn a_mount_is_read_with_its_blanks_and_any_number_of_tags() {
        let line = b"36 35 98:0 / /a\\040b rw,noatime shared:1 master:2 - tmpfs none rw";
        let (read, options) = parse(line).unwrap();
        assert_eq!(read, mount("tmpfs", "/a b"));
        assert_eq!(options.mount, "rw,noatime");
        assert_eq!(options.filesystem, "rw");
        let line = b"36 35 98:0 / /a\\ rw - ext4 /dev/vda rw";
        assert_eq!(parse(line).unwrap().0, mount("ext4", "/a\\"));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"36 35 98:0 / /a rw"), None);
    }

    #[test]
    fn this_process_s_own_mounts_are_read() {
        let (mounts, _) = read_mounts(&fs::read("/proc/self/mountinfo").unwrap());
        assert!(
            mounts.iter().any(|(_, point)| point == Path::new("/proc")),
            "{mounts:?}"
        );
    }
}
