//! Where the debug information of a running kernel is.

use std::path::{Path, PathBuf};

use clap::Args;

use super::context::Context;
use super::{Failure, output};
use crate::blocking::blocking;
use crate::kernel::{self, Progress};
use crate::report::escape;
use crate::vm::card::Card;

/// Where distributions install it.
const INSTALLED: &str = "/usr/lib/debug/boot";

/// Where to take debug information from.
#[derive(Debug, Clone, Args)]
pub(super) struct DebugImageArgs {
    /// The kernel with debug information [default: vmlinux of the build tree that the kernel is of,
    /// else what was fetched before or is installed in /usr/lib/debug]
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,
    /// Fetch it into the cache: that of a kernel of Debian from Debian's archive (about 300 MB, and
    /// 600 MB there), others from the debuginfod servers that DEBUGINFOD_URLS names
    #[arg(long, conflicts_with = "vmlinux")]
    fetch_symbols: bool,
}

impl DebugImageArgs {
    /// Finds the debug information of a VM's kernel; prints a note if it finds none.
    pub(super) async fn find(
        &self,
        card: &Card,
        config: Option<&Path>,
    ) -> Result<Option<PathBuf>, Failure> {
        if let Some(vmlinux) = self.vmlinux.clone().or_else(|| of_build_tree(card)) {
            return Ok(Some(vmlinux));
        }
        let of_kernel = self.of_kernel(card, config).await;
        // A VM may have a kernel that is not in this catalogue.
        let of_kernel = if self.fetch_symbols {
            of_kernel?
        } else {
            of_kernel.unwrap_or_default()
        };
        let installed = Path::new(INSTALLED).join(format!("vmlinux-{}", card.release));
        let found = of_kernel.or_else(|| Some(installed).filter(|file| file.is_file()));
        if found.is_none() {
            output::note(&format!(
                "kiln: the debug information of {} is not at hand: {}",
                escape::line(&card.release),
                self.advice()
            ));
        }
        Ok(found)
    }

    /// What else the user can do.
    fn advice(&self) -> &'static str {
        if self.fetch_symbols {
            "neither Debian's archive nor a server of DEBUGINFOD_URLS has it; name it with --vmlinux FILE"
        } else {
            "name it with --vmlinux FILE, or get it with --fetch-symbols"
        }
    }

    /// What was fetched before, or can be fetched.
    async fn of_kernel(
        &self,
        card: &Card,
        config: Option<&Path>,
    ) -> Result<Option<PathBuf>, Failure> {
        let context = Context::load(config)?;
        let selected = context.select(std::slice::from_ref(&card.kernel)).await?;
        let (fetch, release) = (self.fetch_symbols, card.release.clone());
        let found = blocking(move || {
            let Some(selected) = selected.first() else {
                return Ok(None);
            };
            let (catalogue, cache) = (&context.catalogue, &context.cache);
            kernel::debug_image(
                catalogue,
                (selected, &release),
                cache,
                fetch,
                &Progress::stderr(),
            )
        });
        Ok(found.await?)
    }
}

/// `vmlinux` of the build tree that the kernel was taken from.
fn of_build_tree(card: &Card) -> Option<PathBuf> {
    let path = card.cwd.join(&card.kernel);
    let above = path.ancestors().take(4);
    let mut places = above.map(|dir| dir.join("vmlinux"));
    places.find(|vmlinux| vmlinux.is_file())
}
