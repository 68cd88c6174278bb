//! `kiln btf`: what types and functions kernels have, without booting them.

mod check;

use std::path::Path;

use super::Failure;
use super::context::Context;
use crate::config::Selected;
use crate::exit_code;

/// Arguments of `kiln btf`.
#[derive(Debug, clap::Args)]
pub(super) struct BtfArgs {
    /// What to do
    #[command(subcommand)]
    command: BtfCommand,
}

/// What `kiln btf` can do.
#[derive(Debug, clap::Subcommand)]
enum BtfCommand {
    /// Check on which kernels BPF objects load
    Check(Box<check::CheckArgs>),
}

impl BtfArgs {
    /// Runs it; the result is the exit code.
    pub(super) async fn run(self, config: Option<&Path>) -> Result<u8, Failure> {
        let context = Context::load(config)?;
        match self.command {
            BtfCommand::Check(args) => args.run(&context).await,
        }
    }
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
