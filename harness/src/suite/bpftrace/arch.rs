//! `ARCH`: the machines on which a test exists at all.

use super::dialect::ArchSyntax;
use crate::arch::Arch;

/// The entries of one `ARCH`; without entries it applies everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchRule {
    /// The test exists if one of these matches.
    pub only: Vec<String>,
    /// The test does not exist if one of these matches.
    pub except: Vec<String>,
}

impl ArchRule {
    /// Reads the value of `ARCH`.
    pub(super) fn parse(value: &str, syntax: ArchSyntax) -> Self {
        let mut rule = Self::default();
        for entry in value.split('|').map(super::python::strip) {
            match entry.strip_prefix('!') {
                Some(except) if syntax == ArchSyntax::EndianAndNegation => {
                    rule.except.push(except.to_owned());
                }
                _ => rule.only.push(entry.to_owned()),
            }
        }
        rule
    }

    /// Whether a test with this rule exists in a guest of `arch`.
    pub fn holds(&self, arch: Arch, syntax: ArchSyntax) -> bool {
        let endianness = if arch.is_little_endian() { "le" } else { "be" };
        let is = |entry: &String| match syntax {
            ArchSyntax::Machine => entry == arch.machine(),
            ArchSyntax::EndianAndNegation => entry == arch.machine() || entry == endianness,
        };
        (self.only.is_empty() || self.only.iter().any(is)) && !self.except.iter().any(is)
    }
}

/// The machine that somebody means by a name that no kernel uses.
pub(super) fn wrong_machine(name: &str) -> Option<&'static str> {
    Some(match name {
        "s390" => "s390x",
        "amd64" | "x86-64" | "x64" => "x86_64",
        "arm64" => "aarch64",
        "riscv" => "riscv64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(value: &str, syntax: ArchSyntax) -> bool {
        ArchRule::parse(value, syntax).holds(Arch::X86_64, syntax)
    }

    #[test]
    fn machines_are_compared_whole_and_by_case() {
        assert!(holds("aarch64 | x86_64", ArchSyntax::Machine));
        assert!(!holds("X86_64", ArchSyntax::Machine));
        assert!(!holds("x86", ArchSyntax::Machine));
    }

    #[test]
    fn endianness_and_negation_are_only_known_to_the_newest() {
        let newest = ArchSyntax::EndianAndNegation;
        assert!(holds("le", newest));
        assert!(!holds("le", ArchSyntax::Machine));
        assert!(holds("!s390x", newest));
        assert!(!holds("!s390x", ArchSyntax::Machine));
        assert!(!holds("le|!x86_64", newest));
        assert!(!holds("be", newest));
    }
}
