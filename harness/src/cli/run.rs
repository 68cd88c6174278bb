//! `kiln run`: runs suites on each kernel.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use super::Failure;
use super::again;
use super::context::Context;
use super::execute::execute;
use super::input::{self, Interrupts};
use super::level_args::{BaselineArgs, LevelArgs};
use super::output;
use super::policy_args::PolicyArgs;
use super::repeated::Rerun;
use super::run_vms::RunVms;
use super::status_request;
use super::stay::StayArgs;
use super::suite_args::SuiteArgs;
use super::vm_args::VmArgs;
use crate::blocking::blocking;
use crate::config::{Origin, Selected};
use crate::exit_code;
use crate::report::{Outlet, ReportError, StatusLevel, TerminalStyle, escape};
use crate::run::aslr::Aslr;
use crate::run::capacity::Jobs;
use crate::run::dir::RunDir;
use crate::run::event_log::read_events;
use crate::run::expectations::{self, Expectations};
use crate::run::partition::Partition;
use crate::run::plan::{Plan, PlannedKernel};
use crate::run::selection::Selection;
use crate::run::settings::{KernelLog, Settings};
use crate::run::stay::Stay;
use crate::run::times::Times;

/// Run suites on each kernel.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kiln run -k @quick bpftrace
  kiln run -k 6.1 -k '7.*' -t 'call.*:-call.kstack'
  kiln run -k ../linux --tests build/tests --bpftrace build/src/bpftrace")]
pub(super) struct RunArgs {
    /// Kernel: a name or glob of kernels.toml, @group, POOL:VERSION such as
    /// debian:6.18, host, or a path: a build tree, an image, or packages
    /// separated by commas [default: @quick, or all of a kernels.toml without that group]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Which tests
    #[command(flatten)]
    suite: SuiteArgs,
    /// Number of VMs at the same time; a VM that does not fit into memory waits [default: the
    /// number of CPUs, a quarter more for many tests, and fewer if memory is short]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Multiply time limits by this while the guest computes [default: measured in each VM]
    #[arg(long, value_name = "FACTOR", value_parser = parse_scale)]
    timeout_scale: Option<f64>,
    /// Multiply them by this as well, for a program that its build makes slow: 4 for one with
    /// AddressSanitizer
    #[arg(long, value_name = "FACTOR", value_parser = parse_scale, default_value = "1")]
    build_scale: f64,
    /// Randomize the addresses of a test's command (ASLR). TCG before QEMU 10 takes two thirds more
    /// time with it; there, auto turns it off for runtime tests (except with --compat), but not for
    /// commands
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    aslr: Aslr,
    /// Give upstream's verdicts even if they come from bugs in its engine
    #[arg(long)]
    compat: bool,
    /// What an oops, a warning or a stall on the guest's console does to the running test
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    kernel_log: KernelLog,
    /// Directory for events, reports and the VMs' logs [default: a new one below target/kiln/runs]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Run one part of kernels × tests: slice:I/N deals them out in turn, hash:I/N keeps a test in
    /// its part when others are added or removed
    #[arg(long, value_name = "PART")]
    shard: Option<Partition>,
    /// File of known results [default: expectations.toml beside kernels.toml]
    #[arg(long, value_name = "FILE")]
    expectations: Option<PathBuf>,
    /// Write unexpected results into that file, and keep its comments
    #[arg(long, conflicts_with = "shard")]
    update_expectations: bool,
    /// How often a test runs
    #[command(flatten)]
    policies: PolicyArgs,
    /// What happens to the VM of a test that failed
    #[command(flatten)]
    stay: StayArgs,
    /// What the terminal shows
    #[command(flatten)]
    levels: LevelArgs,
    #[command(flatten)]
    baseline: BaselineArgs,
    /// How VMs are made
    #[command(flatten)]
    vm: VmArgs,
    /// The run that this repeats, set by `kiln rerun`
    #[arg(skip)]
    pub(super) rerun: Option<Rerun>,
}

/// Everything about a run, known before anything boots.
struct LookedUp {
    selection: Selection,
    /// The kernels with their tests.
    selected: Vec<(Selected, Vec<usize>)>,
    /// The file of expectations.
    file: PathBuf,
    expectations: Expectations,
    warnings: Vec<String>,
}

/// How long interrupted preparations may take to remove their unfinished files.
const TIDYING_UP: Duration = Duration::from_secs(2);

/// Tests to name in a message.
const MAX_TOLD: usize = 5;

/// The group of the kernels to take if nobody names any.
pub(super) const QUICK: &str = "quick";

/// More than any emulation costs; larger limits would overflow the clock.
const MAX_SCALE: f64 = 100_000.0;

fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if scale > 0.0 && scale <= MAX_SCALE => Ok(scale),
        _ => Err(format!("must be a number above 0, and at most {MAX_SCALE}")),
    }
}

impl RunArgs {
    /// Runs the suites; returns the exit code.
    pub(super) async fn run(mut self, config: Option<PathBuf>) -> Result<u8, Failure> {
        self.stay.check()?;
        let context = Context::load(config.as_deref())?;
        let kernels = if self.kernels.is_empty() {
            vec![context.catalogue.default_kernels(&[QUICK])]
        } else {
            self.kernels.clone()
        };
        let selected = context.select(&kernels).await?;
        let baseline = self.baseline.read(&context.runs())?;
        // Report a missing variable before anything takes time.
        self.vm.environment()?;
        if let Some(note) = self.vm.passed().note() {
            output::note(&format!("kiln: {note}"));
        }
        let mut interrupts = Interrupts::listen()?;
        status_request::survive();
        // May build packages for hours.
        tokio::select! {
            resolved = self.vm.root.resolve(&context) => resolved?,
            signal = interrupts.next() => return Ok(input::code_of(signal)),
        }
        let args = Arc::new(self);
        let stop = Arc::new(AtomicBool::new(false));
        // Unpacks AppImages, asks programs for their versions, reads suites.
        let looked_up = {
            let (args, context, stop) = (Arc::clone(&args), context.clone(), Arc::clone(&stop));
            blocking(move || args.look_up(&context, selected, &stop))
        };
        tokio::pin!(looked_up);
        let LookedUp {
            selection,
            selected,
            file,
            expectations,
            mut warnings,
        } = tokio::select! {
            looked_up = &mut looked_up => looked_up?,
            signal = interrupts.next() => {
                stop.store(true, Ordering::Relaxed);
                // Also remove unfinished files.
                let _ = tokio::time::timeout(TIDYING_UP, looked_up).await;
                return Ok(input::code_of(signal));
            }
        };
        let boots = selection.suites.iter().any(|suite| suite.boots());
        let vms = Arc::new(RunVms {
            boots,
            vm: args.vm.clone(),
            visible: visible(&context, &selection),
            context: context.clone(),
            expected: args
                .rerun
                .as_ref()
                .map(|rerun| rerun.images.clone())
                .unwrap_or_default(),
        });
        let checked = async {
            if boots {
                vms.vm.check(&context, &vms.visible).await?;
            }
            if args.vm.dry_run {
                vms.dry_run(&selected).await?;
            }
            Ok::<_, Failure>(())
        };
        tokio::select! {
            checked = checked => checked?,
            signal = interrupts.next() => return Ok(input::code_of(signal)),
        }
        if args.vm.dry_run {
            return Ok(exit_code::OK);
        }
        let run_dir = RunDir::create(args.run_dir.as_deref(), &context.runs())?;
        let events = run_dir.events();
        let style = TerminalStyle::detect();
        let outlet = Outlet::start(style).map_err(ReportError::Output)?;
        let shown = outlet.queue();
        let kernels = selected
            .into_iter()
            .map(|(kernel, tests)| vms.planned(kernel, tests, &shown))
            .collect();
        let mut plan = args.plan(&context, selection, kernels, &run_dir)?;
        plan.expectations = expectations;
        let (stay, visits) = args.stay.of_run();
        plan.stay = stay;
        let versions = plan.versions();
        for warning in warnings.drain(..) {
            shown.note(&format!("warning: {}", escape::line(&warning)));
        }
        let levels = args.levels.levels(StatusLevel::Skip);
        let words = args.rerun.as_ref().map(|rerun| rerun.words.clone());
        let again = again::options(words.unwrap_or_else(|| std::env::args_os().collect()));
        let code = execute(
            (plan, again),
            &run_dir,
            levels,
            (style, outlet, baseline),
            (visits, args.vm.environment()?),
            &mut interrupts,
        )
        .await?;
        if args.update_expectations {
            let records = read_events(&events)?;
            let update = expectations::update::update(&file, &records, &versions)?;
            for line in &update.by_hand {
                let line = escape::line(line);
                output::note(&format!("warning: change by hand: {line}"));
            }
            let changed = format!(
                "{}: {} added, {} removed\n",
                escape::line(&file.to_string_lossy()),
                update.added,
                update.removed
            );
            output::print("to stdout", &changed)?;
        }
        Ok(code)
    }

    /// All slow preparations: suites, tests and expectations.
    fn look_up(
        &self,
        context: &Context,
        selected: Vec<Selected>,
        stop: &AtomicBool,
    ) -> Result<LookedUp, Failure> {
        let suites = self.suite.resolve(context, &self.vm.root, stop)?;
        let notes: Vec<String> = suites
            .iter()
            .filter_map(|suite| suite.facts().note.clone())
            .collect();
        let mut selection = self.suite.select(suites)?;
        let gone = self.narrow(&mut selection)?;
        selection.check()?;
        let mut warnings = selection.unknown.clone();
        warnings.extend(gone);
        warnings.extend(selection.oddities.iter().cloned());
        warnings.extend(notes);
        let file = self.expectations_file(context);
        let expectations = Expectations::load(
            &file,
            self.expectations.is_some() && !self.update_expectations,
        )?;
        warnings.extend(self.unknown_expectations(&expectations, &file, &selection));
        let selected = self.shard_of(selected, &selection)?;
        Ok(LookedUp {
            selection,
            selected,
            file,
            expectations,
            warnings,
        })
    }

    /// Leaves only the tests that a rerun wants on any kernel; warns about those that are gone.
    fn narrow(&self, selection: &mut Selection) -> Result<Option<String>, Failure> {
        let Some(Rerun { chosen, .. }) = &self.rerun else {
            return Ok(None);
        };
        let names: Vec<(String, String)> = selection
            .tests
            .iter()
            .map(|test| {
                (
                    selection.suite_of(*test).name.clone(),
                    selection.test(*test).id.to_string(),
                )
            })
            .collect();
        let known: HashSet<(&str, &str)> = names
            .iter()
            .map(|(suite, id)| (suite.as_str(), id.as_str()))
            .collect();
        let unknown = chosen.unknown(|suite, id| known.contains(&(suite, id)));
        let wanted = |(suite, id): &(String, String)| {
            self.kernels
                .iter()
                .any(|kernel| chosen.wants(kernel, suite, id))
        };
        let mut wanted = names.iter().map(wanted);
        selection
            .tests
            .retain(|_| wanted.next().unwrap_or_default());
        let told = |ids: &[&str]| {
            let more = ids.len().saturating_sub(MAX_TOLD);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let ids: Vec<_> = ids.iter().take(MAX_TOLD).copied().collect();
            format!("{}{more}", ids.join(", "))
        };
        match (unknown.is_empty(), selection.tests.is_empty()) {
            (true, false) => Ok(None),
            (false, false) => Ok(Some(format!("no longer in the suite: {}", told(&unknown)))),
            (false, true) => Err(Failure::new(
                exit_code::NOTHING_SELECTED,
                format!("no test to run is left in the suite: {}", told(&unknown)),
            )
            .hint("the tests were renamed or removed since; `kiln list` prints what there is")),
            (true, true) => Err(Failure::new(
                exit_code::NOTHING_SELECTED,
                "that run has reached all its tests",
            )),
        }
    }

    /// The path of the expectations file, whether or not it exists.
    fn expectations_file(&self, context: &Context) -> PathBuf {
        let beside = match &context.catalogue.origin {
            Origin::File(path) => path.parent().map(PathBuf::from),
            Origin::BuiltIn => None,
        };
        match &self.expectations {
            Some(file) => context.cwd.join(file),
            None => beside
                .unwrap_or_else(|| context.cwd.clone())
                .join(expectations::FILE_NAME),
        }
    }

    /// Known results of tests that the suite does not have: mistyped or removed. Empty if only a
    /// part of the suite was selected.
    fn unknown_expectations(
        &self,
        expectations: &Expectations,
        file: &std::path::Path,
        selection: &Selection,
    ) -> Vec<String> {
        if self.suite.is_part() || self.rerun.is_some() {
            return Vec::new();
        }
        let tests = selection.tests.iter();
        let ids: Vec<_> = tests.map(|&test| &selection.test(test).id).collect();
        let lines = expectations.about_none_of(&ids);
        lines
            .into_iter()
            .map(|line| format!("{}:{line}: matches no test of the suite", file.display()))
            .collect()
    }

    /// The kernels and tests of this part.
    fn shard_of(
        &self,
        selected: Vec<Selected>,
        selection: &Selection,
    ) -> Result<Vec<(Selected, Vec<usize>)>, Failure> {
        let tests = &selection.tests;
        let parts: Vec<_> = selected
            .into_iter()
            .enumerate()
            .map(|(number, kernel)| {
                let in_part = |index: &usize| {
                    let position = number * tests.len() + index;
                    let id = selection.test(tests[*index]).id.to_string();
                    let suite = &selection.suite_of(tests[*index]).name;
                    self.rerun
                        .as_ref()
                        .is_none_or(|rerun| rerun.chosen.wants(kernel.name(), suite, &id))
                        && self
                            .shard
                            .is_none_or(|shard| shard.has(position, kernel.name(), suite, &id))
                };
                let indices: Vec<usize> = (0..tests.len()).filter(in_part).collect();
                (kernel, indices)
            })
            .filter(|(_, indices)| !indices.is_empty())
            .collect();
        match self.shard {
            Some(shard) if parts.is_empty() => Err(Failure::new(
                exit_code::NOTHING_SELECTED,
                format!("--shard {shard} has none of the {} tests", tests.len()),
            )
            .hint("use fewer parts; `kiln matrix` makes no empty ones")),
            _ => Ok(parts),
        }
    }

    fn plan(
        &self,
        context: &Context,
        selection: Selection,
        kernels: Vec<PlannedKernel>,
        run_dir: &RunDir,
    ) -> Result<Plan, Failure> {
        let env = self
            .vm
            .environment()?
            .into_iter()
            .map(|(key, value)| {
                (
                    String::from_utf8_lossy(&key).into_owned(),
                    String::from_utf8_lossy(&value).into_owned(),
                )
            })
            .collect();
        // Larger guests wait until they fit.
        let memory = kernels.iter().map(|kernel| kernel.memory).min();
        let tests = kernels.iter().map(|kernel| kernel.tests.len()).sum();
        let jobs = match self.jobs {
            Some(jobs) => Jobs::exactly(jobs.into()),
            None => Jobs::for_tests(memory.unwrap_or_default(), tests),
        };
        Ok(Plan {
            kernels,
            suites: selection.suites.into(),
            tests: selection.tests,
            settings: Settings {
                env,
                timeout_scale: self.timeout_scale,
                build_scale: self.build_scale,
                aslr: self.aslr.with_compat(self.compat),
                compat: self.compat,
                kernel_log: match self.kernel_log {
                    // The rule `kernel-report`.
                    KernelLog::Fail if self.compat => KernelLog::Warn,
                    wanted => wanted,
                },
            },
            jobs,
            policies: self.policies.policies(),
            stay: Stay::default(),
            expectations: Expectations::default(),
            shard: self.shard,
            rerun_of: self.rerun.as_ref().map(|rerun| rerun.started_at.clone()),
            times: Times::load(context.cache.root()),
            logs: run_dir.logs(),
        })
    }
}

/// Paths that the guest must see at the same place as the host.
fn visible(context: &Context, selection: &Selection) -> Vec<PathBuf> {
    let of_suites = selection
        .suites
        .iter()
        .flat_map(|suite| suite.facts().visible.iter().cloned());
    std::iter::once(context.cwd.clone())
        .chain(of_suites)
        .collect()
}
