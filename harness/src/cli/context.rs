//! What most subcommands need: the catalogue of kernels, the cache, the kernels that the user
//! selected.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failure;
use crate::blocking::blocking;
use crate::config::{Catalogue, Origin, Selected};
use crate::exit_code;
use crate::kernel::{self, Cache, KernelImage, Progress};
use crate::run::dir;

/// The catalogue and the cache.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// Kernels and suites.
    pub(super) catalogue: Arc<Catalogue>,
    /// The user's cache.
    pub(super) cache: Cache,
    /// The working directory, absolute.
    pub(super) cwd: PathBuf,
}

impl Context {
    /// Reads `config`, or the `kernels.toml` of this directory or above it, or
    /// the built-in one.
    pub(super) fn load(config: Option<&Path>) -> Result<Self, Failure> {
        let cwd = std::env::current_dir().map_err(|error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot find the working directory: {error}"),
            )
        })?;
        Ok(Self {
            catalogue: Arc::new(Catalogue::discover(config, &cwd)?),
            cache: Cache::from_env()?,
            cwd,
        })
    }

    /// The directory for runs: below the directory of `kernels.toml`, else below the working
    /// directory.
    pub(super) fn runs(&self) -> PathBuf {
        let base = match &self.catalogue.origin {
            Origin::File(file) => file.parent().filter(|dir| self.cwd.starts_with(dir)),
            Origin::BuiltIn => None,
        };
        dir::parent_in(base.unwrap_or(&self.cwd))
    }

    /// The file `name` beside `kernels.toml`, else in the working directory.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        let dir = match &self.catalogue.origin {
            Origin::File(file) => file.parent(),
            Origin::BuiltIn => None,
        };
        dir.unwrap_or(&self.cwd).join(name)
    }

    /// The kernels that `-k` selects. Asks archives where pools are among them.
    pub(super) async fn select(&self, kernels: &[String]) -> Result<Vec<Selected>, Failure> {
        let (context, kernels) = (self.clone(), kernels.to_vec());
        let selected = blocking(move || {
            let progress = Progress::stderr();
            let (catalogue, cache) = (&context.catalogue, &context.cache);
            kernel::select(catalogue, &kernels, &context.cwd, cache, &progress)
        });
        Ok(selected.await?)
    }

    /// Fetches those of several kernels that are not in the cache, some at once.
    /// What goes wrong is said when the kernel is asked for.
    pub(super) async fn fetch(&self, selected: &[Selected]) {
        let missing = selected.iter().filter(|kernel| !self.is_at_hand(kernel));
        let missing: Vec<Selected> = missing.cloned().collect();
        if missing.len() > 1 {
            let context = self.clone();
            let (catalogue, cache) = (context.catalogue, context.cache);
            blocking(move || {
                kernel::provide_all(&catalogue, &missing, &cache, &Progress::stderr());
            })
            .await;
        }
    }

    /// Prepares a kernel for booting, from the cache or its source.
    pub(super) async fn provide(&self, selected: &Selected) -> Result<KernelImage, Failure> {
        self.provide_beside(selected, Progress::stderr()).await
    }

    /// The same, but `shown` gets the progress.
    pub(super) async fn provide_beside(
        &self,
        selected: &Selected,
        progress: Progress,
    ) -> Result<KernelImage, Failure> {
        let catalogue = Arc::clone(&self.catalogue);
        let cache = self.cache.clone();
        let selected = selected.clone();
        // Downloads and unpacks, which can take minutes.
        let provided =
            blocking(move || kernel::provide(&catalogue, &selected, &cache, &progress)).await?;
        Ok(provided)
    }

    /// Whether a kernel is ready without a download.
    pub(super) fn is_at_hand(&self, selected: &Selected) -> bool {
        match selected {
            Selected::Path { .. } | Selected::Files { .. } | Selected::Host => true,
            Selected::Pooled(kernel) => kernel::is_cached(kernel, &self.cache).unwrap_or_default(),
            // An error here will show when the kernel is provided.
            Selected::Named(kernel) => kernel::status(&self.catalogue, kernel, &self.cache)
                .is_ok_and(|status| status.cached),
        }
    }
}
