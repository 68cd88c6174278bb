//! `kiln btf`: what types and functions kernels have, without booting them.

mod check;
pub(super) mod diff;
mod extract;
mod header;
mod show;

use std::path::Path;

use super::Failure;
use super::context::Context;
use crate::blocking::blocking;
use crate::btf::{self, Kernel};
use crate::config::Selected;
use crate::exit_code;
use crate::hint::{Hint, with_causes};
use crate::kernel::{self, Progress};
use crate::report::escape;

/// Arguments of `kiln btf`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct BtfArgs {
    /// What to do
    #[command(subcommand)]
    command: BtfCommand,
}

/// What `kiln btf` can do.
#[derive(Debug, Clone, clap::Subcommand)]
enum BtfCommand {
    /// Show what types, members, functions and values kernels have
    Show(show::ShowArgs),
    /// Show what changed from one kernel to the next
    Diff(diff::DiffArgs),
    /// Check on which kernels BPF objects load
    Check(Box<check::CheckArgs>),
    /// Write the BTF of kernels and their modules to files
    Extract(extract::ExtractArgs),
    /// Print all types of a kernel as a C header, vmlinux.h
    Header(header::HeaderArgs),
}

impl BtfArgs {
    /// Runs it; the result is the exit code.
    pub(super) async fn run(self, config: Option<&Path>) -> Result<u8, Failure> {
        let context = Context::load(config)?;
        match self.command {
            BtfCommand::Show(args) => args.run(&context).await,
            BtfCommand::Diff(args) => args.run(&context).await,
            BtfCommand::Check(args) => args.run(&context).await,
            BtfCommand::Extract(args) => args.run(&context).await,
            BtfCommand::Header(args) => args.run(&context).await,
        }
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The kernels that `-k` selects; all of kernels.toml without one.
async fn select(context: &Context, kernels: &[String]) -> Result<Vec<Selected>, Failure> {
    let selected = if kernels.is_empty() {
        let all = context.catalogue.kernels.iter().cloned();
        all.map(Selected::Named).collect()
    } else {
        context.select(kernels).await?
    };
    if selected.is_empty() {
        let failure = Failure::new(exit_code::NOTHING_SELECTED, "no kernel is selected");
        return Err(failure.hint("name one with -k: `kiln kernels list` shows them"));
    }
    context.fetch(&selected).await;
    Ok(selected)
}

/// Does `work` with the BTF of each kernel, several at once, and keeps only what it gives: the BTF
/// of twenty kernels would fill the memory.
async fn each<T: Send + 'static>(
    context: &Context,
    selected: Vec<Selected>,
    work: impl Fn(&Selected, Result<Kernel, btf::Error>) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let context = context.clone();
    blocking(move || {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        kernel::at_once(&selected, workers, |selected| {
            work(selected, open(&context, selected))
        })
    })
    .await
}

fn open(context: &Context, selected: &Selected) -> Result<Kernel, btf::Error> {
    let progress = Progress::stderr();
    btf::open(&context.catalogue, selected, &context.cache, &progress)
}

/// Why a kernel could not be asked, in a line.
fn reason(error: &btf::Error) -> String {
    escape::line(&with_causes(error)).into_owned()
}

/// The failure of one kernel.
fn failure(kernel: &str, error: &btf::Error) -> Failure {
    let mut failure = Failure::new(
        exit_code::SETUP_FAILED,
        format!("kernel {kernel}: {}", with_causes(error)),
    );
    failure.hints = error.hints();
    failure
}

/// The failure of a kernel that was built without BTF.
fn without_btf(kernel: &str) -> Failure {
    let failure = Failure::new(
        exit_code::TESTS_FAILED,
        format!("kernel {kernel}: this kernel has no BTF"),
    );
    failure.hint("it is in kernels that were built with CONFIG_DEBUG_INFO_BTF=y")
}
