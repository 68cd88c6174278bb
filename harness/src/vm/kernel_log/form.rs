//! The structure of a form of kernel reports.

/// What a line of a form means for its report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `cut here`: a report starts, and the next lines say which.
    Cut,
    /// A separate report.
    Opens,
    /// Comes before a `BUG()`, a `WARN()` or an oops, and says why.
    Precedes,
    /// A line of an oops, which has several of these.
    Dies,
    /// The line of `WARN()`.
    Warns,
    /// The kernel's last message.
    Panics,
    /// Follows an oops.
    After,
    /// The end of a report.
    Ends,
}

/// Whether a line without a timestamp counts, which any program can print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bare {
    Yes,
    No,
}

/// A form of a line.
pub(super) struct Form {
    pub(super) kind: &'static str,
    pub(super) role: Role,
    pub(super) bare: Bare,
    /// A regular expression, anchored at the start of the message.
    pub(super) regex: &'static str,
}

/// A form; `regex` is a regular expression, anchored at the start of the message.
pub(super) const fn form(kind: &'static str, role: Role, bare: Bare, regex: &'static str) -> Form {
    Form {
        kind,
        role,
        bare,
        regex,
    }
}

/// What may follow `[#N]`: the kernel's build options, such as ` PREEMPT(voluntary) SMP NOPTI`.
macro_rules! flags {
    () => {
        r":?(?: [A-Z][A-Z_0-9]*(?:\([a-z+]+\))?)*\s*$"
    };
}
pub(super) use flags;
