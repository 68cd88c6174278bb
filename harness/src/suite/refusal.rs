//! Why a suite of any kind cannot be run.

use crate::exit_code;
use crate::hint::Hint;

/// A suite that cannot be run, or a selection of tests that is impossible.
#[derive(Debug)]
pub struct Refusal {
    /// One of [`crate::exit_code`].
    pub code: u8,
    /// What is wrong.
    pub cause: Box<dyn Hint + Send + Sync>,
    /// Further hints, besides those of the cause.
    pub hint: Option<String>,
}

impl Refusal {
    /// The same with another exit code.
    #[must_use]
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// The same with one more hint.
    #[must_use]
    pub fn with_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }
}

impl<E: Hint + Send + Sync + 'static> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self {
            code: exit_code::SETUP_FAILED,
            cause: Box::new(error),
            hint: None,
        }
    }
}
