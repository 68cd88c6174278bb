//! `kiln kernels`: what there is, finding more, fetching ahead of time, renewing
//! pins, and keeping the cache small.

mod check;
mod config;
mod error;
mod list;
mod pin;
mod prune;
mod search;

pub(super) use error::KernelsError;

use std::io::Write;
use std::path::Path;

use crate::config::{Catalogue, Kernel, Selected, Source};
use crate::exit_code;
use crate::hint::with_causes;
use crate::kernel::{self, Cache, Progress};

/// Arguments of `kiln kernels`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kiln kernels\n  kiln kernels search debian:6.12\n  kiln kernels fetch -k @quick -k debian:series\n  kiln kernels update 6.1"
)]
pub(super) struct KernelsArgs {
    /// What to do [default: list]
    #[command(subcommand)]
    pub command: Option<KernelsCommand>,
}

/// What `kiln kernels` can do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum KernelsCommand {
    /// List the kernels: name, source, version, and whether they are cached
    #[command(after_help = "Example:\n  kiln kernels list")]
    List,
    /// List the kernels of pools: what `-k POOL:VERSION` takes
    Search(search::SearchArgs),
    /// Fetch kernels into the cache, so that they boot without a network
    #[command(after_help = "Example:\n  kiln kernels fetch -k 6.1 -k '7.*' -k debian:6.18")]
    Fetch {
        /// Kernel: a name or glob of kernels.toml, @group, POOL:VERSION such as
        /// debian:6.18, host, or a path: a build tree, an image, or packages
        /// separated by commas [default: all of kernels.toml]
        #[arg(short, long = "kernel", value_name = "KERNEL")]
        kernels: Vec<String>,
    },
    /// Show what kernels have of all that kiln and bpftrace want, without booting them
    Check(check::CheckArgs),
    /// Print what kiln and bpftrace want of a kernel's configuration
    Config(config::ConfigArgs),
    /// Write kernels of a pool to kernels.toml, pinned in kernels.lock
    Pin(pin::PinArgs),
    /// Pin kernels to the newest version of their package, or to what their
    /// flake gives, in kernels.lock
    #[command(after_help = "Example:\n  kiln kernels update 6.1 6.12")]
    Update {
        /// Name, glob or @group [default: all kernels from apt]
        #[arg(value_name = "KERNEL")]
        kernels: Vec<String>,
    },
    /// Remove kernels from the cache that were not used for long
    Prune(prune::PruneArgs),
}

/// Runs `kiln kernels` with the catalogue of `config` (`--config`), writing
/// results to `out` and progress to stderr.
pub(super) fn run(
    args: &KernelsArgs,
    config: Option<&Path>,
    out: &mut dyn Write,
) -> Result<u8, KernelsError> {
    let cwd = std::env::current_dir()?;
    let catalogue = Catalogue::discover(config, &cwd)?;
    let cache = Cache::from_env()?;
    match args.command.as_ref().unwrap_or(&KernelsCommand::List) {
        KernelsCommand::Check(args) => return args.run(&catalogue, &cwd, &cache, out),
        KernelsCommand::Config(args) => args.run(out),
        KernelsCommand::List => list::run(&catalogue, &cache, out),
        KernelsCommand::Search(args) => args.run(&catalogue, &cache, out),
        KernelsCommand::Pin(args) => args.run(&catalogue, &cwd, &cache, out),
        KernelsCommand::Prune(args) => args.run(&cache, out),
        KernelsCommand::Fetch { kernels } => {
            let progress = Progress::stderr();
            let selected = if kernels.is_empty() {
                let all = catalogue.kernels.iter().cloned();
                all.map(Selected::Named).collect()
            } else {
                kernel::select(&catalogue, kernels, &cwd, &cache, &progress)?
            };
            let mut failed = None;
            for image in kernel::provide_all(&catalogue, &selected, &cache, &progress) {
                match image {
                    Ok(image) => writeln!(
                        out,
                        "{}\t{}\t{}",
                        image.name,
                        image.release,
                        image.image.display()
                    )?,
                    Err(error) => {
                        if let Some(earlier) = failed.replace(error) {
                            progress.line(&format!("error: {}", with_causes(&earlier)));
                        }
                    }
                }
            }
            failed.map_or(Ok(()), |error| Err(error.into()))
        }
        KernelsCommand::Update { kernels } => {
            let kernels: Vec<&Kernel> = if kernels.is_empty() {
                let from_apt = |kernel: &&Kernel| matches!(kernel.source, Source::Apt(_));
                catalogue.kernels.iter().filter(from_apt).collect()
            } else {
                let selected = catalogue.select(kernels, &cwd)?;
                let names: Vec<String> = selected.iter().map(|s| s.name().to_owned()).collect();
                names
                    .iter()
                    .map(|name| {
                        catalogue
                            .kernel(name)
                            .ok_or_else(|| kernel::Error::NotPinned { name: name.clone() })
                    })
                    .collect::<Result<_, _>>()?
            };
            let progress = Progress::stderr();
            for update in kernel::update(&catalogue, &kernels, &cache, &progress)? {
                match update.before {
                    Some(before) if before == update.after => {
                        writeln!(out, "{}\t{before} (unchanged)", update.name)?;
                    }
                    Some(before) => writeln!(out, "{}\t{before} -> {}", update.name, update.after)?,
                    None => writeln!(out, "{}\t{} (new)", update.name, update.after)?,
                }
            }
            Ok(())
        }
    }?;
    Ok(exit_code::OK)
}
