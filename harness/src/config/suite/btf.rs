//! `runner = "btf"`: BPF objects and bpftrace scripts, checked against the types of kernels.

use std::path::PathBuf;

use super::table::Table;
use crate::config::check::Checker;

/// A suite of BPF objects and bpftrace scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BtfTable {
    /// Globs of the objects and of the scripts, relative to `base` or absolute; at least one.
    pub files: Vec<String>,
    /// Whether they are loaded in each kernel, and not only checked.
    pub load: bool,
    /// The command that loads an object; `None` means bpftool.
    pub loader: Option<String>,
    /// The bpftrace that loads a script; absolute. `None` means the default one.
    pub bpftrace: Option<PathBuf>,
    /// The directory of the file of the catalogue; absolute.
    pub base: PathBuf,
}

/// The keys of a table besides its runner.
pub(super) const KEYS: [&str; 5] = ["objects", "scripts", "load", "loader", "bpftrace"];

impl Checker<'_> {
    pub(super) fn btf(&mut self, table: &mut Table) -> Option<BtfTable> {
        const OBJECTS: &str = "objects = [\"build/*.bpf.o\"]";
        const SCRIPTS: &str = "scripts = [\"tools/*.bt\"]";
        let label = table.label.clone();
        let objects = self.globs(table, "objects", OBJECTS);
        let scripts = self.globs(table, "scripts", SCRIPTS);
        let bpftrace = self.take::<PathBuf>(table, "bpftrace");
        let load = self.take::<bool>(table, "load");
        let loader = self.take::<String>(table, "loader");
        let load = load.is_some_and(|load| *load.get_ref());
        if objects.is_none() && scripts.is_none() {
            self.lacks(table, "objects", OBJECTS);
            return None;
        }
        if let Some(loader) = &loader {
            let is_command = shlex::split(loader.get_ref()).is_some_and(|argv| !argv.is_empty());
            if !is_command {
                let problem = format!(
                    "{label}: loader is no command; allowed: loader = \"program {{object}}\""
                );
                self.problem(&loader.span(), problem);
            }
            if !load {
                let problem = format!(
                    "{label} has a loader and loads nothing; allowed: load = true beside it"
                );
                self.problem(&loader.span(), problem);
            }
        }
        Some(BtfTable {
            files: objects.into_iter().chain(scripts).flatten().collect(),
            bpftrace: bpftrace.map(|path| self.base.join(path.into_inner())),
            load,
            loader: loader.map(toml::Spanned::into_inner),
            base: self.base.clone(),
        })
    }

    /// Globs of files.
    fn globs(&mut self, table: &mut Table, key: &str, allowed: &str) -> Option<Vec<String>> {
        let label = table.label.clone();
        let globs = self.take::<Vec<String>>(table, key)?;
        if globs.get_ref().is_empty() {
            let problem = format!("{label} has no {key}; allowed: {allowed}");
            self.problem(&globs.span(), problem);
        }
        for glob in globs.get_ref() {
            if let Err(error) = globset::Glob::new(glob) {
                let problem = format!("{label}: {key}: {}; allowed: {allowed}", error.kind());
                self.problem(&globs.span(), problem);
            }
        }
        Some(globs.into_inner())
    }
}
