//! `kiln kernels search`: lists the kernels of pools.

use std::io::Write;

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanBytes;
use serde::Serialize;

use super::error::KernelsError;
use super::list;
use crate::config::{Catalogue, Pool, PoolKernel, SelectError, Wanted};
use crate::kernel::{self, Cache, Progress};

/// Arguments of `kiln kernels search`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kiln kernels search
  kiln kernels search debian:6.12
  kiln kernels search 'debian:>=7.1' --format json")]
pub(crate) struct SearchArgs {
    /// A pool, or some kernels of it, such as debian:6.12, 'debian:>=6.16, <7.1' or debian:series
    /// [default: all pools]
    #[arg(value_name = "POOL[:RANGE]")]
    wanted: Option<String>,
    /// Query the archive even if that was done within the last hour
    #[arg(long)]
    refresh: bool,
    /// The output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

/// The format of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// People
    #[default]
    Table,
    /// Programs: a list of objects
    Json,
}

/// A kernel, for programs.
#[derive(Debug, Serialize)]
struct Line<'a> {
    /// For `-k`.
    name: &'a str,
    pool: &'a str,
    /// Version of the kernel.
    kernel: &'a str,
    /// Version of the package.
    version: &'a str,
    package: &'a str,
    suites: &'a [String],
    /// Size of the download, in bytes.
    size: u64,
    /// Further packages, which the archive no longer lists.
    unlisted: Vec<&'a str>,
    cached: bool,
}

impl SearchArgs {
    pub(super) fn run(
        &self,
        catalogue: &Catalogue,
        cache: &Cache,
        out: &mut dyn Write,
    ) -> Result<(), KernelsError> {
        let progress = Progress::stderr();
        let mut kernels = Vec::new();
        for (pool, wanted) in self.pools(catalogue)? {
            let found = kernel::in_pool(pool, &wanted, cache, &progress, self.refresh)?;
            for kernel in found {
                let cached = kernel::is_cached(&kernel, cache)?;
                kernels.push((kernel, cached));
            }
        }
        match self.format {
            Format::Table => table(&kernels, out),
            Format::Json => json(&kernels, out),
        }
    }

    fn pools<'c>(&self, catalogue: &'c Catalogue) -> Result<Vec<(&'c Pool, Wanted)>, SelectError> {
        let all = |pool: &Pool| {
            Wanted::parse("*").map_err(|reason| SelectError::BadVersion {
                pool: pool.name.clone(),
                reason,
            })
        };
        let Some(asked) = &self.wanted else {
            let pools = catalogue.pools.iter();
            return pools.map(|pool| Ok((pool, all(pool)?))).collect();
        };
        if let Some((pool, wanted)) = catalogue.of_pool(asked)? {
            return Ok(vec![(pool, wanted.with_older())]);
        }
        let pool = catalogue.known_pool(asked)?;
        Ok(vec![(pool, all(pool)?)])
    }
}

fn table(kernels: &[(PoolKernel, bool)], out: &mut dyn Write) -> Result<(), KernelsError> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NAME", "VERSION", "SUITE", "SIZE", "CACHED"]);
    for (kernel, cached) in kernels {
        table.add_row([
            kernel.name.clone(),
            kernel.version().to_owned(),
            kernel.suites.join(" "),
            size(kernel),
            if *cached { "yes" } else { "no" }.to_owned(),
        ]);
    }
    if let Some(size) = table.column_mut(3) {
        size.set_cell_alignment(CellAlignment::Right);
    }
    list::print(&table, out)
}

/// Size of the download, without unlisted packages, whose size is unknown.
fn size(kernel: &PoolKernel) -> String {
    let more = if kernel.unlisted.is_empty() { "" } else { ">" };
    format!("{more}{}", HumanBytes(kernel.size()))
}

fn json(kernels: &[(PoolKernel, bool)], out: &mut dyn Write) -> Result<(), KernelsError> {
    let lines: Vec<Line<'_>> = kernels
        .iter()
        .map(|(kernel, cached)| Line {
            name: &kernel.name,
            pool: kernel.pool(),
            kernel: &kernel.upstream,
            version: kernel.version(),
            package: &kernel.source.package,
            suites: &kernel.suites,
            size: kernel.size(),
            unlisted: kernel
                .unlisted
                .iter()
                .map(|file| file.package.as_str())
                .collect(),
            cached: *cached,
        })
        .collect();
    let text = serde_json::to_string_pretty(&lines).map_err(std::io::Error::from)?;
    Ok(writeln!(out, "{text}")?)
}
