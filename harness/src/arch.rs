//! Architectures that a guest can have, and their names elsewhere.
//!
//! `vm/arch/` describes the VM of each, `kernel/image/` the formats of its kernel images.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The architecture of a kernel, and of the guest that runs it.
///
/// Caches, locks and `kernels.toml` files without one mean the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit x86.
    #[default]
    #[serde(rename = "x86_64")]
    X86_64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::X86_64];

    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64",
        }
    }

    /// Its name in `uname -m` and in `kernels.toml`.
    pub const fn machine(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
        }
    }

    /// Its directory below `arch` in Linux's sources (`SRCARCH`).
    pub const fn source_directory(self) -> &'static str {
        match self {
            Self::X86_64 => "x86",
        }
    }

    /// Its name in Debian (`dpkg --print-architecture`).
    pub const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
        }
    }

    /// Its system name in Nix.
    pub const fn nix(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux",
        }
    }

    /// The QEMU program that runs its guests.
    pub const fn qemu(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
        }
    }

    /// Whether the least significant byte of a number comes first.
    pub const fn is_little_endian(self) -> bool {
        match self {
            Self::X86_64 => true,
        }
    }

    /// Prefix of cache keys. Empty for the first architecture, to which all earlier cache entries
    /// belong.
    pub(crate) const fn key_prefix(self) -> &'static str {
        match self {
            Self::X86_64 => "",
        }
    }

    /// Whether it is the default in files.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.machine())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Table {
        #[serde(default, skip_serializing_if = "Arch::is_default")]
        arch: Arch,
    }

    #[test]
    fn a_file_names_an_architecture_as_the_kernel_does() {
        for arch in Arch::ALL {
            let table: Table = toml::from_str(&format!("arch = \"{arch}\"")).unwrap();
            assert_eq!(table.arch, arch);
        }
        assert!(toml::from_str::<Table>("arch = \"x86\"").is_err());
    }

    #[test]
    fn a_file_from_before_there_were_architectures_is_read_and_written_as_it_was() {
        let table: Table = toml::from_str("").unwrap();
        assert_eq!(table.arch, Arch::X86_64);
        assert_eq!(toml::to_string(&table).unwrap(), "");
    }
}
