//! Sizes of guest memory.

use std::fmt;
use std::str::FromStr;

/// With less than this no distribution kernel boots with an initramfs.
const MINIMUM_MIB: u64 = 64;

/// More than this is a typing error on today's machines.
const MAXIMUM_MIB: u64 = 16 << 20;

/// Guest memory in whole MiB, written as QEMU does: `512M`, `2G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize {
    mib: u64,
}

/// A text that is not a usable memory size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemorySizeError {
    /// Not `NUMBER[M|G|T]`.
    #[error(
        "\"{0}\" is not a memory size; allowed: a whole number with the suffix M, G or T, such as \"2G\""
    )]
    Syntax(String),
    /// Outside of what a guest can use.
    #[error("memory size \"{0}\" is out of range; allowed: {MINIMUM_MIB}M to 16T")]
    Range(String),
}

impl MemorySize {
    /// A size of `mib` MiB.
    pub const fn from_mib(mib: u64) -> Self {
        MemorySize { mib }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.mib << 20
    }
}

impl FromStr for MemorySize {
    type Err = MemorySizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || MemorySizeError::Syntax(text.to_owned());
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let shift = match &text[digits.len()..] {
            "M" | "m" | "MiB" => 0,
            "G" | "g" | "GiB" => 10,
            "T" | "t" | "TiB" => 20,
            _ => return Err(syntax()),
        };
        // `u64::from_str` would accept a leading plus sign.
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(syntax());
        }
        let range = || MemorySizeError::Range(text.to_owned());
        let mib = digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(1 << shift))
            .ok_or_else(range)?;
        if (MINIMUM_MIB..=MAXIMUM_MIB).contains(&mib) {
            Ok(MemorySize { mib })
        } else {
            Err(range())
        }
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mib {
            mib if mib % (1 << 20) == 0 => write!(f, "{}T", mib >> 20),
            mib if mib % (1 << 10) == 0 => write!(f, "{}G", mib >> 10),
            mib => write!(f, "{mib}M"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_size_is_a_number_with_a_suffix() {
        assert_eq!("2G".parse::<MemorySize>().unwrap().bytes(), 2 << 30);
        assert_eq!("512M".parse::<MemorySize>().unwrap().bytes(), 512 << 20);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "", "2", "G", "-1G", "+1G", "1.5G", "2 G", "2GB", "é2G", "2Gé",
        ] {
            assert!(
                matches!(text.parse::<MemorySize>(), Err(MemorySizeError::Syntax(_))),
                "{text}"
            );
        }
        for text in ["0G", "63M", "17T", "99999999999999999999G"] {
            assert!(
                matches!(text.parse::<MemorySize>(), Err(MemorySizeError::Range(_))),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(mib in MINIMUM_MIB..=MAXIMUM_MIB) {
            let size = MemorySize::from_mib(mib);
            prop_assert_eq!(size.to_string().parse::<MemorySize>().unwrap(), size);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<MemorySize>();
        }
    }
}
