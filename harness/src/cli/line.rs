//! Reads again with which options an earlier kiln was started.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, Args, FromArgMatches as _};

use super::global_args::{GlobalArgs, without_empty_variables};

/// The options of an earlier kiln.
pub(super) struct Line<A> {
    /// Those of its subcommand.
    pub(super) args: A,
    /// The same as they were written.
    pub(super) matches: ArgMatches,
    /// Its `--config`.
    pub(super) config: Option<PathBuf>,
}

/// Reads `words`, the program first, which started `kiln SUBCOMMAND`. An error of the kind
/// [`clap::error::ErrorKind::InvalidSubcommand`] says that they started another one.
pub(super) fn parse<A: Args>(
    subcommand: &'static str,
    words: &[impl Into<OsString> + Clone],
) -> Result<Line<A>, clap::Error> {
    let kiln = GlobalArgs::augment_args(clap::Command::new("kiln"))
        .subcommand_required(true)
        .subcommand(A::augment_args(clap::Command::new(subcommand)));
    let mut matches = without_empty_variables(kiln).try_get_matches_from(words.iter().cloned())?;
    let config = GlobalArgs::from_arg_matches(&matches)?.config;
    // It is required, and there is only one.
    let (_, matches) = matches.remove_subcommand().unwrap_or_default();
    Ok(Line {
        args: A::from_arg_matches(&matches)?,
        matches,
        config,
    })
}
