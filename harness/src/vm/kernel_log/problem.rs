//! What the kernel reported.

/// Kind of a line that `kernels.toml` denies.
pub const DENIED: &str = "denied";

/// One problem that the kernel reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelProblem {
    /// The kind: `oops`, `warning`, `rcu stall`, `lockdep`, `kasan`, …
    pub kind: &'static str,
    /// The line that says what it is about, without its timestamp.
    pub title: String,
    /// Its lines.
    pub text: String,
    /// Why `kernels.toml` allows it: it is shown, and fails no test.
    pub allowed: Option<String>,
    /// Why `kernels.toml` denies it, if it is a report only because of that.
    pub denied: Option<String>,
}

impl KernelProblem {
    /// Its title, and what `kernels.toml` says about it.
    pub fn summary(&self) -> String {
        match (&self.allowed, &self.denied) {
            (Some(reason), _) => format!("{} (allowed: {reason})", self.title),
            (None, Some(reason)) => format!("{} (denied: {reason})", self.title),
            (None, None) => self.title.clone(),
        }
    }
}
