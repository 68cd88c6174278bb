//! The command line of this kiln, and what of it runs a test again.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory};

use super::Cli;

/// Arguments of `kiln run` that do not change how a test runs: they say which
/// tests, how often, and what becomes of the results.
const WITHOUT: [&str; 18] = [
    "kernels",
    "suites",
    "filters",
    "allowlist",
    "jobs",
    "run_dir",
    "shard",
    "update_expectations",
    "retries",
    "flaky_result",
    "max_fail",
    "fail_fast",
    "repeat",
    "repeat_until_fail",
    "global_timeout",
    "dry_run",
    "status_level",
    "final_status_level",
];

/// This process's command line.
pub(super) fn command_line() -> Vec<String> {
    std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect()
}

/// Program, `run`, and the options of this command line of `kiln run` that
/// matter to how a test runs; empty if it is another command's.
pub(super) fn options(command_line: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let mut command_line = command_line.into_iter().peekable();
    let program = command_line.peek().cloned().unwrap_or_default();
    // Cheaper to read again than to carry through everything.
    let Ok(matches) = Cli::command().try_get_matches_from(command_line) else {
        return Vec::new();
    };
    let Some(("run", matches)) = matches.subcommand() else {
        return Vec::new();
    };
    let mut words = vec![name_of(&program), "run".to_owned()];
    let command = Cli::command();
    let Some(run) = command.find_subcommand("run") else {
        return Vec::new();
    };
    // What all commands have goes down to each.
    let config = command
        .get_arguments()
        .filter(|arg| arg.get_id() == "config");
    for argument in config.chain(run.get_arguments()) {
        let id = argument.get_id().as_str();
        if !WITHOUT.contains(&id) {
            add(&mut words, argument, matches);
        }
    }
    words
}

/// As it was typed; an absolute path is one of a script and of this machine.
fn name_of(program: &OsString) -> String {
    let path = Path::new(program);
    match path.file_name() {
        Some(name) if path.is_absolute() => name.to_string_lossy().into_owned(),
        _ => program.to_string_lossy().into_owned(),
    }
}

/// Adds an option if it stands on the command line.
fn add(words: &mut Vec<String>, argument: &clap::Arg, matches: &ArgMatches) {
    let id = argument.get_id().as_str();
    let Some(long) = argument.get_long() else {
        return;
    };
    if matches.value_source(id) != Some(ValueSource::CommandLine) {
        return;
    }
    if !matches!(argument.get_action(), ArgAction::Set | ArgAction::Append) {
        words.push(format!("--{long}"));
        return;
    }
    for value in matches.get_raw(id).into_iter().flatten() {
        let value = value.to_string_lossy();
        // Else it would be taken for an option.
        if value.starts_with('-') {
            words.push(format!("--{long}={value}"));
        } else {
            words.push(format!("--{long}"));
            words.push(value.into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options_of(line: &str) -> String {
        options(line.split(' ').map(OsString::from)).join(" ")
    }

    #[test]
    fn what_matters_to_how_a_test_runs_stays() {
        assert_eq!(
            options_of(
                "/opt/kiln -v run -k 6.1 -j2 --tests t bpftrace --compat -t a -e A=b -e C=d \
                 --retries 2 --run-dir out --append=-x --config k.toml --memory 1G"
            ),
            "kiln run --config k.toml --tests t --compat --memory 1G --env A=b --env C=d --append=-x"
        );
        assert_eq!(options_of("target/debug/kiln run"), "target/debug/kiln run");
    }

    #[test]
    fn other_commands_have_nothing_to_run_again() {
        assert_eq!(options_of("kiln merge a"), "");
        assert_eq!(options_of("kiln run --no-such-option"), "");
    }

    #[test]
    fn what_is_left_out_is_there() {
        let command = Cli::command();
        let run = command.find_subcommand("run").expect("there is `run`");
        for id in WITHOUT {
            assert!(run.get_arguments().any(|arg| arg.get_id() == id), "{id}");
        }
    }
}
