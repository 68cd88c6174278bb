//! Kernel reports of problems on the console.
//!
//! The console is untrusted: a guest can print anything. A report can only
//! make the guest's own test fail.

mod arch;
mod form;
mod forms;
mod line;
mod patterns;
mod problem;
mod scanner;
mod taint;

pub use patterns::Patterns;
pub use problem::KernelProblem;
pub use scanner::Scanner;
pub use taint::Taint;

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
