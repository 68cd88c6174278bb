//! Compares what a kernel has with what is wanted of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::facts::{Facts, ImageFacts, Presence};
use super::wants::{self, WANTS, Want, Wanted, WantedBy};

/// A wanted option of a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Finding {
    /// What is wanted.
    pub want: &'static Want,
    /// How the kernel has it; `None` if its version of Linux has no such option.
    pub presence: Option<Presence>,
    /// Whether that is what is wanted; `None` if it is not known.
    pub met: Option<bool>,
    /// Others do as well, and these are there.
    pub replaced: bool,
}

impl Finding {
    /// What the kernel costs as it is; `None` if nothing.
    pub fn cost(&self) -> Option<&'static str> {
        (self.met == Some(false)).then_some(self.want.cost)
    }

    /// Whether a fragment is to mend this. A module that is wanted as such, and was built, only has
    /// to be installed.
    fn is_to_mend(&self) -> bool {
        let is_built =
            self.want.wanted == Wanted::Module && self.presence == Some(Presence::ModuleNotThere);
        self.met == Some(false) && !self.replaced && !is_built
    }
}

/// What a kernel has of everything that these want.
pub fn findings(facts: &Facts, image: ImageFacts, by: &[WantedBy]) -> Vec<Finding> {
    let presence = |option: &str| match option {
        // The image says so itself: no other is taken.
        "64BIT" => Presence::BuiltIn,
        // Else there would be none.
        "MODULES" if facts.has_modules() => Presence::BuiltIn,
        "PVH" if image.pvh => Presence::BuiltIn,
        "PVH" => Presence::Missing,
        "DEBUG_INFO_BTF" => match image.btf {
            Some(true) => Presence::BuiltIn,
            Some(false) => Presence::Missing,
            None => facts.option(option),
        },
        _ => facts.option(option),
    };
    let wants = WANTS.iter().filter(|want| by.contains(&want.by));
    wants
        .map(|want| {
            let has = want.is_in(facts.version()).then(|| presence(want.option));
            Finding {
                want,
                presence: has,
                met: met(want, has),
                replaced: !want.or.is_empty()
                    && want.or.iter().all(|other| presence(other).is_there()),
            }
        })
        .collect()
}

fn met(want: &Want, presence: Option<Presence>) -> Option<bool> {
    match (want.wanted, presence) {
        // Another option, or none, has taken its place.
        (_, None) if want.until.is_some() => Some(true),
        // What a version does not have it also cannot lock down.
        (Wanted::Off, None) => Some(true),
        (_, None) => Some(false),
        (_, Some(Presence::Unknown)) => None,
        (Wanted::On, Some(presence)) => Some(presence.is_there()),
        (Wanted::Module, Some(presence)) => Some(presence == Presence::Module),
        (Wanted::Off, Some(presence)) => Some(!presence.is_there()),
    }
}

/// The lines of a configuration that mend these findings, with what they depend on and the kernel
/// lacks, for `scripts/kconfig/merge_config.sh`; empty if there is nothing to mend.
pub fn fix(findings: &[Finding], facts: &Facts) -> String {
    let mut fragment = Fragment {
        version: facts.version(),
        facts: Some(facts),
        ..Fragment::default()
    };
    for finding in findings.iter().filter(|finding| finding.is_to_mend()) {
        // An option that this version does not have cannot be set.
        if finding.presence.is_some() {
            fragment.want(finding.want);
        }
    }
    fragment.text
}

/// Everything that these want of a configuration of this version of Linux, or of the newest.
pub fn whole(by: &[WantedBy], version: Option<(u64, u64)>) -> String {
    let mut fragment = Fragment {
        version,
        ..Fragment::default()
    };
    for by in by {
        let title = match by {
            WantedBy::Kiln => "What kiln wants.",
            WantedBy::Bpftrace => "What bpftrace and its tests want; BTF needs pahole (dwarves).",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(fragment.text, "# {title}");
        for want in WANTS.iter().filter(|want| want.by == *by) {
            // What is off by itself has no line in a configuration.
            if want.is_in(version) && want.wanted != Wanted::Off {
                fragment.want(want);
            }
        }
    }
    fragment.text
}

/// A fragment that is being written: what an option needs stands before it, and each once.
#[derive(Default)]
struct Fragment<'f> {
    version: Option<(u64, u64)>,
    /// What need not be written, as the kernel has it.
    facts: Option<&'f Facts>,
    done: BTreeSet<&'static str>,
    text: String,
}

/// Formats of debug information that are as good for BTF as [`DWARF4`].
const DWARF: [&str; 2] = ["DEBUG_INFO_DWARF5", "DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT"];
const DWARF4: &str = "DEBUG_INFO_DWARF4";

impl Fragment<'_> {
    fn want(&mut self, want: &'static Want) {
        if !self.done.insert(want.option) {
            return;
        }
        self.needs(want);
        self.line(want.option, want.wanted);
    }

    fn needs(&mut self, want: &'static Want) {
        for need in want.needs {
            let (option, wanted) = match need.strip_prefix('!') {
                Some(option) => (option, Wanted::Off),
                None => (*need, Wanted::On),
            };
            if self.has(option, wanted) {
                continue;
            }
            match wants::of(option) {
                Some(want) if want.is_in(self.version) => self.want(want),
                None if self.done.insert(option) => self.line(option, wanted),
                _ => {}
            }
        }
    }

    /// Whether the kernel has a dependency already.
    fn has(&self, option: &str, wanted: Wanted) -> bool {
        let Some(facts) = self.facts else {
            return false;
        };
        let there = |option: &str| facts.option(option) == Presence::BuiltIn;
        match wanted {
            Wanted::Off => facts.option(option) == Presence::Missing,
            _ if option == DWARF4 && DWARF.iter().any(|other| there(other)) => true,
            _ => there(option),
        }
    }

    fn line(&mut self, option: &str, wanted: Wanted) {
        // Writing to a string cannot fail.
        let _ = match wanted {
            Wanted::On => writeln!(self.text, "CONFIG_{option}=y"),
            Wanted::Module => writeln!(self.text, "CONFIG_{option}=m"),
            Wanted::Off => writeln!(self.text, "# CONFIG_{option} is not set"),
        };
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
