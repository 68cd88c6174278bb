//! Pools: kernels of an archive by version.

mod choose;
mod lists;

use std::path::Path;

use super::{Cache, Error, Progress};
use crate::config::{Catalogue, Pool, PoolKernel, Selected, Wanted};
use lists::Lists;

/// The kernels that `patterns` select, in that order, each once; relative paths are relative to
/// `cwd`. If they include pools, queries their archives, unless that was done within the last hour.
///
/// Blocks while it downloads; call it where blocking is allowed.
pub fn select<S: AsRef<str>>(
    catalogue: &Catalogue,
    patterns: &[S],
    cwd: &Path,
    cache: &Cache,
    progress: &Progress,
) -> Result<Vec<Selected>, Error> {
    catalogue.select_with(patterns, cwd, |pool, wanted| {
        in_pool(pool, wanted, cache, progress, false)
    })
}

/// The kernels of `pool` that `wanted` means, sorted by version; at least one. Queries its archive
/// if `anew` is set, or if that was not done within the last hour.
pub fn in_pool(
    pool: &Pool,
    wanted: &Wanted,
    cache: &Cache,
    progress: &Progress,
    anew: bool,
) -> Result<Vec<PoolKernel>, Error> {
    let kernels = Lists::new(pool, cache, progress).kernels(anew)?;
    choose::choose(&pool.name, &kernels, wanted)
}
