//! Which modules to load for the wanted ones, and in which order.

use std::collections::HashSet;
use std::path::Path;

use globset::GlobBuilder;

use super::error::Error;
use super::index::{Availability, Index, Knowledge, Module, ModuleFile, normalise};
use super::modinfo;

/// What a name refers to.
enum Resolved {
    Module(usize),
    Builtin,
    Absent,
}

/// A walk from the wanted modules to what they need.
#[derive(Clone, Default)]
pub(super) struct Walk {
    /// Finished, in load order.
    pub(super) order: Vec<usize>,
    done: HashSet<usize>,
    /// The path from the wanted module to the current one.
    path: Vec<usize>,
}

impl Index {
    /// Whether the kernel has a module, builtin or alias of this name.
    pub fn provides(&self, name: &str) -> Availability {
        match self.resolve(name) {
            Resolved::Module(_) => Availability::Module,
            Resolved::Builtin => Availability::Builtin,
            Resolved::Absent => Availability::Absent,
        }
    }

    /// The files of the wanted modules and of everything they need, each after its dependencies. A
    /// wanted name is that of a module or an alias; builtins need no file. Soft dependencies
    /// (`pre:`) are loaded first if the kernel has them as modules and can load them, and are
    /// skipped otherwise.
    pub fn closure(&self, wanted: &[&str]) -> Result<Vec<ModuleFile>, Error> {
        let mut walk = Walk::default();
        let mut unknown = Vec::new();
        for name in wanted {
            match self.resolve(name) {
                Resolved::Module(number) => self.visit(number, &mut walk)?,
                Resolved::Builtin => {}
                Resolved::Absent => unknown.push((*name).to_owned()),
            }
        }
        if !unknown.is_empty() {
            return Err(Error::Unknown {
                names: unknown,
                dir: self.dir.clone(),
            });
        }
        Ok(walk
            .order
            .iter()
            .map(|&number| self.file(&self.modules[number]))
            .collect())
    }

    /// The error for a kernel that cannot boot because these modules are missing. Alternatives stand
    /// in one name, as `virtio_mmio or virtio_pci`.
    pub fn cannot_boot(&self, missing: &[String]) -> Error {
        let (dir, lists_builtins) = match self.knowledge {
            Knowledge::Directory { lists_builtins } => (Some(self.dir.clone()), lists_builtins),
            Knowledge::AllBuiltin => (None, false),
        };
        let built = self.lie_elsewhere(missing);
        Error::CannotBoot {
            names: missing.to_vec(),
            dir,
            lists_builtins,
            built,
        }
    }

    /// Whether some of these missing modules were built with this kernel: they are in a package that
    /// nobody gave.
    pub fn lie_elsewhere(&self, missing: &[String]) -> bool {
        let names: Vec<String> = missing
            .iter()
            .flat_map(|names| names.split(' '))
            .map(str::to_owned)
            .collect();
        matches!(self.knowledge, Knowledge::Directory { .. }) && lists_any(&self.dir, &names)
    }

    /// If several modules have one name, takes the generic one: the others need a processor that
    /// the guest may not have. A builtin needs no loading.
    fn resolve(&self, name: &str) -> Resolved {
        let normalised = normalise(name);
        if self.knowledge == Knowledge::AllBuiltin || self.builtins.contains(&normalised) {
            return Resolved::Builtin;
        }
        if let Some(&number) = self.by_name.get(&normalised) {
            return Resolved::Module(number);
        }
        let is_name = |alias: &str| normalise(alias) == normalised;
        if self.builtin_aliases.iter().any(|(alias, _)| is_name(alias)) {
            return Resolved::Builtin;
        }
        let providers = self.providers(is_name);
        let exact = providers
            .iter()
            .find(|&&number| self.modules[number].name.ends_with("_generic"))
            .or(providers.first());
        if let Some(&number) = exact {
            return Resolved::Module(number);
        }
        let matches = |alias: &str| alias_matches(alias, name);
        if self.builtin_aliases.iter().any(|(alias, _)| matches(alias)) {
            return Resolved::Builtin;
        }
        match self.providers(matches).first() {
            Some(&number) => Resolved::Module(number),
            None => Resolved::Absent,
        }
    }

    fn providers(&self, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
        let provides = |module: &Module| module.aliases.iter().any(|alias| wanted(alias));
        (0..self.modules.len())
            .filter(|&number| provides(&self.modules[number]))
            .collect()
    }

    /// Adds a module after everything that it needs.
    fn visit(&self, number: usize, walk: &mut Walk) -> Result<(), Error> {
        if !self.enter(number, walk)? {
            return Ok(());
        }
        let module = &self.modules[number];
        for name in module
            .softdeps
            .iter()
            .flat_map(|s| modinfo::pre_softdeps(s))
        {
            if let Resolved::Module(soft) = self.resolve(name) {
                // Soft: one that cannot be loaded, or leads back here, is skipped with everything
                // it needs.
                let mut attempt = walk.clone();
                if self.visit(soft, &mut attempt).is_ok() {
                    *walk = attempt;
                }
            }
        }
        for dependency in &module.depends {
            match self.by_name.get(dependency) {
                Some(&needed) => self.visit(needed, walk)?,
                None if self.builtins.contains(dependency) => {}
                None => {
                    return Err(Error::MissingDependency {
                        module: module.name.clone(),
                        dependency: dependency.clone(),
                        dir: self.dir.clone(),
                    });
                }
            }
        }
        walk.leave(number);
        Ok(())
    }

    /// Adds a module after those of its dependencies that are modules; ignores soft and missing
    /// ones.
    pub(super) fn visit_hard(&self, number: usize, walk: &mut Walk) -> Result<(), Error> {
        if self.enter(number, walk)? {
            for dependency in &self.modules[number].depends {
                if let Some(&needed) = self.by_name.get(dependency) {
                    self.visit_hard(needed, walk)?;
                }
            }
            walk.leave(number);
        }
        Ok(())
    }

    /// Starts with a module; false if it was done before.
    fn enter(&self, number: usize, walk: &mut Walk) -> Result<bool, Error> {
        if walk.done.contains(&number) {
            return Ok(false);
        }
        if let Some(start) = walk.path.iter().position(|&open| open == number) {
            let chain = walk.path[start..].iter().chain([&number]);
            return Err(Error::Cycle {
                chain: chain.map(|&n| self.modules[n].name.clone()).collect(),
            });
        }
        walk.path.push(number);
        Ok(true)
    }
}

impl Walk {
    fn leave(&mut self, number: usize) {
        self.path.pop();
        self.done.insert(number);
        self.order.push(number);
    }
}

/// Whether an alias, a pattern of fnmatch(3), matches a name.
fn alias_matches(alias: &str, name: &str) -> bool {
    let Some(special) = alias.find(['*', '?', '[']) else {
        return false;
    };
    if !name.starts_with(&alias[..special]) {
        return false;
    }
    // fnmatch has no braces.
    let pattern = alias.replace('{', "[{]").replace('}', "[}]");
    GlobBuilder::new(&pattern)
        .literal_separator(false)
        .build()
        .is_ok_and(|glob| glob.compile_matcher().is_match(name))
}

/// Whether the kernel's build made any of these modules, wherever they are now.
fn lists_any(dir: &Path, names: &[String]) -> bool {
    let order = std::fs::read_to_string(dir.join("modules.order")).unwrap_or_default();
    order.lines().any(|line| {
        let file = line.rsplit('/').next().unwrap_or(line);
        let module = file.split('.').next().unwrap_or(file).replace('-', "_");
        names.contains(&module)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::fixture::{put, tree};
    use super::*;
    use crate::hint::Hint as _;

    fn load_order(index: &Index, wanted: &[&str]) -> Vec<String> {
        let files = index.closure(wanted).unwrap();
        assert!(files.iter().all(|file| file.path.exists()));
        files.into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn modules_come_after_what_they_need_whatever_the_listed_order() {
        let dir = tree(&[
            ("kernel/virtio.ko", &["depends=virtio_ring"]),
            ("kernel/virtio_ring.ko", &["depends="]),
            ("kernel/virtio-mmio.ko", &["depends=virtio,virtio_ring"]),
            ("kernel/other.ko", &[]),
        ]);
        let index = Index::open(dir.path()).unwrap();
        assert_eq!(
            load_order(&index, &["virtio-mmio", "virtio_ring"]),
            ["virtio_ring", "virtio", "virtio_mmio"]
        );
    }

    #[test]
    fn a_soft_dependency_is_loaded_first_by_its_generic_provider() {
        let dir = tree(&[
            ("kernel/nf_tables.ko", &["depends=nfnetlink,libcrc32c"]),
            ("kernel/nfnetlink.ko", &[]),
            ("kernel/libcrc32c.ko", &["softdep=pre: crc32c"]),
            (
                "kernel/crc32c-intel.ko",
                &["alias=crypto-crc32c", "alias=crc32c"],
            ),
            (
                "kernel/crc32c_generic.ko",
                &["alias=crypto-crc32c", "alias=crc32c"],
            ),
        ]);
        let index = Index::open(dir.path()).unwrap();
        assert_eq!(
            load_order(&index, &["nf_tables"]),
            ["nfnetlink", "crc32c_generic", "libcrc32c", "nf_tables"]
        );
    }

    #[test]
    fn a_builtin_provider_is_preferred_to_any_module() {
        let dir = tree(&[
            ("kernel/libcrc32c.ko", &["softdep=pre: crc32c"]),
            ("kernel/crc32c-intel.ko", &["alias=crc32c"]),
        ]);
        put(
            dir.path(),
            "modules.builtin",
            b"kernel/crypto/crc32c_generic.ko\n",
        );
        put(
            dir.path(),
            "modules.builtin.modinfo",
            b"crc32c_generic.alias=crc32c\0",
        );
        let index = Index::open(dir.path()).unwrap();
        assert_eq!(load_order(&index, &["libcrc32c"]), ["libcrc32c"]);
        assert_eq!(index.provides("crc32c"), Availability::Builtin);
    }

    #[test]
    fn soft_dependencies_that_are_missing_broken_or_circular_are_left_out() {
        let dir = tree(&[
            ("kernel/a.ko", &["softdep=pre: nowhere broken back"]),
            ("kernel/broken.ko", &["depends=gone"]),
            ("kernel/back.ko", &["depends=a"]),
        ]);
        let index = Index::open(dir.path()).unwrap();
        assert_eq!(load_order(&index, &["a"]), ["a"]);
        assert_eq!(load_order(&index, &["back"]), ["a", "back"]);
    }

    #[test]
    fn a_cycle_is_an_error_that_shows_it() {
        let dir = tree(&[
            ("kernel/top.ko", &["depends=a"]),
            ("kernel/a.ko", &["depends=b"]),
            ("kernel/b.ko", &["depends=a"]),
        ]);
        let error = Index::open(dir.path())
            .unwrap()
            .closure(&["top"])
            .unwrap_err();
        assert_eq!(error.to_string(), "modules need each other: a -> b -> a");
    }

    #[test]
    fn a_missing_hard_dependency_is_an_error_that_names_both() {
        let dir = tree(&[("kernel/a.ko", &["depends=gone"])]);
        let error = Index::open(dir.path())
            .unwrap()
            .closure(&["a"])
            .unwrap_err();
        assert!(
            error.to_string().starts_with("module a needs gone,"),
            "{error}"
        );
    }

    #[test]
    fn a_builtin_dependency_is_not_loaded() {
        let dir = tree(&[("kernel/virtiofs.ko", &["depends=fuse"])]);
        put(dir.path(), "modules.builtin", b"kernel/fs/fuse/fuse.ko\n");
        let index = Index::open(dir.path()).unwrap();
        assert_eq!(load_order(&index, &["virtiofs", "fuse"]), ["virtiofs"]);
    }

    #[test]
    fn wanted_names_may_be_aliases_and_patterns_match_them() {
        let dir = tree(&[
            ("kernel/xfs.ko", &["alias=fs-xfs"]),
            ("kernel/nic.ko", &["alias=pci:v00001AF4d0000[01]*sv*"]),
        ]);
        let index = Index::open(dir.path()).unwrap();
        assert_eq!(load_order(&index, &["fs-xfs"]), ["xfs"]);
        assert_eq!(load_order(&index, &["pci:v00001AF4d00001000sv1"]), ["nic"]);
        assert_eq!(
            index.provides("pci:v00001AF4d00002000sv1"),
            Availability::Absent
        );
    }

    #[test]
    fn all_unknown_names_are_listed() {
        let dir = tree(&[("kernel/a.ko", &[])]);
        let index = Index::open(dir.path()).unwrap();
        let error = index.closure(&["nope", "a", "neither"]).unwrap_err();
        assert!(
            error.to_string().contains("builtin nope, neither ("),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_index_lacks_nothing() {
        assert_eq!(Index::all_builtin().provides("fuse"), Availability::Builtin);
        assert_eq!(Index::all_builtin().closure(&["fuse"]).unwrap(), []);
    }

    #[test]
    fn every_missing_module_is_named_with_its_option() {
        let dir = tree(&[("kernel/virtio_mmio.ko", &[])]);
        put(dir.path(), "modules.builtin", b"kernel/b/fuse.ko\n");
        let missing = ["virtiofs or 9p".to_owned(), "overlay".to_owned()];
        let error = Index::open(dir.path()).unwrap().cannot_boot(&missing);
        let text = error.to_string();
        assert!(
            text.starts_with("the kernel has no virtiofs or 9p, overlay, neither"),
            "{text}"
        );
        let hints = error.hints().join("\n");
        assert!(
            hints.contains("CONFIG_VIRTIO_FS or CONFIG_9P_FS, CONFIG_OVERLAY_FS (=m or =y)"),
            "{hints}"
        );
        let another = "another package of this kernel";
        assert!(!hints.contains(another), "{hints}");
        put(dir.path(), "modules.order", b"kernel/fs/fuse/virtiofs.ko\n");
        let error = Index::open(dir.path()).unwrap().cannot_boot(&missing);
        assert!(error.hints()[0].contains(another), "{error:?}");
    }
}
