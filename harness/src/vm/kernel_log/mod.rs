//! Kernel reports of problems on the console.
//!
//! The console is untrusted: a guest can print anything. A report can only
//! make the guest's own test fail.

mod arch;
mod form;
mod forms;
mod line;
mod patterns;
mod scanner;
mod taint;

pub use patterns::Patterns;
pub use scanner::Scanner;
pub use taint::Taint;

/// Kind of a line that `kernels.toml` denies.
pub const DENIED: &str = "denied";

/// One report.
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

/// The reports in a complete console, in order.
pub fn reports(console: &[u8]) -> Vec<KernelProblem> {
    let mut scanner = Scanner::default();
    scanner.push(console);
    scanner.finish();
    scanner.take()
}

/// Whether a line starts a report.
pub fn is_telling(line: &str) -> bool {
    !reports(line.as_bytes()).is_empty()
}
