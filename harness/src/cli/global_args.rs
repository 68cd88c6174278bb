//! Options that every subcommand has.

use std::path::PathBuf;

use clap::Args;

/// Heading of the options that every subcommand has.
const GLOBAL_OPTIONS: &str = "Global options";

/// They may stand before the subcommand and after it.
#[derive(Debug, Args)]
pub(super) struct GlobalArgs {
    /// File of kernels and suites [default: kernels.toml here or above, else the built-in one]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "KILN_CONFIG",
        help_heading = GLOBAL_OPTIONS
    )]
    pub(super) config: Option<PathBuf>,
    /// Use no network: only what is in the cache and on this machine
    #[arg(
        long,
        global = true,
        env = "KILN_OFFLINE",
        value_parser = clap::builder::FalseyValueParser::new(),
        help_heading = GLOBAL_OPTIONS
    )]
    pub(super) offline: bool,
    /// Log more about what happens; twice for everything
    #[arg(
        short,
        long,
        global = true,
        action = clap::ArgAction::Count,
        help_heading = GLOBAL_OPTIONS
    )]
    pub(super) verbose: u8,
}

/// With an empty environment variable counted as unset.
pub(super) fn without_empty_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let is_empty = arg
                .get_env()
                .and_then(std::env::var_os)
                .is_some_and(|value| value.is_empty());
            if is_empty { arg.env(None) } else { arg }
        })
        .mut_subcommands(without_empty_variables)
}
