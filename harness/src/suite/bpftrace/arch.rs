//! `ARCH`: on which machines a test exists at all.

use super::dialect::ArchSyntax;

/// The machine that tests run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `uname -m`, in lower case.
    pub machine: String,
    /// Least significant byte first.
    pub little_endian: bool,
}

impl Host {
    /// The machine that this program was built for; a VM's is the same.
    pub fn current() -> Self {
        let little_endian = cfg!(target_endian = "little");
        // Rust's name for the machine is the kernel's, with these exceptions.
        let machine = match std::env::consts::ARCH {
            "powerpc64" if little_endian => "ppc64le",
            "powerpc64" => "ppc64",
            "arm" => "armv7l",
            "x86" => "i686",
            same => same,
        };
        Self {
            machine: machine.to_owned(),
            little_endian,
        }
    }

    fn is(&self, entry: &str) -> bool {
        entry == self.machine || entry == if self.little_endian { "le" } else { "be" }
    }
}

/// The entries of one `ARCH`; without entries it holds everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchRule {
    /// The test exists where one of these holds.
    pub only: Vec<String>,
    /// The test does not exist where one of these holds.
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

    /// Whether a test with this rule exists on `host`.
    pub fn holds(&self, host: &Host, syntax: ArchSyntax) -> bool {
        let is = |entry: &String| match syntax {
            ArchSyntax::Machine => *entry == host.machine,
            ArchSyntax::EndianAndNegation => host.is(entry),
        };
        (self.only.is_empty() || self.only.iter().any(is)) && !self.except.iter().any(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(value: &str, syntax: ArchSyntax) -> bool {
        let host = Host {
            machine: "x86_64".to_owned(),
            little_endian: true,
        };
        ArchRule::parse(value, syntax).holds(&host, syntax)
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
