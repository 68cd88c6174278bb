//! A checked kernel, and the words for what it has.

use crate::kernel::check::Finding;
use crate::kernel::facts::{Facts, Presence};
use crate::kernel::wants::Wanted;
use crate::vm::means::Means;

/// A kernel and all that is known of it.
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) release: String,
    pub(super) facts: Facts,
    pub(super) findings: Vec<Finding>,
    pub(super) modules: Vec<ModuleFinding>,
    /// How it boots, or why it does not.
    pub(super) boots: Result<Means, Refused>,
}

/// A module that `kernels.toml` loads before tests.
pub(super) struct ModuleFinding {
    pub(super) name: String,
    /// The file and the line that name it.
    pub(super) by: String,
    pub(super) presence: Presence,
}

/// Why a kernel does not boot.
pub(super) struct Refused {
    pub(super) why: String,
    pub(super) hints: Vec<String>,
}

impl Checked {
    /// How many of its options nobody knows.
    pub(super) fn unknown(&self) -> usize {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.met.is_none()).count()
    }
}

/// How a kernel has an option, in words.
pub(super) fn has(finding: &Finding) -> &'static str {
    match (finding.want.wanted, finding.presence) {
        (Wanted::Off, Some(Presence::Missing) | None) => "off",
        // The version is too new for the option, and does without.
        (_, None) if finding.want.until.is_some() => "not needed",
        (_, presence) => words(presence),
    }
}

/// The same of a module; `None` is an option that its version does not have.
pub(super) fn words(presence: Option<Presence>) -> &'static str {
    match presence {
        Some(Presence::BuiltIn) => "built in",
        Some(Presence::Module) => "module",
        Some(Presence::ModuleNotThere) => "not there",
        Some(Presence::Missing) => "missing",
        Some(Presence::Unknown) => "unknown",
        None => "too old",
    }
}
