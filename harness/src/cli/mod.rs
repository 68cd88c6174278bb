//! The command line: one file per subcommand, arguments → library call → exit
//! code.

mod again;
mod attach;
mod bisect;
mod btf;
mod ci;
mod ci_profile;
mod ci_report;
mod compare;
mod context;
mod debug_image;
mod debugger;
mod doctor;
mod drgn;
mod dump;
mod env_args;
mod exec;
mod execute;
mod failure;
mod gdb;
mod global_args;
mod gtest;
mod guest_command;
mod history;
mod input;
mod kernels;
mod level_args;
mod line;
mod lint;
mod list;
mod log;
mod man;
mod matrix;
mod merge;
mod nix_args;
mod output;
mod policy_args;
mod prepare;
mod repeated;
mod report;
mod rerun;
mod root_args;
mod run;
mod run_vms;
mod runs;
mod scratch_dir;
mod shell;
mod status_request;
mod stay;
mod stop;
mod streams;
mod suite_args;
mod text_or_json;
mod version;
mod visit;
mod vm_args;
mod vms;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use failure::Failure;
use global_args::{GlobalArgs, without_empty_variables};
use input::Interrupts;

use crate::blocking::blocking;
use crate::exit_code;
use crate::guest::share::{self, ServeOptions};
use crate::offline;
use crate::vm::relay::{self, RelayOptions};

/// Test programs against kernels: boot a QEMU microVM per kernel, as an ordinary user, with or
/// without KVM.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, max_term_width = 100)]
#[command(after_help = "Examples:
  kiln exec -k 6.1 -- uname -r    run a command in a kernel
  kiln shell -k 6.12              look around in one
  kiln run -k @quick bpftrace     run a suite on several
  kiln doctor                     what is missing here")]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command as root in each kernel
    Exec(Box<exec::ExecArgs>),
    /// Open an interactive root shell in a kernel
    Shell(Box<shell::ShellArgs>),
    /// Run test suites on each kernel
    Run(Box<run::RunArgs>),
    /// List the tests of a suite, without booting anything
    List(Box<list::ListArgs>),
    /// Check a directory of bpftrace's runtime tests, without booting anything
    Lint(lint::LintArgs),
    /// Print kernels × parts of a suite as a job matrix, for several machines
    Matrix(Box<matrix::MatrixArgs>),
    /// Join the directories of several runs into one report
    Merge(merge::MergeArgs),
    /// Make a report of earlier runs: a page, Markdown, JUnit, JSON or TAP
    Report(report::ReportArgs),
    /// Say what has changed from one run to another
    Compare(compare::CompareArgs),
    /// Run tests of an earlier run again: those that failed, were lost, were flaky
    Rerun(rerun::RerunArgs),
    /// Find the kernel on which a test or a command changes
    Bisect(Box<bisect::BisectArgs>),
    /// List the running VMs of this user
    Ps(vms::PsArgs),
    /// Print the console of a running VM
    Logs(vms::LogsArgs),
    /// Stop a running VM
    Stop(vms::StopArgs),
    /// Write the memory of a running VM into a file for crash or drgn
    Dump(dump::DumpArgs),
    /// Open gdb on the kernel of a running VM
    Gdb(gdb::GdbArgs),
    /// Open drgn on the memory of a running VM
    Drgn(drgn::DrgnArgs),
    /// Show tests over all kept runs: when they passed, how often they flake
    History(history::HistoryArgs),
    /// List earlier runs, and remove old ones
    Runs(runs::RunsArgs),
    /// Build bpftrace in the flake's environment and run all its tests
    Ci(Box<ci::CiArgs>),
    /// Run the tests of a GoogleTest program, several at once (a step of kiln ci)
    #[command(hide = true)]
    Gtest(gtest::GtestArgs),
    /// Show and compare the types and functions of kernels, without booting them
    Btf(btf::BtfArgs),
    /// List, find, fetch and pin kernels
    Kernels(kernels::KernelsArgs),
    /// Check every prerequisite and say how to fix it
    Doctor(doctor::DoctorArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:
  kiln completions bash > ~/.local/share/bash-completion/completions/kiln")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages
    #[command(hide = true)]
    Man(man::ManArgs),
    /// Serve one directory over virtiofs (kiln's own helper process)
    #[command(name = share::SUBCOMMAND, hide = true)]
    Share(ServeOptions),
    /// Connect a guest to a port of the host (kiln's own helper process)
    #[command(name = relay::SUBCOMMAND, hide = true)]
    Relay(RelayOptions),
}

/// Runs kiln with this process's arguments.
pub fn main() -> ExitCode {
    #[cfg(all(target_feature = "crt-static", target_env = "gnu"))]
    crate::name_service::use_own();
    let parsed = command().try_get_matches().and_then(|matches| {
        Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
    });
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            let verbose = || version::is_verbose(std::env::args_os());
            if error.kind() == clap::error::ErrorKind::DisplayVersion && verbose() {
                // As below.
                let _ = output::line(version::text().trim_end());
                return ExitCode::SUCCESS;
            }
            let code = if error.use_stderr() {
                exit_code::USAGE
            } else {
                exit_code::OK
            };
            // Do not fail if stdout is closed while printing help.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    if cli.global.offline {
        offline::go();
    }
    // Do this before starting any thread: the share confines its whole process.
    if let Command::Share(options) = &cli.command {
        return match share::serve(options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Failure::from(error).report(),
        };
    }
    if let Command::Relay(options) = &cli.command {
        // The guest sees that its connection ends.
        return relay::serve(*options).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let begun =
        log::start(cli.global.verbose).and_then(|log| Ok((log, tokio::runtime::Runtime::new()?)));
    let (log, runtime) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            return Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot start kiln's threads: {error}"),
            )
            .report();
        }
    };
    let code = match runtime.block_on(dispatch(cli)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => runtime.block_on(tell(failure)),
    };
    log.flush();
    // A thread may be blocked in a read of stdin that never ends.
    runtime.shutdown_background();
    code
}

/// Parses the command line; an empty environment variable counts as unset.
fn command() -> clap::Command {
    without_empty_variables(Cli::command())
}

/// Reports a failure, unless a signal comes first: standard error may be a blocked terminal, and
/// signals no longer end the process by themselves.
async fn tell(failure: Failure) -> ExitCode {
    let code = ExitCode::from(failure.code);
    let Ok(mut interrupts) = Interrupts::listen() else {
        return failure.report();
    };
    tokio::select! {
        code = blocking(move || failure.report()) => code,
        _ = interrupts.next() => code,
    }
}

async fn dispatch(cli: Cli) -> Result<u8, Failure> {
    // A write beyond the file size limit then fails with an error instead of killing us. QEMU and
    // others do not inherit a handler, as they would SIG_IGN; without the handler only the message
    // is lost.
    let _file_size = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(
        nix::libc::SIGXFSZ,
    ));
    match cli.command {
        Command::Exec(args) => args
            .run(cli.global.config)
            .await
            .map_err(Failure::into_own_failure),
        Command::Shell(args) => args
            .run(cli.global.config)
            .await
            .map_err(Failure::into_own_failure),
        Command::Run(args) => args.run(cli.global.config).await,
        Command::List(args) => args.run(cli.global.config.as_deref()).await,
        Command::Lint(args) => args.run(),
        Command::Matrix(args) => args.run(cli.global.config.as_deref()).await,
        Command::Merge(args) => blocking(move || args.run(cli.global.config.as_deref())).await,
        Command::Report(args) => blocking(move || args.run(cli.global.config.as_deref())).await,
        Command::Compare(args) => blocking(move || args.run(cli.global.config.as_deref())).await,
        Command::Rerun(args) => args.run(cli.global.config).await,
        Command::Bisect(args) => args.run(cli.global.config).await,
        Command::Ps(args) => args.run(),
        Command::Logs(args) => args.run().await,
        Command::Stop(args) => args.run().await,
        Command::Dump(args) => args.run().await,
        Command::Gdb(args) => args.run(cli.global.config.as_deref()).await,
        Command::Drgn(args) => args.run(cli.global.config.as_deref()).await,
        Command::History(args) => blocking(move || args.run(cli.global.config.as_deref())).await,
        Command::Runs(args) => args.run(cli.global.config.as_deref()),
        Command::Ci(args) => args.run(cli.global.config).await,
        Command::Gtest(args) => args.run(cli.global.config).await,
        Command::Btf(args) => args.run(cli.global.config.as_deref()).await,
        Command::Kernels(args) => {
            let config = cli.global.config;
            let ran = move || kernels::run(&args, config.as_deref(), &mut output::stdout());
            Ok(blocking(ran).await?)
        }
        Command::Doctor(args) => args.command(cli.global.config.as_deref()).await,
        Command::Man(args) => blocking(move || args.run(command())).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "kiln", &mut script);
            output::print("the completion script", &String::from_utf8_lossy(&script))?;
            Ok(exit_code::OK)
        }
        // Handled before the runtime started.
        Command::Share(_) | Command::Relay(_) => Ok(exit_code::OK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
