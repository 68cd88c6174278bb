//! `kiln kernels`: lists, fetches and pins kernels.

use std::io::{self, Write};
use std::path::Path;

use comfy_table::{Table, presets};

use crate::config::{Catalogue, ConfigError, Kernel, SelectError, Selected, Source};
use crate::hint::Hint;
use crate::kernel::{self, Cache, Progress};

/// Arguments of `kiln kernels`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kiln kernels\n  kiln kernels fetch -k @quick\n  kiln kernels update 6.1"
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
    /// Fetch kernels into the cache, so that they boot without a network
    #[command(after_help = "Example:\n  kiln kernels fetch -k 6.1 -k '7.*'")]
    Fetch {
        /// Name, glob, @group or path [default: all kernels]
        #[arg(short, long = "kernel", value_name = "KERNEL")]
        kernels: Vec<String>,
    },
    /// Pin kernels to the newest version of their package, or to what their
    /// flake gives, in kernels.lock
    #[command(after_help = "Example:\n  kiln kernels update 6.1 6.12")]
    Update {
        /// Name, glob or @group [default: all kernels from apt]
        #[arg(value_name = "KERNEL")]
        kernels: Vec<String>,
    },
}

/// `kiln kernels` failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum KernelsError {
    /// A bad `kernels.toml`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No kernel of that name.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A kernel could not be fetched or pinned.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// Standard output is closed.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl Hint for KernelsError {
    fn hints(&self) -> Vec<String> {
        match self {
            KernelsError::Config(error) => error.hints(),
            KernelsError::Select(error) => error.hints(),
            KernelsError::Kernel(error) => error.hints(),
            KernelsError::Output(_) => Vec::new(),
        }
    }
}

/// Runs `kiln kernels` with the catalogue of `config` (`--config`), writing
/// results to `out` and progress to stderr.
pub(super) fn run(
    args: &KernelsArgs,
    config: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), KernelsError> {
    let cwd = std::env::current_dir()?;
    let catalogue = Catalogue::discover(config, &cwd)?;
    let cache = Cache::from_env()?;
    match args.command.as_ref().unwrap_or(&KernelsCommand::List) {
        KernelsCommand::List => list(&catalogue, &cache, out),
        KernelsCommand::Fetch { kernels } => {
            let selected = select(&catalogue, kernels, &cwd)?;
            let progress = Progress::stderr();
            for selected in &selected {
                let image = kernel::provide(&catalogue, selected, &cache, &progress)?;
                writeln!(
                    out,
                    "{}\t{}\t{}",
                    image.name,
                    image.release,
                    image.image.display()
                )?;
            }
            Ok(())
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
    }
}

fn select(
    catalogue: &Catalogue,
    patterns: &[String],
    cwd: &Path,
) -> Result<Vec<Selected>, SelectError> {
    if patterns.is_empty() {
        Ok(catalogue
            .kernels
            .iter()
            .cloned()
            .map(Selected::Named)
            .collect())
    } else {
        catalogue.select(patterns, cwd)
    }
}

fn list(catalogue: &Catalogue, cache: &Cache, out: &mut dyn Write) -> Result<(), KernelsError> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NAME", "SOURCE", "VERSION", "CACHED"]);
    for kernel in &catalogue.kernels {
        let status = kernel::status(catalogue, kernel, cache)?;
        table.add_row([
            kernel.name.clone(),
            kernel.source.to_string(),
            status.version.unwrap_or_else(|| "-".to_owned()),
            if status.cached { "yes" } else { "no" }.to_owned(),
        ]);
    }
    for line in table.to_string().lines() {
        writeln!(out, "{}", line.trim())?;
    }
    for group in &catalogue.groups {
        writeln!(out, "@{}: {}", group.name, group.kernels.join(", "))?;
    }
    Ok(())
}
