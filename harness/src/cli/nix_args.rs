//! Options of the root `nix`: which store, which part of it, and which `PATH`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::context::Context;
use super::scratch_dir::scratch_dir;
use crate::exit_code;
use crate::guest::root::{NixRoot, Root};
use crate::kernel::Progress;
use crate::store::{self, STORE_DIR, Store};

/// The part of a store that the guest sees.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct NixArgs {
    /// Put this package's programs on the guest's PATH: an installable such as .#bpftrace-llvm20,
    /// or a store path. Implies --root nix
    #[arg(long = "package", value_name = "INSTALLABLE")]
    packages: Vec<String>,
    /// Give the guest the environment of this development shell, such as
    /// .#default. Implies --root nix
    #[arg(long, value_name = "INSTALLABLE")]
    dev_shell: Option<String>,
    /// Show the guest only the closure of the packages and the shell, or without these, of the
    /// store paths in PATH. Implies --root nix
    #[arg(long)]
    closure_only: bool,
    /// The store: a directory (a chroot store), daemon or local [default: KILN_NIX_STORE, else
    /// Nix's own default]. Implies --root nix
    #[arg(long, value_name = "STORE")]
    store: Option<Store>,
    /// The resolved options.
    #[arg(skip)]
    view: Option<View>,
}

/// What the guest gets from a store.
#[derive(Debug, Clone)]
struct View {
    store: Store,
    root: NixRoot,
    /// Outputs of the packages, in order.
    packages: Vec<PathBuf>,
    /// Directories of programs, in the guest.
    path: Vec<PathBuf>,
    /// Further variables.
    variables: Vec<(String, String)>,
}

impl NixArgs {
    /// Whether one of the options was given.
    pub(super) fn any(&self) -> bool {
        !self.packages.is_empty()
            || self.dev_shell.is_some()
            || self.closure_only
            || self.store.is_some()
    }

    /// The root, once resolved.
    pub(super) fn root(&self) -> Option<Root> {
        self.view.as_ref().map(|view| Root::Nix(view.root.clone()))
    }

    /// Directories of programs, once resolved.
    pub(super) fn path(&self) -> Option<&[PathBuf]> {
        self.view.as_ref().map(|view| view.path.as_slice())
    }

    /// Variables of the development shell, once resolved.
    pub(super) fn variables(&self) -> &[(String, String)] {
        self.view.as_ref().map_or(&[], |view| &view.variables)
    }

    /// Builds the packages and finds out which part of the store the guest will see. `root` is the
    /// root that the user asked for.
    pub(super) async fn resolve(&mut self, context: &Context, root: &Root) -> Result<(), Failure> {
        let Root::Nix(given) = root else {
            return Ok(());
        };
        let store = match &self.store {
            Some(store) => store.clone(),
            None if given.store != Path::new(STORE_DIR) => {
                let Some(store) = Store::of_files(&given.store) else {
                    return self.files_only(given);
                };
                store
            }
            None => Store::from_env()?,
        };
        let work = Work {
            packages: self.packages.clone(),
            dev_shell: self.dev_shell.clone(),
            closure_only: self.closure_only,
            store,
            cwd: context.cwd.clone(),
        };
        // May build for hours.
        let resolved = tokio::task::spawn_blocking(move || work.resolve()).await;
        self.view = Some(resolved.map_err(|error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("the work on the Nix store was aborted: {error}"),
            )
        })??);
        Ok(())
    }

    /// A directory of store paths without a Nix database.
    fn files_only(&self, given: &NixRoot) -> Result<(), Failure> {
        if self.any() {
            return Err(Failure::new(
                exit_code::USAGE,
                format!(
                    "{} is not a Nix store: it has no closures and cannot build",
                    given.store.display()
                ),
            )
            .hint(
                "a chroot store in DIR has its files in DIR/nix/store: name it with --store DIR",
            ));
        }
        Ok(())
    }

    /// The bpftrace of the packages: directly in an output, else in their closure. `None` without
    /// packages.
    pub(super) fn bpftrace(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(view) = self.view.as_ref().filter(|view| !view.packages.is_empty()) else {
            return Ok(None);
        };
        let in_path = |path: &Path| {
            let program = path.join("bin/bpftrace");
            view.store
                .on_host(&program)
                .symlink_metadata()
                .is_ok()
                .then_some(program)
        };
        if let Some(found) = view.packages.iter().find_map(|path| in_path(path)) {
            return Ok(Some(found));
        }
        let closure = match &view.root.only {
            Some(only) => only.clone(),
            None => view.store.closure(&view.packages)?,
        };
        let found = closure
            .iter()
            .find_map(|name| in_path(&Path::new(STORE_DIR).join(name)));
        found.map(Some).ok_or_else(|| {
            let names = self.packages.join(" ");
            let failure = Failure::new(
                exit_code::SETUP_FAILED,
                format!("there is no bin/bpftrace in the closure of {names}"),
            );
            let list = view.store.closure_command(&view.packages);
            failure
                .hint(format!("list the contents with: {list}"))
                .hint("name another package with --package, or the program with --bpftrace")
        })
    }

    /// Refuses a program of the store that the guest would not see.
    pub(super) fn check_visible(&self, program: &Path) -> Result<(), Failure> {
        let Some(view) = &self.view else {
            return Ok(());
        };
        let Some(name) = store::name_of(program) else {
            return Ok(());
        };
        if let Some(only) = &view.root.only
            && !only.iter().any(|shown| shown == name)
        {
            return Err(Failure::new(
                exit_code::SETUP_FAILED,
                format!(
                    "{} is not in the closure that the guest sees",
                    program.display()
                ),
            )
            .hint(format!("add its package: --package {STORE_DIR}/{name}")));
        }
        if view.store.on_host(program).symlink_metadata().is_err() {
            return Err(Failure::new(
                exit_code::SETUP_FAILED,
                format!("{} is not in the store", program.display()),
            )
            .hint(format!(
                "its files would be in {}",
                view.store.files().display()
            )));
        }
        Ok(())
    }
}

/// The work itself, for a thread that may block.
struct Work {
    packages: Vec<String>,
    dev_shell: Option<String>,
    closure_only: bool,
    store: Store,
    cwd: PathBuf,
}

impl Work {
    fn resolve(&self) -> Result<View, Failure> {
        let progress = Progress::stderr();
        let notify = |text: &str| progress.line(&format!("kiln: {text}"));
        let mut packages = Vec::new();
        for package in &self.packages {
            packages.extend(self.store.build(package, &self.cwd, None, &notify)?);
        }
        let shell = match &self.dev_shell {
            Some(shell) => {
                let scratch = scratch_dir()?;
                let dir = scratch.path();
                Some(self.store.dev_shell(shell, &self.cwd, dir, &notify)?)
            }
            None => None,
        };
        let mut path: Vec<PathBuf> = packages
            .iter()
            .flat_map(|package| [package.join("bin"), package.join("sbin")])
            .filter(|dir| self.store.on_host(dir).is_dir())
            .collect();
        let mut variables = Vec::new();
        let mut roots = packages.clone();
        if let Some(shell) = shell {
            roots.push(shell.path);
            for (name, value) in shell.variables {
                if name == "PATH" {
                    path.extend(std::env::split_paths(&value));
                } else {
                    variables.push((name, value));
                }
            }
        }
        let own = Self::own_path();
        if roots.is_empty() {
            roots.extend(own.iter().filter_map(|dir| {
                let name = store::name_of(dir)?;
                Some(Path::new(STORE_DIR).join(name))
            }));
            roots.sort();
            roots.dedup();
        }
        path.extend(own);
        let named = !packages.is_empty() || self.dev_shell.is_some();
        let closure = if self.closure_only {
            if roots.is_empty() {
                return Err(Failure::new(
                    exit_code::USAGE,
                    "--closure-only: no directory of PATH is in the store, so there is no closure",
                )
                .hint("name a package with --package or a shell with --dev-shell"));
            }
            self.store.closure(&roots)?
        } else if named {
            // Only says which shell to prefer: no reason to fail.
            self.store.closure(&roots).unwrap_or_default()
        } else {
            Vec::new()
        };
        Ok(View {
            root: NixRoot {
                store: self.store.files(),
                only: self.closure_only.then(|| closure.clone()),
                first: closure,
            },
            store: self.store.clone(),
            packages,
            path,
            variables,
        })
    }

    /// The directories of the user's own `PATH`. Resolves profiles, which are links outside the
    /// store.
    fn own_path() -> Vec<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|dir| match dir.canonicalize() {
                Ok(real) if real.starts_with(STORE_DIR) => real,
                _ => dir,
            })
            .collect()
    }
}

/// The root to use without `--root`: the options here imply `nix`.
pub(super) fn implied(nix: &NixArgs) -> Option<Root> {
    nix.any().then(|| Root::Nix(NixRoot::all(STORE_DIR)))
}
