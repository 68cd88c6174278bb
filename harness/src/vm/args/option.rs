//! QEMU options, and what produces them.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

/// Something that a VM has.
pub(super) trait Device {
    /// Options of QEMU.
    fn qemu(&self) -> Vec<OsString>;

    /// Arguments of the guest's kernel.
    fn kernel(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A path as a value in QEMU's `key=value,key=value` options, where a comma is doubled (QEMU
/// manual, "Invocation").
pub(super) fn option_value(path: &Path) -> OsString {
    let mut escaped = Vec::with_capacity(path.as_os_str().len());
    for byte in path.as_os_str().as_bytes() {
        escaped.push(*byte);
        if *byte == b',' {
            escaped.push(b',');
        }
    }
    OsString::from_vec(escaped)
}

/// `prefix`, the escaped `path`, `suffix`.
pub(super) fn with_path(prefix: &str, path: &Path, suffix: &str) -> OsString {
    let mut option = OsString::from(prefix);
    option.push(option_value(path));
    option.push(suffix);
    option
}

/// Option and value.
pub(super) fn option(name: &str, value: impl Into<OsString>) -> [OsString; 2] {
    [name.into(), value.into()]
}
