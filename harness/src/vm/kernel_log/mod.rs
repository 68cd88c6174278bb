//! What a kernel says on its console when something is wrong with it.
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
pub struct KernelReport {
    /// What: `oops`, `warning`, `rcu stall`, `lockdep`, `kasan`, …
    pub kind: &'static str,
    /// The line that says what it is about, without the timestamp.
    pub title: String,
    /// Its lines.
    pub text: String,
    /// Why `kernels.toml` allows it: it is told, and no test fails by it.
    pub allowed: Option<String>,
    /// Why `kernels.toml` denies it, where nothing else makes it a report.
    pub denied: Option<String>,
}

impl KernelReport {
    /// Its title, and what `kernels.toml` says of it.
    pub fn summary(&self) -> String {
        match (&self.allowed, &self.denied) {
            (Some(reason), _) => format!("{} (allowed: {reason})", self.title),
            (None, Some(reason)) => format!("{} (denied: {reason})", self.title),
            (None, None) => self.title.clone(),
        }
    }
}

/// The reports in a whole console, in order.
pub fn reports(console: &[u8]) -> Vec<KernelReport> {
    let mut scanner = Scanner::default();
    scanner.push(console);
    scanner.finish();
    scanner.take()
}

/// Whether a line stands at the beginning of a report.
pub fn is_telling(line: &str) -> bool {
    !reports(line.as_bytes()).is_empty()
}
