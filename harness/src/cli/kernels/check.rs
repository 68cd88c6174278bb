//! `kiln kernels check`: what a kernel has of all that kiln and bpftrace want, without booting it.

mod checked;
mod json;
mod table;

use std::io::Write;
use std::path::Path;

use clap::{Args, ValueEnum};

use checked::{Checked, ModuleFinding, Refused};

use super::KernelsError;
use crate::config::{Asked, Catalogue};
use crate::exit_code;
use crate::hint::Hint as _;
use crate::kernel::check;
use crate::kernel::facts::{Facts, ImageFacts};
use crate::kernel::wants::WantedBy;
use crate::kernel::{self, Cache, Progress};
use crate::report::TerminalStyle;
use crate::vm::means::Means;

/// Arguments of `kiln kernels check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kiln kernels check 6.1
  kiln kernels check ../linux --for kiln
  kiln kernels check @quick debian:6.18 --format json
  kiln kernels check ../linux --fix >kiln.config
  scripts/kconfig/merge_config.sh .config kiln.config

Exits with 100 if a kernel does not boot in kiln.")]
pub(crate) struct CheckArgs {
    /// Name, glob, @group, POOL:VERSION, host, or path
    #[arg(value_name = "KERNEL", required = true)]
    kernels: Vec<String>,
    /// Whose needs to look at
    #[arg(long = "for", value_enum, default_value_t, value_name = "WHO")]
    wanted_by: Whose,
    /// The output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// Print what is missing as a fragment for scripts/kconfig/merge_config.sh
    #[arg(long, conflicts_with = "format")]
    fix: bool,
}

/// Whose needs to look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Whose {
    /// kiln's own: to boot, and to share files
    Kiln,
    /// Those of bpftrace and its tests
    Bpftrace,
    /// Both
    #[default]
    All,
}

impl Whose {
    pub(super) fn wanted_by(self) -> &'static [WantedBy] {
        match self {
            Self::Kiln => &[WantedBy::Kiln],
            Self::Bpftrace => &[WantedBy::Bpftrace],
            Self::All => &[WantedBy::Kiln, WantedBy::Bpftrace],
        }
    }
}

/// The format of the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// People
    #[default]
    Table,
    /// Programs: a list of objects
    Json,
}

impl CheckArgs {
    pub(super) fn run(
        &self,
        catalogue: &Catalogue,
        cwd: &Path,
        cache: &Cache,
        out: &mut dyn Write,
    ) -> Result<u8, KernelsError> {
        let progress = Progress::stderr();
        let selected = kernel::select(catalogue, &self.kernels, cwd, cache, &progress)?;
        let mut all = Vec::new();
        for image in kernel::provide_all(catalogue, &selected, cache, &progress) {
            all.push(self.check(catalogue, &image?)?);
        }
        if self.fix {
            fix(&all, out)?;
        } else {
            match self.format {
                Format::Table => table::print(&all, TerminalStyle::detect(), out)?,
                Format::Json => json::print(&all, out)?,
            }
        }
        let all_boot = all.iter().all(|kernel| kernel.boots.is_ok());
        Ok(if all_boot {
            exit_code::OK
        } else {
            exit_code::TESTS_FAILED
        })
    }

    fn check(
        &self,
        catalogue: &Catalogue,
        image: &kernel::KernelImage,
    ) -> Result<Checked, KernelsError> {
        let facts = Facts::of(image).map_err(|source| kernel::Error::Modules {
            release: image.release.clone(),
            source,
        })?;
        if let Some(bad) = facts.bad_config() {
            return Err(KernelsError::Configuration(bad.clone()));
        }
        let settings = catalogue.settings_of(&image.name);
        let boots = Means::choose(&settings.devices, &facts).map_err(|error| Refused {
            why: error.to_string(),
            hints: error.hints(),
        });
        let findings = check::findings(&facts, ImageFacts::of(image), self.wanted_by.wanted_by());
        let modules = match &settings.modules {
            Some(modules) if self.wanted_by != Whose::Kiln => wanted_modules(&facts, modules),
            _ => Vec::new(),
        };
        Ok(Checked {
            name: image.name.clone(),
            release: image.release.clone(),
            findings,
            modules,
            boots,
            facts,
        })
    }
}

fn wanted_modules(facts: &Facts, modules: &Asked<Vec<String>>) -> Vec<ModuleFinding> {
    let finding = |name: &String| ModuleFinding {
        name: name.clone(),
        by: modules.by.clone(),
        presence: facts.module(name),
    };
    modules.value.iter().map(finding).collect()
}

/// The fragments that mend the kernels.
fn fix(all: &[Checked], out: &mut dyn Write) -> Result<(), KernelsError> {
    for kernel in all {
        let fragment = check::fix(&kernel.findings, &kernel.facts);
        if all.len() > 1 || fragment.is_empty() {
            let nothing = if fragment.is_empty() {
                " lacks nothing that is known"
            } else {
                ""
            };
            writeln!(
                out,
                "# {} ({}){nothing}",
                crate::report::escape::line(&kernel.name),
                crate::report::escape::line(&kernel.release)
            )?;
        }
        out.write_all(fragment.as_bytes())?;
        if !kernel.facts.has_config() {
            crate::cli::output::note(&format!("kiln: {}: {}", kernel.name, table::UNKNOWN_CONFIG));
        }
    }
    Ok(())
}
