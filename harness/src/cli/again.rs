//! The command line of this kiln, and the part of it that runs a test again.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches};

/// Arguments of `kiln run` that do not change how a test runs: they select tests, repeat them, or
/// say where results go.
const WITHOUT: [&str; 23] = [
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
    "group",
    "baseline",
    "shell_on_fail",
    "dump_on_fail",
    "keep_vm",
];

/// The option that sets a variable in the guest. Its values may be secrets.
const VARIABLES: &str = "env";

/// This process's command line, safe to publish.
pub(super) fn command_line() -> Vec<String> {
    published(std::env::args_os())
}

/// This process's arguments without its name and the command at their end, which follows a `--`.
pub(super) fn without_command(command: &[OsString]) -> Vec<OsString> {
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    words.truncate(words.len().saturating_sub(command.len() + 1));
    words
}

/// A command line with `***` for each value of a variable.
fn published(command_line: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let words: Vec<OsString> = command_line.into_iter().collect();
    let variables = variables(&words);
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    words
        .iter()
        .map(|word| {
            let word = text(word);
            // As a separate word, or at the end of `--env=` or `-e`.
            let set = variables.iter().find_map(|set| {
                let option = word.strip_suffix(set.as_str())?;
                (option.is_empty() || option.starts_with('-')).then_some((option, set))
            });
            match set {
                Some((option, set)) => format!("{option}{}=***", name_in(set)),
                None => word,
            }
        })
        .collect()
}

/// The variables that a command line sets, each as `KEY=VALUE`.
fn variables(command_line: &[OsString]) -> Vec<String> {
    let Ok(matches) = super::command().try_get_matches_from(command_line) else {
        return Vec::new();
    };
    let Some((_, matches)) = matches.subcommand() else {
        return Vec::new();
    };
    // Not every subcommand has the option.
    let Ok(Some(values)) = matches.try_get_raw(VARIABLES) else {
        return Vec::new();
    };
    values
        .map(|value| value.to_string_lossy().into_owned())
        .filter(|value| value.contains('='))
        .collect()
}

/// The name in `KEY=VALUE` or `KEY`.
fn name_in(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

/// The program, `run`, and the options of this `kiln run` that affect how a test runs; empty for
/// other subcommands.
pub(super) fn options(command_line: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let mut command_line = command_line.into_iter().peekable();
    let program = command_line.peek().cloned().unwrap_or_default();
    // Parsing it again is simpler than passing it through everything.
    let Ok(matches) = super::command().try_get_matches_from(command_line) else {
        return Vec::new();
    };
    let Some(("run", matches)) = matches.subcommand() else {
        return Vec::new();
    };
    let mut words = vec![name_of(&program), "run".to_owned()];
    let command = super::command();
    for argument in arguments_of(&command, "run") {
        let id = argument.get_id().as_str();
        if !WITHOUT.contains(&id) {
            add(&mut words, argument, matches);
        }
    }
    words
}

/// Arguments of `kiln bisect` that do not change what it finds.
const BESIDE_BISECTION: [&str; 4] = ["resume", "run_dir", "jobs", "format"];

/// This `kiln bisect` without what does not change what it finds, safe to keep; empty for other
/// command lines.
pub(super) fn bisection(command_line: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let mut command_line = command_line.into_iter().peekable();
    let program = command_line.peek().cloned().unwrap_or_default();
    let command = super::command();
    let Ok(matches) = command.clone().try_get_matches_from(command_line) else {
        return Vec::new();
    };
    let Some((name @ "bisect", matches)) = matches.subcommand() else {
        return Vec::new();
    };
    let mut words = vec![name_of(&program), name.to_owned()];
    for argument in arguments_of(&command, name) {
        if !BESIDE_BISECTION.contains(&argument.get_id().as_str()) {
            add(&mut words, argument, matches);
        }
    }
    let values = |id: &str| {
        let values = matches.get_raw(id).into_iter().flatten();
        let values = values.map(|value| value.to_string_lossy().into_owned());
        values.collect::<Vec<String>>()
    };
    words.extend(values("suites"));
    words.push("--".to_owned());
    words.extend(values("argv"));
    words
}

/// The options of this bisection that another subcommand has too, for it to run one step.
pub(super) fn step(bisection: &[String], subcommand: &str) -> Vec<String> {
    let command = super::command();
    let Ok(matches) = command.clone().try_get_matches_from(bisection) else {
        return Vec::new();
    };
    let Some((_, matches)) = matches.subcommand() else {
        return Vec::new();
    };
    let mut words = Vec::new();
    for argument in arguments_of(&command, subcommand) {
        let id = argument.get_id().as_str();
        // Not every option of it is one of a bisection.
        if id != "kernels" && matches.try_contains_id(id).is_ok() {
            add(&mut words, argument, matches);
        }
    }
    words
}

/// The suites of this bisection.
pub(super) fn suites(bisection: &[String]) -> Vec<String> {
    let matches = super::command().try_get_matches_from(bisection).ok();
    let matches = matches.as_ref().and_then(clap::ArgMatches::subcommand);
    let suites = matches.and_then(|(_, matches)| matches.get_many::<String>("suites"));
    suites.into_iter().flatten().cloned().collect()
}

/// The arguments of a subcommand, among them the global one that says something of tests.
fn arguments_of<'c>(command: &'c clap::Command, name: &str) -> impl Iterator<Item = &'c clap::Arg> {
    let config = command.get_arguments();
    let config = config.filter(|arg| arg.get_id() == "config");
    let own = command.find_subcommand(name);
    config.chain(own.into_iter().flat_map(clap::Command::get_arguments))
}

/// As it was typed. An absolute path comes from a script and is specific to this machine.
fn name_of(program: &OsString) -> String {
    let path = Path::new(program);
    match path.file_name() {
        Some(name) if path.is_absolute() => name.to_string_lossy().into_owned(),
        _ => program.to_string_lossy().into_owned(),
    }
}

/// Adds an option if it is on the command line.
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
        let value = match id {
            // Leave out the value: the name alone passes the variable on.
            VARIABLES => Cow::Borrowed(name_in(&value)),
            _ => value,
        };
        // Otherwise clap would parse it as an option, or as none.
        if value.starts_with('-') || argument.is_require_equals_set() {
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
            "kiln run --config k.toml --tests t --compat --memory 1G --env A --env C --append=-x"
        );
        assert_eq!(options_of("target/debug/kiln run"), "target/debug/kiln run");
    }

    #[test]
    fn no_value_of_a_variable_is_published() {
        let published = |line: &str| published(line.split(' ').map(OsString::from)).join(" ");
        for (typed, shown) in [
            ("-e A=s3cret", "-e A=***"),
            ("-eA=s3cret", "-eA=***"),
            ("-e=A=s3cret", "-e=A=***"),
            ("--env A=s3cret=x", "--env A=***"),
            ("--env=A=s3cret", "--env=A=***"),
            ("-ve A=s3cret -e B= -e C", "-ve A=*** -e B=*** -e C"),
            ("-veA=s3cret", "-veA=***"),
            ("--append=A=b -e A=s3cret", "--append=A=b -e A=***"),
        ] {
            assert_eq!(
                published(&format!("kiln run {typed} -t a")),
                format!("kiln run {shown} -t a")
            );
        }
        assert_eq!(published("kiln merge -e A=b"), "kiln merge -e A=b");
        assert_eq!(published("kiln merge A=b"), "kiln merge A=b");
    }

    #[test]
    fn a_bisection_keeps_what_it_asks_and_passes_on_what_a_step_takes() {
        let words = |line: &str| bisection(line.split(' ').map(OsString::from));
        let kept = words(
            "/opt/kiln bisect -j2 --format json --good 6.1 -k a -k b --confirm 3 -t x --memory 1G \
             -e A=s3cret --config k.toml bpftrace",
        );
        assert_eq!(
            kept.join(" "),
            "kiln bisect --config k.toml --good 6.1 --kernel a --kernel b --confirm 3 --filter x \
             --memory 1G --env A bpftrace --"
        );
        assert_eq!(
            step(&kept, "run").join(" "),
            "--config k.toml --filter x --memory 1G --env A"
        );
        let command = words("kiln bisect -k a --cpus 2 -- sh -c x");
        assert_eq!(
            command.join(" "),
            "kiln bisect --kernel a --cpus 2 -- sh -c x"
        );
        assert_eq!(step(&command, "exec").join(" "), "--cpus 2");
        assert_eq!(words(&command.join(" ")), command);
        assert!(words("kiln run -k a").is_empty());
    }

    #[test]
    fn other_commands_have_nothing_to_run_again() {
        assert_eq!(options_of("kiln merge a"), "");
        assert_eq!(options_of("kiln run --no-such-option"), "");
    }

    #[test]
    fn what_is_left_out_is_there() {
        let command = super::super::command();
        let run = command.find_subcommand("run").expect("there is `run`");
        for id in WITHOUT {
            assert!(run.get_arguments().any(|arg| arg.get_id() == id), "{id}");
        }
    }
}
