//! Chooses kernels of a pool.

use super::super::Error;
use crate::config::{PoolKernel, Wanted, What, numbers, series};

/// The kernels that `wanted` means, of `kernels`, which are sorted by version; at
/// least one.
pub(super) fn choose(
    pool: &str,
    kernels: &[PoolKernel],
    wanted: &Wanted,
) -> Result<Vec<PoolKernel>, Error> {
    let in_range = |kernel: &&PoolKernel| match &wanted.what {
        What::All | What::Series(None) => true,
        What::Series(Some(range)) | What::Newest(range) | What::Range(range) => {
            range.has(&kernel.upstream)
        }
        What::Build(build) => is_build(kernel, build),
    };
    let matching: Vec<&PoolKernel> = kernels.iter().filter(in_range).collect();
    let chosen: Vec<PoolKernel> = match &wanted.what {
        What::All | What::Range(_) => matching.into_iter().cloned().collect(),
        What::Newest(_) | What::Build(_) => newest(&matching).cloned().into_iter().collect(),
        What::Series(_) => newest_of_each_series(&matching),
    };
    if chosen.is_empty() {
        return Err(Error::NoVersion {
            pool: pool.to_owned(),
            wanted: wanted.to_string(),
            nearest: nearest(kernels, &wanted.numbers()),
        });
    }
    Ok(chosen)
}

/// By kernel's version, by Debian's, or by release, in full or up to the flavour.
fn is_build(kernel: &PoolKernel, build: &str) -> bool {
    let release = release(kernel);
    kernel.upstream == build
        || kernel.version() == build
        || release
            .strip_prefix(build)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// `uname -r` of the kernel.
pub(super) fn release(kernel: &PoolKernel) -> &str {
    let package = kernel.files.first().map_or("", |file| &file.package);
    package.strip_prefix("linux-image-").unwrap_or(package)
}

/// The newest that the archive lists completely, else the newest.
fn newest<'k>(kernels: &[&'k PoolKernel]) -> Option<&'k PoolKernel> {
    let whole = |kernel: &&&PoolKernel| kernel.unlisted.is_empty();
    let newest = kernels.iter().rfind(whole).or(kernels.last());
    newest.copied()
}

fn newest_of_each_series(kernels: &[&PoolKernel]) -> Vec<PoolKernel> {
    let mut all: Vec<Option<String>> = Vec::new();
    for kernel in kernels {
        let series = series(&kernel.upstream);
        if !all.contains(&series) {
            all.push(series);
        }
    }
    let newest = all.into_iter().filter_map(|wanted| {
        let same = |kernel: &&&PoolKernel| series(&kernel.upstream) == wanted;
        newest(&kernels.iter().filter(same).copied().collect::<Vec<_>>())
    });
    newest.cloned().collect()
}

/// Names of the kernels nearest to `wanted`, one on either side; without numbers, of the first and
/// the last.
fn nearest(kernels: &[PoolKernel], wanted: &[u64]) -> Vec<String> {
    let below = |kernel: &&PoolKernel| numbers(&kernel.upstream).as_slice() < wanted;
    let below: Vec<&PoolKernel> = kernels.iter().filter(below).collect();
    let above = kernels
        .iter()
        .find(|kernel| numbers(&kernel.upstream).as_slice() > wanted);
    let last = if wanted.is_empty() {
        kernels.last()
    } else {
        below.last().copied()
    };
    let mut names: Vec<String> = last
        .into_iter()
        .chain(above)
        .map(|kernel| kernel.name.clone())
        .collect();
    if wanted.is_empty() {
        names.reverse();
    }
    names
}
