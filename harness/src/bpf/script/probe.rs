//! What a script attaches to.

/// One thing that a probe attaches to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachPoint {
    /// As it is written.
    pub text: String,
    /// Bytes from the start of the script.
    pub at: usize,
    /// What it means.
    pub target: Target,
}

/// What an attach point means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A kprobe or kretprobe. The name may be a pattern.
    Kprobe {
        /// The module, where it is named.
        module: Option<String>,
        /// The function.
        function: String,
    },
    /// The start or end of a function, by BTF (fentry, fexit; kfunc, kretfunc before 0.22).
    Function {
        /// The module, where it is named.
        module: Option<String>,
        /// The function, or a pattern.
        name: String,
    },
    /// An event with a record of its fields.
    Tracepoint {
        /// `sched`.
        system: String,
        /// `sched_switch`, or a pattern.
        event: String,
    },
    /// A tracepoint without its record.
    RawTracepoint(String),
    /// An iterator.
    Iterator(String),
    /// What no kernel's BTF tells of: timers, user space, the script itself.
    Elsewhere,
}

/// Whether bpftrace takes a name as a pattern.
pub(super) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', '{'])
}

/// Whether an attach point of this kind has a path of a file in it, with slashes.
pub(super) fn has_path(kind: &str) -> bool {
    matches!(
        kind,
        "uprobe" | "uretprobe" | "usdt" | "u" | "ur" | "U" | "iter" | "it"
    )
}

impl Target {
    /// Reads an attach point.
    pub(super) fn parse(text: &str) -> Self {
        // Parameters of the script, and names in quotes.
        if text.contains(['$', '"', '\'']) || text.contains(char::is_whitespace) {
            return Self::Elsewhere;
        }
        let parts: Vec<&str> = text.split(':').collect();
        if parts.iter().skip(1).any(|part| part.is_empty()) {
            return Self::Elsewhere;
        }
        let own = |text: &str| text.to_owned();
        match parts.as_slice() {
            ["kprobe" | "kretprobe" | "k" | "kr", rest @ .., function] if rest.len() < 2 => {
                let function = function.split('+').next().unwrap_or_default();
                if function.starts_with(|c: char| c.is_ascii_digit()) {
                    return Self::Elsewhere;
                }
                Self::Kprobe {
                    module: rest.first().copied().and_then(module),
                    function: own(function),
                }
            }
            // Functions of other BPF programs.
            [
                "kfunc" | "kretfunc" | "fentry" | "fexit" | "f" | "fr",
                "bpf",
                ..,
            ] => Self::Elsewhere,
            [
                "kfunc" | "kretfunc" | "fentry" | "fexit" | "f" | "fr",
                rest @ ..,
                name,
            ] if rest.len() < 2 => Self::Function {
                module: rest.first().copied().and_then(module),
                name: own(name),
            },
            ["tracepoint" | "t", system, event] => Self::Tracepoint {
                system: own(system),
                event: own(event),
            },
            ["rawtracepoint" | "rt", rest @ .., event] if rest.len() < 2 => {
                Self::RawTracepoint(own(event))
            }
            ["iter" | "it", name, rest @ ..] if rest.len() < 2 => Self::Iterator(own(name)),
            _ => Self::Elsewhere,
        }
    }
}

/// The module that is named; `vmlinux` is the kernel itself.
fn module(name: &str) -> Option<String> {
    (name != "vmlinux").then(|| name.to_owned())
}
