//! The one place that renders errors.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use crate::exit_code;
use crate::hint::{Hint, with_causes};
use crate::report::escape;
use crate::suite::Refusal;

/// An error for the user: exit code, message, hints.
#[derive(Debug)]
pub struct Failure {
    /// One of [`crate::exit_code`], or a guest's status.
    pub code: u8,
    /// What failed.
    pub message: String,
    /// What to do next.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure with this exit code.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// The same failure with another exit code.
    #[must_use]
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// The same failure with one more hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// For `exec` and `shell`, which pass on the guest's exit codes: their own set-up failures give
    /// 125.
    #[must_use]
    pub fn into_own_failure(self) -> Self {
        match self.code {
            exit_code::SETUP_FAILED | exit_code::VM_LOST => self.with_code(exit_code::OWN_FAILURE),
            _ => self,
        }
    }

    /// The failure as text for stderr.
    pub(super) fn render(&self) -> String {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let (red, reset) = if colour {
            ("\x1b[1;31m", "\x1b[0m")
        } else {
            ("", "")
        };
        // Escape: messages may contain text from guests and packages.
        let mut text = format!("{red}error{reset}: {}", escape::block(&self.message));
        for hint in &self.hints {
            text.push_str("\n  hint: ");
            text.push_str(&escape::block(hint));
        }
        text
    }

    /// Prints the failure to stderr and returns its exit code.
    pub fn report(&self) -> ExitCode {
        // If stderr is closed, there is nothing left to do.
        let _ = writeln!(std::io::stderr().lock(), "{}", self.render());
        ExitCode::from(self.code)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let mut hints = refusal.cause.hints();
        hints.extend(refusal.hint);
        Self {
            code: refusal.code,
            message: with_causes(&*refusal.cause),
            hints,
        }
    }
}

impl<E: Hint> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            code: exit_code::SETUP_FAILED,
            message: with_causes(&error),
            hints: error.hints(),
        }
    }
}
