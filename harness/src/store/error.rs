//! What can go wrong with a store, and how Nix explains it.

use std::io;
use std::path::PathBuf;

use crate::hint::Hint;
use crate::program;

/// A store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no `nix`.
    #[error("cannot {wanted}: nix is not installed")]
    NotInstalled {
        /// What it was wanted for, as in `build .#kernel`.
        wanted: String,
    },
    /// Nix took too long or could not be run.
    #[error("cannot {wanted}: {source}")]
    Program {
        /// Its purpose.
        wanted: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nix failed.
    #[error("cannot {wanted}: {cause}")]
    Failed {
        /// Its purpose.
        wanted: String,
        /// Its own message, one line.
        cause: String,
        /// The command that tells more.
        more: String,
    },
    /// Nix succeeded, but its output cannot be parsed.
    #[error("cannot {wanted}: cannot parse the output of nix: {reason}")]
    Answer {
        /// Its purpose.
        wanted: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a store whose files are on this machine.
    #[error("store {store:?} is not on this machine")]
    UnknownStore {
        /// The setting.
        store: String,
    },
    /// A file of a store could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What kiln did with it.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// Wraps the error that kept `nix` from running.
    pub(super) fn program(wanted: &str, error: program::Error) -> Self {
        let wanted = wanted.to_owned();
        match error {
            program::Error::Missing { .. } => Self::NotInstalled { wanted },
            other => Self::Program {
                wanted,
                source: Box::new(other),
            },
        }
    }
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotInstalled { .. } => vec![
                "install Nix: https://nixos.org/download, or the package nix-bin on Debian"
                    .to_owned(),
                "without Nix, use --root host, --root dir:PATH or --root nix:STORE (a store's \
                 files as they are)"
                    .to_owned(),
            ],
            Self::Failed { cause, more, .. } => {
                let mut hints = vec![format!("see more with: {more}")];
                if cause.contains("unfree") {
                    hints.push(
                        "nixpkgs refuses unfree packages unless its configuration has `allowUnfree = true`"
                            .to_owned(),
                    );
                }
                hints
            }
            Self::UnknownStore { .. } => vec![
                "a guest needs the files: name a directory (a chroot store), auto, daemon or \
                 local; `nix copy` copies paths from elsewhere"
                    .to_owned(),
            ],
            Self::Program { .. } | Self::Answer { .. } | Self::Io { .. } => Vec::new(),
        }
    }
}

/// The cause from Nix's stderr, as one line, and the derivation whose log has more.
///
/// Nix 2.8 writes `error: builder for 'DRV' failed with exit code 1;` and then
/// one `error: N dependencies of derivation … failed to build` for each
/// derivation that waited; 2.34 writes `error: Cannot build 'DRV'.`
/// with `Reason: …` below it. An error of evaluation has its trace first and
/// the cause last.
pub(super) fn cause(stderr: &str) -> (String, Option<String>) {
    let lines: Vec<&str> = stderr.lines().map(str::trim).collect();
    let message = |line: &str| {
        line.strip_prefix("error:")
            .map(|text| text.trim().to_owned())
    };
    let builder = lines.iter().enumerate().find_map(|(at, line)| {
        let text = message(line)?;
        let lower = text.to_ascii_lowercase();
        (lower.starts_with("builder for '") || lower.starts_with("cannot build '"))
            .then_some((at, text))
    });
    if let Some((at, mut text)) = builder {
        let derivation = text.split('\'').nth(1).map(str::to_owned);
        let after = &lines[at + 1..];
        if let Some(reason) = after
            .iter()
            .take_while(|line| !line.starts_with("error:"))
            .find_map(|line| line.strip_prefix("Reason:"))
        {
            text = format!("{}: {}", text.trim_end_matches('.'), reason.trim());
        }
        // The last line of the log often says why.
        let log = after
            .iter()
            .take_while(|line| !line.starts_with("error:"))
            .filter_map(|line| line.strip_prefix("> "))
            .last();
        if let Some(log) = log {
            text = format!("{}: {log}", text.trim_end_matches([';', '.']));
        }
        return (text, derivation);
    }
    let cause = lines
        .iter()
        .rev()
        .filter_map(|line| message(line))
        .find(|text| !text.is_empty())
        .or_else(|| {
            let last = lines.iter().rev().find(|line| !line.is_empty());
            last.map(|line| (*line).to_owned())
        })
        .unwrap_or_else(|| "it gives no reason".to_owned());
    (cause, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_attribute_is_reported_in_nix_s_words() {
        // Nix 2.8.
        let (cause, derivation) = cause(
            "error: flake 'path:/x' does not provide attribute 'packages.x86_64-linux.nope', 'legacyPackages.x86_64-linux.nope' or 'nope'\n",
        );
        assert!(
            cause.starts_with("flake 'path:/x' does not provide"),
            "{cause}"
        );
        assert_eq!(derivation, None);
    }

    #[test]
    fn the_builder_that_failed_is_reported_not_those_that_waited() {
        // Nix 2.8.
        let text = "building '/nix/store/90k6-failing.drv'...
error: builder for '/nix/store/90k6-failing.drv' failed with exit code 3;
       last 2 log lines:
       > compiling
       > error: no such header x.h
       For full logs, run 'nix log /nix/store/90k6-failing.drv'.
error: 1 dependencies of derivation '/nix/store/66gb-dependent.drv' failed to build
";
        let (text, derivation) = cause(text);
        assert_eq!(
            text,
            "builder for '/nix/store/90k6-failing.drv' failed with exit code 3: error: no such header x.h"
        );
        assert_eq!(derivation.as_deref(), Some("/nix/store/90k6-failing.drv"));
    }

    #[test]
    fn the_reason_of_newer_versions_is_parsed() {
        // Nix 2.34.
        let text = "error: Cannot build '/nix/store/90k6-failing.drv'.
       Reason: builder failed with exit code 3.
       Output paths:
         /nix/store/abc-failing
       Last 1 log lines:
       > no such header
       For full logs, run:
         nix log /nix/store/90k6-failing.drv
";
        let (text, derivation) = cause(text);
        assert_eq!(
            text,
            "Cannot build '/nix/store/90k6-failing.drv': builder failed with exit code 3: no such header"
        );
        assert!(derivation.is_some());
    }

    #[test]
    fn of_a_trace_the_last_error_is_the_cause() {
        let text = "error:
       … while evaluating the attribute 'kernel'
         at /x.nix:1:2:
       error: Package ‘linux-nonfree’ has an unfree license (‘unfree’), refusing to evaluate.

";
        let (text, _) = cause(text);
        assert!(text.starts_with("Package ‘linux-nonfree’"), "{text}");
        assert_eq!(cause("").0, "it gives no reason");
    }
}
