//! What bpftrace says of a script that it compiles, loads and attaches.

use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

use crate::bpf::Verdict;

/// Why bpftrace does not run a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A type or a field is missing.
    Field,
    /// What it attaches to is missing, or cannot be attached to.
    Target,
    /// This bpftrace or this kernel does not support a probe or a feature.
    Unsupported,
    /// The kernel's verifier refuses it.
    Verifier,
    /// Anything else.
    Other,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub class: Class,
    /// What bpftrace says, in a line, with the place in the script.
    pub message: String,
}

/// Words of bpftrace, from 0.17 to 0.26, by what they mean. The first that fits counts.
const WORDS: [(Class, &[&str]); 4] = [
    (
        Class::Field,
        &[
            "does not contain a field named",
            "Can't find function parameter",
            "Can't find a field",
            "Unknown struct/union",
            "Unknown identifier: 'struct ",
            "Unknown identifier: 'union ",
            "Cannot resolve unknown type",
            "Cannot find type",
        ],
    ),
    (
        Class::Unsupported,
        &[
            "not available for your kernel",
            "not supported",
            "unsupported",
            "not available",
            "Invalid probe type",
            "Invalid provider",
            "Unknown function",
            "Unknown builtin",
            "missing required kernel feature",
            "Kernel does not support",
        ],
    ),
    (
        Class::Target,
        &[
            "tracepoint not found",
            "No matches for",
            "no BTF data for",
            "rror attaching probe",
            "nable to attach probe",
            "ould not attach probe",
            "failed to attach",
            "Could not resolve symbol",
            "No such function",
        ],
    ),
    (
        Class::Verifier,
        &[
            "Error loading program",
            "Error loading BPF program",
            "rejected by the verifier",
            "kernel verifier",
            "BPF program is too large",
            "failed to load",
        ],
    ),
];

impl Class {
    fn of(message: &str) -> Self {
        let fits = |(_, words): &&(Self, &[&str])| words.iter().any(|word| message.contains(word));
        WORDS
            .iter()
            .find(fits)
            .map_or(Self::Other, |(class, _)| *class)
    }

    /// What a refusal for this reason means for the script.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Target => Verdict::Unattached,
            _ => Verdict::Fails,
        }
    }

    /// In a word or some.
    pub fn word(self) -> &'static str {
        match self {
            Self::Field => "no such field or type",
            Self::Target => "cannot be attached",
            Self::Unsupported => "unsupported",
            Self::Verifier => "the verifier",
            Self::Other => "other",
        }
    }
}

/// Errors of bpftrace, and of clang in it.
static ERROR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?:(.*?:[0-9][0-9:.-]*): )?(?:ERROR|FATAL|(?:fatal )?error): (.*)$").ok()
});
/// Probes that it goes on without: `kprobe:x`, or `kprobe x`.
static SKIPPED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = "could not attach probe|nable to attach probe:|No matches for";
    Regex::new(&format!(r"(?:{words}) ([a-z]+)[: ]([^ ,]+)")).ok()
});

/// Why bpftrace, which printed `output`, does not run a script with these lists of probes; `None` if
/// it does. `failed` is how it ended, if it was not well.
pub fn refused(output: &str, failed: Option<&str>, probes: &[Vec<String>]) -> Option<Refused> {
    let Some(end) = failed else {
        return without_targets(output, probes);
    };
    let mut errors: Vec<Refused> = output.lines().filter_map(error).collect();
    // What clang says of headers is in front of what bpftrace makes of it.
    let first = errors.iter().position(|error| error.class != Class::Other);
    let first = first.unwrap_or(0);
    if first < errors.len() {
        return Some(errors.swap_remove(first));
    }
    let nothing = output
        .lines()
        .find(|line| line.contains("No probes to attach"));
    let last = output.lines().rfind(|line| !line.trim().is_empty());
    Some(Refused {
        class: if nothing.is_some() {
            Class::Target
        } else {
            Class::Other
        },
        message: match nothing.or(last) {
            Some(last) => format!("{end}: {}", last.trim()),
            None => end.to_owned(),
        },
    })
}

/// The error that a line is.
fn error(line: &str) -> Option<Refused> {
    let found = ERROR.as_ref()?.captures(line)?;
    let message = found.get(2)?.as_str();
    Some(Refused {
        class: Class::of(message),
        message: match found.get(1) {
            Some(place) => format!("{}: {message}", place.as_str()),
            None => message.to_owned(),
        },
    })
}

/// Lists of probes of which it has attached none.
fn without_targets(output: &str, probes: &[Vec<String>]) -> Option<Refused> {
    let found = output.lines().filter_map(|line| {
        let found = SKIPPED.as_ref()?.captures(line)?;
        let (kind, name) = (found.get(1)?.as_str(), found.get(2)?.as_str());
        Some(format!("{kind}:{}", name.trim_end_matches('.')))
    });
    let skipped: Vec<String> = found.collect();
    let gone = probes
        .iter()
        .find(|list| !list.is_empty() && list.iter().all(|probe| skipped.contains(probe)))?;
    Some(Refused {
        class: Class::Target,
        message: format!("it could not attach {}", gone.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(output: &str) -> Option<Class> {
        refused(output, Some("it exited with status 1"), &[]).map(|refused| refused.class)
    }

    #[test]
    fn what_bpftrace_says_is_sorted_by_what_it_means() {
        for (output, expected) in [
            (
                "runqlen.bt:37:9-26: ERROR: Struct/union of type 'struct cfs_rq' does not contain a field named 'nr_running'",
                Class::Field,
            ),
            (
                "x.bt:1:31-38: ERROR: Can't find function parameter x",
                Class::Field,
            ),
            (
                "x.bt:1:34-52: ERROR: Unknown struct/union: 'struct nosuch'",
                Class::Field,
            ),
            (
                "x.bt:1:1-19: ERROR: tracepoint not found: foo:bar",
                Class::Target,
            ),
            (
                "Attaching 2 probes...\ncannot attach kprobe, Invalid argument\nERROR: Error attaching probe: 'kprobe:swap_readpage'",
                Class::Target,
            ),
            (
                "x.bt:1:1-23: ERROR: kfunc:f: no BTF data for f",
                Class::Target,
            ),
            ("x.bt:1:1-2: ERROR: No matches for kprobe f.", Class::Target),
            ("No probes to attach", Class::Target),
            (
                "x.bt:1:1-12: ERROR: iter nonono not available for your kernel version.",
                Class::Unsupported,
            ),
            (
                "FATAL: Invalid probe type made it to attachpoint parser",
                Class::Unsupported,
            ),
            (
                "ERROR: Error loading program: kprobe:f (try -v)",
                Class::Verifier,
            ),
            (
                "definitions.h:4:10: fatal error: 'net/sock.h' file not found",
                Class::Other,
            ),
            ("", Class::Other),
        ] {
            assert_eq!(class(output), Some(expected), "{output}");
        }
    }

    #[test]
    fn the_place_in_the_script_is_kept() {
        let refused = refused(
            "w\nx.bt:1:31-38: ERROR: Can't find function parameter x\nx",
            Some("e"),
            &[],
        );
        let message = refused.map(|refused| refused.message);
        assert_eq!(
            message.as_deref(),
            Some("x.bt:1:31-38: Can't find function parameter x")
        );
    }

    #[test]
    fn a_list_of_probes_of_which_none_is_attached_has_no_target() {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let lists = [list(&["BEGIN"]), list(&["kprobe:a", "kprobe:b"])];
        let one = "WARNING: could not attach probe kprobe:a, skipping.\n";
        let both = format!("{one}x.bt:1: WARNING: No matches for kprobe b. Skipping.\n");
        assert_eq!(refused(one, None, &lists), None);
        let refused = refused(&both, None, &lists);
        assert_eq!(
            refused.map(|refused| (refused.class, refused.message)),
            Some((
                Class::Target,
                "it could not attach kprobe:a, kprobe:b".to_owned()
            ))
        );
    }
}
