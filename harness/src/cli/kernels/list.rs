//! `kiln kernels list`: the kernels of `kernels.toml`.

use std::io::Write;

use comfy_table::{Table, presets};
use indicatif::HumanBytes;

use super::error::KernelsError;
use crate::config::Catalogue;
use crate::kernel::{self, Cache};
use crate::report::escape;

pub(super) fn run(
    catalogue: &Catalogue,
    cache: &Cache,
    out: &mut dyn Write,
) -> Result<(), KernelsError> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NAME", "SOURCE", "VERSION", "CACHED"]);
    for kernel in &catalogue.kernels {
        let status = kernel::status(catalogue, kernel, cache)?;
        let cached = if status.cached {
            let bytes = kernel::size_in_cache(catalogue, kernel, cache)?;
            format!("{}, yes", HumanBytes(bytes.unwrap_or_default()))
        } else {
            "no".to_owned()
        };
        table.add_row([
            kernel.name.clone(),
            kernel.source.to_string(),
            status.version.unwrap_or_else(|| "-".to_owned()),
            cached,
        ]);
    }
    print(&table, out)?;
    let kept = kernel::cached_kernels(cache)?;
    if !kept.is_empty() {
        let bytes = kept.iter().map(|kernel| kernel.bytes).sum();
        writeln!(
            out,
            "the cache {} has {} in {} kernels",
            cache.root().display(),
            HumanBytes(bytes),
            kept.len()
        )?;
    }
    for group in &catalogue.groups {
        writeln!(out, "@{}: {}", group.name, group.kernels.join(", "))?;
    }
    Ok(())
}

/// Prints a table without blanks at the ends of its lines.
pub(super) fn print(table: &Table, out: &mut dyn Write) -> Result<(), KernelsError> {
    for line in table.to_string().lines() {
        writeln!(out, "{}", escape::line(line.trim()))?;
    }
    Ok(())
}
