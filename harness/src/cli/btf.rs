//! `kiln btf`: what types and functions kernels have, without booting them.

mod check;
pub(super) mod diff;
mod extract;
mod header;
mod kernels;
mod show;

use std::path::Path;

use super::Failure;
use super::context::Context;

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
