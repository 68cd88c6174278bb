//! Whether the kernel is tainted: an oops or a warning sets taint flags even if the console was
//! silenced.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// `/proc/sys/kernel/tainted`, kept open so that a mount over `/proc` cannot hide it. `None` if the
/// kernel lacks it.
#[derive(Debug)]
pub(crate) struct Taint {
    file: Option<File>,
    last: u64,
}

impl Taint {
    /// The flags before the first read.
    pub(crate) fn open() -> Self {
        Self {
            file: File::open("/proc/sys/kernel/tainted").ok(),
            last: 0,
        }
    }

    /// The flags, if they have changed since the last call.
    pub(crate) fn change(&mut self) -> Option<u64> {
        // A u64 in decimal, and a newline.
        let mut text = [0; 32];
        let length = self.file.as_ref()?.read_at(&mut text, 0).ok()?;
        let flags = parse(text.get(..length)?)?;
        (std::mem::replace(&mut self.last, flags) != flags).then_some(flags)
    }
}

fn parse(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn flags_are_reported_when_they_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tainted");
        std::fs::write(&path, "0\n").unwrap();
        let mut taint = Taint {
            file: File::open(&path).ok(),
            last: 0,
        };
        assert_eq!(taint.change(), None);
        std::fs::write(&path, "4736\n").unwrap();
        assert_eq!(taint.change(), Some(4736));
        assert_eq!(taint.change(), None);
    }

    #[test]
    fn a_kernel_that_does_not_say_has_no_flags() {
        let mut taint = Taint {
            file: None,
            last: 0,
        };
        assert_eq!(taint.change(), None);
        assert_eq!(parse(b"none\n"), None);
    }
}
