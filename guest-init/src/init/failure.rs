//! How PID 1 reports failures.

use std::io::Write;

/// Something that PID 1 needs has failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What PID 1 was doing.
    pub(crate) stage: &'static str,
    /// What went wrong, and on what.
    pub(crate) message: String,
}

/// Attaches stage and object to an error.
pub(crate) trait Context<T> {
    /// Turns an error into a [`Failure`] that names the stage and the thing.
    fn during(self, stage: &'static str, thing: &dyn std::fmt::Display) -> Result<T, Failure>;
}

impl<T, E: std::fmt::Display> Context<T> for Result<T, E> {
    fn during(self, stage: &'static str, thing: &dyn std::fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            stage,
            message: format!("{thing}: {error}"),
        })
    }
}

/// Writes a line to the console. Ignores errors.
pub(crate) fn console(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", guest_init::console::line(line));
}
