//! `kiln rerun`: runs tests of an earlier run again, as that run did.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::error::ErrorKind;

use super::context::Context;
use super::line::{self, Line};
use super::repeated::Rerun;
use super::run::RunArgs;
use super::{Failure, output};
use crate::exit_code;
use crate::report::escape;
use crate::run::event::RunStarted;
use crate::run::event_log::RunLog;
use crate::run::rerun::{Chosen, Which, images};
use crate::run::run_names;

/// Arguments of `kiln rerun`.
#[derive(Debug, Args)]
#[command(
    after_help = "The tests run on the kernels where they failed, with the options of that run; a warning
says if a kernel is not the image that it booted. Without --failed, --lost, --flaky and
--not-run it is --failed. Exits as kiln run, with 4 if no test is left to run.

Examples:
  kiln rerun
  kiln rerun last~1 --flaky --repeat 10
  kiln rerun 2026-11-28T18-23-07Z --failed -k 6.1 --until-fail"
)]
pub(super) struct RerunArgs {
    /// The run: a directory, an id, last, last~1
    #[arg(value_name = "RUN", default_value = "last")]
    run: String,
    /// Tests that were not as expected
    #[arg(long)]
    failed: bool,
    /// Tests that lost their VM
    #[arg(long)]
    lost: bool,
    /// Tests of which some attempts passed and some did not
    #[arg(long)]
    flaky: bool,
    /// Tests that the run did not reach
    #[arg(long)]
    not_run: bool,
    /// Only on these kernels of that run
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Repeat until one fails; --repeat limits the rounds
    #[arg(long)]
    until_fail: bool,
    /// Run each test N times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// Number of VMs at the same time [default: as kiln run]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Directory for events, reports and the VMs' logs [default: a new one below target/kiln/runs]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

impl RerunArgs {
    /// Runs them; returns the exit code.
    pub(super) async fn run(self, config: Option<PathBuf>) -> Result<u8, Failure> {
        let place = Context::load(config.as_deref())?.runs();
        let dir = run_names::find(&self.run, &place)?;
        let log = RunLog::read(&dir)?;
        let Some(start) = log.start() else {
            return Err(Failure::new(
                exit_code::SETUP_FAILED,
                "the run has no start",
            ));
        };
        let mut chosen = Chosen::of(&log.records, self.which());
        let kernels = self.kernels_of(start, &chosen)?;
        chosen.keep(&kernels);
        if chosen.is_empty() && !self.not_run || kernels.is_empty() {
            return Err(self.nothing(start));
        }
        // What the environment says, it says to the run too, and that run's own option goes first.
        let from_environment = std::env::var_os("KILN_CONFIG");
        let config = config.filter(|file| from_environment.as_deref() != Some(file.as_os_str()));
        let words = self.words(start, &chosen, &kernels, config.as_deref())?;
        enter(&start.cwd)?;
        let (mut args, config) = parse(&words)?;
        args.rerun = Some(Rerun {
            started_at: start.started_at.clone(),
            images: images(&log.records),
            chosen,
            words,
        });
        // It holds all options beside our own.
        Box::pin(args.run(config)).await
    }

    fn which(&self) -> Which {
        Which {
            failed: self.failed || !(self.lost || self.flaky || self.not_run),
            lost: self.lost,
            flaky: self.flaky,
            not_run: self.not_run,
        }
    }

    /// The kernels to run on, in the order of the run.
    fn kernels_of(&self, start: &RunStarted, chosen: &Chosen) -> Result<Vec<String>, Failure> {
        let names: Vec<&str> = start
            .kernels
            .iter()
            .map(|kernel| kernel.name.as_str())
            .collect();
        if let Some(other) = self
            .kernels
            .iter()
            .find(|kernel| !names.contains(&kernel.as_str()))
        {
            return Err(Failure::new(
                exit_code::USAGE,
                format!("{} has no kernel {other}", self.run),
            )
            .hint(format!("it has {}", names.join(", "))));
        }
        let asked =
            |name: &str| self.kernels.is_empty() || self.kernels.iter().any(|one| one == name);
        let has = |name: &str| self.not_run || chosen.kernels().any(|one| one == name);
        let names = names.into_iter().filter(|name| asked(name) && has(name));
        Ok(names.map(str::to_owned).collect())
    }

    fn nothing(&self, start: &RunStarted) -> Failure {
        let which = self.which();
        let words: Vec<&str> = [
            (which.failed, "was not as expected"),
            (which.lost, "lost its VM"),
            (which.flaky, "was flaky"),
        ]
        .into_iter()
        .filter_map(|(asked, word)| asked.then_some(word))
        .collect();
        let on = if self.kernels.is_empty() {
            String::new()
        } else {
            format!(" on {}", self.kernels.join(", "))
        };
        let message = if start.kernels.is_empty() {
            format!("{} has no kernels", self.run)
        } else {
            format!("no test of {} {}{on}", self.run, words.join(" or "))
        };
        Failure::new(exit_code::NOTHING_SELECTED, message)
            .hint("`kiln runs` lists the runs with their verdicts")
    }

    /// The `kiln run` that this stands for, apart from the choice of tests.
    fn words(
        &self,
        start: &RunStarted,
        chosen: &Chosen,
        kernels: &[String],
        config: Option<&Path>,
    ) -> Result<Vec<OsString>, Failure> {
        let (program, options) = if let [program, _, options @ ..] = start.again.as_slice() {
            (program.clone(), options)
        } else {
            output::note(
                "warning: that run does not say with which options it ran; these are the default \
                 ones",
            );
            ("kiln".to_owned(), [].as_slice())
        };
        let mut words = vec![program, "run".to_owned()];
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            // Another file than that run's.
            if config.is_some() && option == "--config" {
                rest.next();
            } else if !(config.is_some() && option.starts_with("--config=")) {
                words.push(option.clone());
            }
        }
        words.extend(kernels.iter().map(|kernel| format!("--kernel={kernel}")));
        let suites: Vec<String> = if self.not_run {
            words.extend(self.selection(start)?);
            start.suites.clone()
        } else {
            chosen.suites().into_iter().map(str::to_owned).collect()
        };
        words.extend(self.repeat.map(|times| format!("--repeat={times}")));
        words.extend(self.until_fail.then(|| "--repeat-until-fail".to_owned()));
        words.extend(self.jobs.map(|jobs| format!("--jobs={jobs}")));
        let mut words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        let path = |path: &Path| {
            std::path::absolute(path).map_err(|error| {
                let message = format!("cannot find {}: {error}", path.display());
                Failure::new(exit_code::SETUP_FAILED, message)
            })
        };
        for (option, value) in [("--config", config), ("--run-dir", self.run_dir.as_deref())] {
            if let Some(value) = value {
                // The working directory may change.
                words.extend([OsString::from(option), path(value)?.into_os_string()]);
            }
        }
        words.push("--".into());
        words.extend(suites.into_iter().map(OsString::from));
        Ok(words)
    }

    /// The options by which that run selected its tests.
    fn selection(&self, start: &RunStarted) -> Result<Vec<String>, Failure> {
        // A slice deals tests out by their numbers in the whole run.
        if let Some(shard) = start
            .shard
            .as_ref()
            .filter(|shard| shard.starts_with("slice"))
        {
            return Err(Failure::new(
                exit_code::SETUP_FAILED,
                format!(
                    "{} is the part {shard} of a run, and a rest of that cannot be told",
                    self.run
                ),
            )
            .hint("run the part again as it was; the rest of a part hash:I/N can be run"));
        }
        let Ok(Line { matches, .. }) = line::parse::<RunArgs>("run", &start.command) else {
            return Err(Failure::new(
                exit_code::SETUP_FAILED,
                format!(
                    "{} does not say which tests it had: it was not made by kiln run",
                    self.run
                ),
            )
            .hint("name the run that kiln run made, or use --failed, --lost or --flaky"));
        };
        let mut words = Vec::new();
        for (id, option) in [
            ("filters", "--filter"),
            ("allowlist", "--allowlist"),
            ("shard", "--shard"),
        ] {
            let values = matches.get_raw(id).into_iter().flatten();
            words.extend(values.map(|value| format!("{option}={}", value.to_string_lossy())));
        }
        Ok(words)
    }
}

/// Goes to the directory of an earlier run, to which its paths are relative.
pub(super) fn enter(cwd: &str) -> Result<(), Failure> {
    let here = std::env::current_dir().unwrap_or_default();
    let there = Path::new(cwd);
    if cwd.is_empty() || here == there {
        return Ok(());
    }
    let shown = escape::line(cwd).into_owned();
    if !there.is_dir() {
        output::note(&format!(
            "warning: that run was in {shown}, which is not here: paths are relative to this directory"
        ));
        return Ok(());
    }
    output::note(&format!("in {shown}"));
    std::env::set_current_dir(there).map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot go to {shown}: {error}"),
        )
    })
}

fn parse(words: &[OsString]) -> Result<(RunArgs, Option<PathBuf>), Failure> {
    match line::parse::<RunArgs>("run", words) {
        Ok(Line { args, config, .. }) => Ok((args, config)),
        Err(error) if error.kind() == ErrorKind::InvalidSubcommand => Err(Failure::new(
            exit_code::SETUP_FAILED,
            "that run was no kiln run",
        )),
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            let first = first.strip_prefix("error: ").unwrap_or(first);
            Err(Failure::new(
                exit_code::SETUP_FAILED,
                format!("this kiln cannot run that run's options again: {first}"),
            )
            .hint("another version of kiln made that run; its events.jsonl has the options as `again`"))
        }
    }
}
