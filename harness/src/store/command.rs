//! Runs `nix`.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::error::cause;
use super::{Error, Store};
use crate::offline;
use crate::program::{self, Limit, Output};

/// Enables `nix build` and flakes, in case the user's nix.conf does not.
const FEATURES: [&str; 2] = ["--extra-experimental-features", "nix-command flakes"];

/// How long a query of the store may take.
const QUERY_DEADLINE: Duration = Duration::from_secs(5 * 60);

/// How long a build may be silent. LLVM takes hours on a small machine; Nix's
/// own `max-silent-time` is for less.
const BUILD_PATIENCE: Duration = Duration::from_secs(6 * 60 * 60);

/// After this time, kiln tells the user what it is waiting for.
const QUIET: Duration = Duration::from_secs(2);

/// One run of `nix`.
pub(super) struct Nix<'a> {
    store: &'a Store,
    arguments: Vec<OsString>,
    /// Its purpose, as in `build .#kernel`.
    wanted: String,
}

impl<'a> Nix<'a> {
    pub(super) fn new(store: &'a Store, subcommand: &str, wanted: String) -> Self {
        Self {
            store,
            arguments: vec![subcommand.into()],
            wanted,
        }
    }

    pub(super) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(super) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        for argument in arguments {
            self.arguments.push(argument.as_ref().to_owned());
        }
        self
    }

    /// Queries the store.
    pub(super) fn query(&self, cwd: &Path) -> Result<Vec<u8>, Error> {
        let output = program::run_within(self.command(cwd), &self.wanted, QUERY_DEADLINE)
            .map_err(|error| Error::program(&self.wanted, error))?;
        self.answer(output)
    }

    /// Builds or fetches something; `notify` gets a message if it takes a while.
    pub(super) fn build(&self, cwd: &Path, notify: &dyn Fn(&str)) -> Result<Vec<u8>, Error> {
        let begun = std::time::Instant::now();
        let mut told = false;
        let output = program::run(
            self.command(cwd),
            &self.wanted,
            &mut Limit {
                patience: BUILD_PATIENCE,
                progress: &mut |said| {
                    if !told && begun.elapsed() > QUIET {
                        told = true;
                        notify(&format!("waiting for nix to {}", self.wanted));
                    }
                    said
                },
            },
        )
        .map_err(|error| Error::program(&self.wanted, error))?;
        self.answer(output)
    }

    /// An error: what was requested does not exist.
    pub(super) fn answer_error(&self, reason: impl Into<String>) -> Error {
        Error::Answer {
            wanted: self.wanted.clone(),
            reason: reason.into(),
        }
    }

    fn command(&self, cwd: &Path) -> Command {
        let mut command = Command::new("nix");
        command
            .args(self.words())
            .current_dir(cwd)
            .env("NO_COLOR", "1");
        command
    }

    /// The arguments, as in `build --store DIR …`.
    fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = FEATURES.iter().map(Into::into).collect();
        words.extend(self.arguments.first().cloned());
        if offline::is_on() {
            words.push("--offline".into());
        }
        if let Some(setting) = &self.store.setting {
            words.push("--store".into());
            words.push(setting.into());
        }
        words.extend(self.arguments.iter().skip(1).cloned());
        words
    }

    fn answer(&self, output: Output) -> Result<Vec<u8>, Error> {
        if output.status.success() {
            return Ok(output.stdout);
        }
        let (cause, derivation) = cause(&output.stderr);
        let more = match derivation {
            Some(derivation) => Nix::new(self.store, "log", String::new()).arg(derivation),
            None => Nix {
                store: self.store,
                arguments: self.arguments.clone(),
                wanted: String::new(),
            },
        };
        Err(Error::Failed {
            wanted: self.wanted.clone(),
            cause,
            more: more.line(),
        })
    }

    /// The command, as a user types it.
    pub(super) fn line(&self) -> String {
        let words = self.words();
        let words = words.iter().map(|word| word.to_string_lossy());
        let line: Vec<_> = std::iter::once("nix".into())
            .chain(words)
            .map(|word| quoted(&word))
            .collect();
        line.join(" ")
    }
}

/// The version of the `nix` on PATH, as in `2.34.8`.
pub fn nix_version() -> Result<String, Error> {
    const WANTED: &str = "ask nix for its version";
    let mut command = Command::new("nix");
    command.arg("--version");
    let output = program::run_within(command, WANTED, QUERY_DEADLINE)
        .map_err(|error| Error::program(WANTED, error))?;
    // `nix (Nix) 2.34.8`
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    told.split_whitespace()
        .last()
        .filter(|_| output.status.success())
        .map(str::to_owned)
        .ok_or_else(|| Error::Answer {
            wanted: WANTED.to_owned(),
            reason: format!("{}{told}", output.stderr).trim().to_owned(),
        })
}

/// A word in shell syntax.
fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), std::borrow::Cow::into_owned)
}
