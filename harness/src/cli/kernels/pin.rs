//! `kiln kernels pin`: adds kernels of a pool, or of a run, to `kernels.toml`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::error::KernelsError;
use crate::config::{AptSource, Catalogue, Origin, PoolKernel, What, series};
use crate::hint::with_causes;
use crate::kernel::{self, Cache, LockedFile, LockedKernel, NewPin, Progress};
use crate::run::event::{Event, KernelPackages};
use crate::run::event_log::read_events;

/// Arguments of `kiln kernels pin`.
#[derive(Debug, Args)]
#[command(
    after_help = "The newest of a series, as debian:6.18, is called 6.18, and `kiln kernels update`
moves it to a newer one; a whole version, as debian:6.18.15, stays what it is.

Examples:
  kiln kernels pin debian:6.18
  kiln kernels pin debian:6.12.100 before-the-bug
  kiln kernels pin --run target/kiln/runs/20260102-030405"
)]
pub(crate) struct PinArgs {
    /// Kernels of a pool, such as debian:6.18 or debian:series
    #[arg(value_name = "POOL:VERSION", required_unless_present = "run")]
    wanted: Option<String>,
    /// Name of the kernel [default: its version]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The kernels that a run used, by its directory
    #[arg(long, value_name = "DIR", conflicts_with_all = ["wanted", "name"])]
    run: Option<PathBuf>,
}

impl PinArgs {
    pub(super) fn run(
        &self,
        catalogue: &Catalogue,
        cwd: &Path,
        cache: &Cache,
        out: &mut dyn Write,
    ) -> Result<(), KernelsError> {
        let progress = Progress::stderr();
        let new = match (&self.run, &self.wanted) {
            (Some(run), _) => of_run(run)?,
            (None, Some(wanted)) => self.of_pool(wanted, catalogue, cache, &progress)?,
            // Refused by clap.
            (None, None) => Vec::new(),
        };
        let pinned: Vec<String> = new
            .iter()
            .map(|new| format!("{}\t{}", new.name, new.files.version()))
            .collect();
        let path = kernel::pin(catalogue, new, cwd, cache, &progress)?;
        for line in pinned {
            writeln!(out, "{line}")?;
        }
        progress.line(&match catalogue.origin {
            Origin::File(_) => format!("written to {}", path.display()),
            Origin::BuiltIn => format!(
                "written to {}, which is new: it takes the place of the built-in one here",
                path.display()
            ),
        });
        Ok(())
    }

    fn of_pool(
        &self,
        asked: &str,
        catalogue: &Catalogue,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<Vec<NewPin>, KernelsError> {
        let Some((pool, wanted)) = catalogue.of_pool(asked)? else {
            return Err(KernelsError::NotOfAPool {
                asked: asked.to_owned(),
            });
        };
        let kernels = kernel::in_pool(pool, &wanted, cache, progress, false)?;
        if let Some(name) = self.name.as_ref().filter(|_| kernels.len() > 1) {
            return Err(KernelsError::OneName {
                asked: asked.to_owned(),
                count: kernels.len(),
                name: name.clone(),
            });
        }
        let moves = match wanted.what {
            What::Series(_) => true,
            What::Newest(_) => wanted.numbers().len() <= 2,
            What::All | What::Range(_) | What::Build(_) => false,
        };
        let new = |kernel: &PoolKernel| {
            let series = series(&kernel.upstream).filter(|_| moves);
            let own = kernel.name.split_once(':').map(|(_, name)| name);
            let name = self.name.as_deref().or(series.as_deref()).or(own);
            let name = name.unwrap_or(&kernel.upstream);
            let series = series.as_deref();
            NewPin::of(kernel, name, series, &pool.package, cache, progress)
        };
        let new: Result<_, kernel::Error> = kernels.iter().map(new).collect();
        Ok(new?)
    }
}

/// The kernels from packages that the run in `directory` used.
fn of_run(directory: &Path) -> Result<Vec<NewPin>, KernelsError> {
    let failed = |reason: String| KernelsError::Run {
        path: directory.to_path_buf(),
        reason,
    };
    let events = directory.join("events.jsonl");
    let records = read_events(&events).map_err(|error| failed(with_causes(&error)))?;
    let mut new: Vec<NewPin> = Vec::new();
    for record in records {
        if let Event::KernelReady(ready) = record.event
            && let Some(packages) = ready.packages
            && let Some(pin) = recorded(&ready.kernel, packages)
            && new.iter().all(|known| known.name != pin.name)
        {
            new.push(pin);
        }
    }
    if new.is_empty() {
        return Err(failed("it took no kernel that is of packages".to_owned()));
    }
    Ok(new)
}

fn recorded(kernel: &str, packages: KernelPackages) -> Option<NewPin> {
    // Names of pools may not exist elsewhere, but versions do.
    let name = kernel.split_once(':').map_or(kernel, |(_, name)| name);
    let package = packages.files.first()?.package.clone();
    let source = AptSource {
        suite: packages.suite.clone(),
        package: package.clone(),
        mirror: packages.mirror,
        keyring: None,
        trusted: false,
        component: packages.component.clone(),
    };
    let files = packages.files.into_iter().map(|file| LockedFile {
        package: file.package,
        version: file.version,
        path: file.path,
        size: file.size,
        sha256: file.sha256,
        sha1: file.sha1,
        unlisted: file.unlisted,
    });
    Some(NewPin {
        name: name.to_owned(),
        source,
        files: LockedKernel {
            arch: packages.arch,
            name: name.to_owned(),
            suite: packages.suite,
            component: packages.component,
            package,
            files: files.collect(),
        },
    })
}
