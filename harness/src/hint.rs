//! Errors for people: what failed, why, and what to do next.

use std::borrow::Cow;
use std::path::Path;

/// An error that may know how to fix it.
///
/// The message (`Display`) says what failed on which thing; the hints say what
/// to do about it, one line each. The CLI renders both in one place.
pub trait Hint: std::error::Error {
    /// Lines that say what to do next; empty if nothing helps.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}

/// An error with its causes, as shown to the user: `what failed: why: why that`. Many messages
/// already end with their cause, which is not repeated.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

/// How to make a file or directory readable.
pub(crate) fn readable(path: &Path) -> String {
    format!(
        "this user may not read it: run `sudo chmod -R a+rX {}`, or give kiln a readable copy",
        quoted(path)
    )
}

/// A path as a word in shell syntax.
pub(crate) fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    shlex::try_quote(&path).map_or_else(|_| path.to_string(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layer {
        #[error("cannot read the image")]
        Bare(#[source] io::Error),
        #[error("cannot read the module: {0}")]
        Full(#[source] io::Error),
        #[error("kernel 6.1: {0}")]
        Outer(#[source] Box<Layer>),
    }

    #[test]
    fn every_error_ends_with_its_cause_and_says_it_once() {
        let full = || io::Error::from_raw_os_error(nix::libc::ENOSPC);
        let why = "No space left on device (os error 28)";
        assert_eq!(
            with_causes(&Layer::Bare(full())),
            format!("cannot read the image: {why}")
        );
        assert_eq!(
            with_causes(&Layer::Full(full())),
            format!("cannot read the module: {why}")
        );
        assert_eq!(
            with_causes(&Layer::Outer(Box::new(Layer::Bare(full())))),
            format!("kernel 6.1: cannot read the image: {why}")
        );
    }
}
