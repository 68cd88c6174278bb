//! What most commands need: the catalogue of kernels, the cache, the kernels
//! that the user selected.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::config::{Catalogue, Selected};
use crate::exit_code;
use crate::kernel::cache::Cache;
use crate::kernel::{KernelImage, provide};

/// The catalogue and the cache.
#[derive(Debug)]
pub struct Context {
    /// Kernels and suites.
    pub catalogue: Catalogue,
    /// The user's cache.
    pub cache: Cache,
    /// The working directory, absolute.
    pub cwd: PathBuf,
}

impl Context {
    /// Reads `config`, or the `kernels.toml` of this directory or above it, or
    /// the built-in one.
    pub fn load(config: Option<&Path>) -> Result<Self, Failure> {
        let cwd = std::env::current_dir().map_err(|error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot tell the working directory: {error}"),
            )
        })?;
        Ok(Self {
            catalogue: Catalogue::discover(config, &cwd)?,
            cache: Cache::from_env()?,
            cwd,
        })
    }

    /// The kernels that `-k` selects.
    pub fn select(&self, kernels: &[String]) -> Result<Vec<Selected>, Failure> {
        Ok(self.catalogue.select(kernels)?)
    }

    /// Gets a kernel ready to boot, from the cache or its source.
    pub async fn provide(&self, selected: &Selected) -> Result<KernelImage, Failure> {
        Ok(provide(selected, &self.catalogue, &self.cache).await?)
    }
}
