//! `runner = "btf"`: BPF objects, checked against the types of kernels.

use std::path::PathBuf;

use super::table::Table;
use crate::config::check::Checker;

/// A suite of BPF objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BtfTable {
    /// Globs of the objects, relative to `base` or absolute; at least one.
    pub objects: Vec<String>,
    /// Whether the objects are loaded in each kernel, and not only checked.
    pub load: bool,
    /// The command that loads one; `None` means bpftool.
    pub loader: Option<String>,
    /// The directory of the file of the catalogue; absolute.
    pub base: PathBuf,
}

/// The keys of a table besides its runner.
pub(super) const KEYS: [&str; 3] = ["objects", "load", "loader"];

impl Checker<'_> {
    pub(super) fn btf(&mut self, table: &mut Table) -> Option<BtfTable> {
        const OBJECTS: &str = "objects = [\"build/*.bpf.o\"]";
        let label = table.label.clone();
        let objects = self.take::<Vec<String>>(table, "objects");
        let load = self.take::<bool>(table, "load");
        let loader = self.take::<String>(table, "loader");
        let load = load.is_some_and(|load| *load.get_ref());
        let Some(objects) = objects else {
            self.lacks(table, "objects", OBJECTS);
            return None;
        };
        if objects.get_ref().is_empty() {
            let problem = format!("{label} has no objects; allowed: {OBJECTS}");
            self.problem(&objects.span(), problem);
        }
        for glob in objects.get_ref() {
            if let Err(error) = globset::Glob::new(glob) {
                let problem = format!("{label}: objects: {}; allowed: {OBJECTS}", error.kind());
                self.problem(&objects.span(), problem);
            }
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
            objects: objects.into_inner(),
            load,
            loader: loader.map(toml::Spanned::into_inner),
            base: self.base.clone(),
        })
    }
}
