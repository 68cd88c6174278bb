//! `kiln kernels prune`: makes the cache smaller.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use indicatif::HumanBytes;

use super::error::KernelsError;
use crate::kernel::{self, Cache, Keep};

/// By default, removes kernels that have not been used for this long.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Arguments of `kiln kernels prune`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --older-than and --keep, what was not used for 30 days is removed.

Examples:
  kiln kernels prune --dry-run
  kiln kernels prune --older-than 14d --keep 3"
)]
pub(crate) struct PruneArgs {
    /// Remove kernels that have not been used for this long, such as 12h or 14d
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    older_than: Option<Duration>,
    /// Keep the N most recently used kernels, however old
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// List what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

impl PruneArgs {
    pub(super) fn run(&self, cache: &Cache, out: &mut dyn Write) -> Result<(), KernelsError> {
        let keep = Keep {
            newest: self.keep.unwrap_or(0),
            within: match (self.older_than, self.keep) {
                (Some(time), _) => time,
                (None, Some(_)) => Duration::ZERO,
                (None, None) => UNUSED,
            },
            files_within: self.older_than.unwrap_or(UNUSED),
        };
        let pruned = kernel::prune(cache, keep, self.dry_run)?;
        let mut bytes = 0;
        for pruned in &pruned {
            let did = match (pruned.in_use, self.dry_run) {
                (true, _) => "kept, in use:",
                (false, true) => "would remove",
                (false, false) => "removed",
            };
            let kernel = &pruned.kernel;
            if !pruned.in_use {
                bytes += kernel.bytes;
            }
            writeln!(
                out,
                "{did} {} {} ({})",
                kernel.key,
                kernel.release.as_deref().unwrap_or("damaged"),
                HumanBytes(kernel.bytes)
            )?;
        }
        if pruned.is_empty() {
            writeln!(out, "nothing to remove")?;
        } else {
            writeln!(out, "{} in all", HumanBytes(bytes))?;
        }
        Ok(())
    }
}
