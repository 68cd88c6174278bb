//! Which directories a guest sees: how they are shared, and where they are mounted.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use guest_init::plan::{Attributes, BootPlan, ShareAccess, SharePlan};

use super::provide::{self, Provided, provide};
use super::root::{Error, NixRoot, Root, directory};
use super::skeleton;
use crate::store::STORE_DIR as NIX_STORE;

/// virtiofs tag of the root.
const ROOT_TAG: &str = "root";

/// A directory that one share process serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedDir {
    /// virtiofs tag.
    pub tag: String,
    /// The directory on the host.
    pub dir: PathBuf,
    /// Whether the guest may change it.
    pub writable: bool,
    /// Names of the visible entries; `None` shows all.
    pub only: Option<Vec<String>>,
}

/// What the guest should see of the host.
#[derive(Debug)]
pub struct LayoutRequest<'a> {
    /// The root.
    pub root: &'a Root,
    /// Directories to be seen at the same path, copy-on-write: the working
    /// directory, a suite's tests.
    pub visible: &'a [PathBuf],
    /// Directories to be seen at the same path and written through.
    pub writable: &'a [PathBuf],
    /// `uname -r` of the kernel and its module directory.
    pub modules: Option<(&'a str, &'a Path)>,
    /// Host name of the guest.
    pub hostname: &'a str,
    /// A directory of our own, for the skeleton of a Nix root.
    pub scratch: &'a Path,
}

/// The shares of a guest, and the boot plan that mounts them.
#[derive(Debug)]
pub struct Layout {
    /// One share process each, in the order of the devices.
    pub shares: Vec<SharedDir>,
    /// The plan, without boot modules.
    pub plan: BootPlan,
}

impl Layout {
    /// Plans the guest's view of the host.
    pub fn new(request: &LayoutRequest<'_>) -> Result<Self, Error> {
        let mut layout = Self {
            shares: Vec::new(),
            plan: BootPlan {
                hostname: request.hostname.to_owned(),
                root_tag: Some(ROOT_TAG.to_owned()),
                ..BootPlan::default()
            },
        };
        let root_dir = match request.root {
            Root::Host => PathBuf::from("/"),
            Root::Dir(dir) => directory(dir)?,
            // Empty: all of it is in the plan.
            Root::Nix(_) => {
                let root = request.scratch.join("root");
                std::fs::create_dir_all(&root).map_err(|source| Error::Skeleton {
                    path: root.clone(),
                    source,
                })?;
                root
            }
        };
        let provided = match request.root {
            Root::Host | Root::Dir(_) => provide(&root_dir, request.hostname),
            Root::Nix(nix) => {
                let store = directory(&nix.store)?;
                let nix = NixRoot {
                    store: store.clone(),
                    ..nix.clone()
                };
                let entries = skeleton::entries(&nix, request.hostname);
                Provided {
                    root_entries: entries.map_err(|source| Error::Store {
                        path: store,
                        source,
                    })?,
                    missing_entries: provide::run(),
                }
            }
        };
        layout.plan.root_entries = provided.root_entries;
        layout.plan.missing_entries = provided.missing_entries;
        layout.shares.push(SharedDir {
            tag: ROOT_TAG.to_owned(),
            dir: root_dir,
            writable: false,
            only: None,
        });
        if let Root::Nix(nix) = request.root {
            let store = directory(&nix.store)?;
            layout.add(
                "store",
                &store,
                NIX_STORE,
                ShareAccess::ReadOnly,
                Vec::new(),
            );
            if let Some(share) = layout.shares.last_mut() {
                share.only.clone_from(&nix.only);
            }
        }
        if let Some((release, modules)) = request.modules {
            let target = format!("/lib/modules/{release}");
            layout.add(
                "modules",
                &directory(modules)?,
                &target,
                ShareAccess::ReadOnly,
                Vec::new(),
            );
        }
        layout.add_same_paths(request)?;
        Ok(layout)
    }

    /// Lays the configuration of the kernel of this `release`, in the file
    /// `config`, to where libbpf and bpftool look for it.
    pub fn show_config(&mut self, release: &str, config: &Path) -> Result<(), Error> {
        let text = std::fs::read(config).map_err(|source| Error::Config {
            path: config.to_owned(),
            source,
        })?;
        // Where /boot is a link, a directory would hide what it leads to.
        let boot = self.shares.first().map(|root| root.dir.join("boot"));
        let is_link = |path: PathBuf| path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        if !boot.is_some_and(is_link) {
            let path = format!("boot/config-{release}");
            self.plan
                .root_entries
                .push(provide::file(&path, text, 0o644));
        }
        Ok(())
    }

    /// Shares whose path in the guest is their path on the host. Outer ones
    /// are mounted first, so that none hides another.
    fn add_same_paths(&mut self, request: &LayoutRequest<'_>) -> Result<(), Error> {
        let mut wanted: Vec<(PathBuf, ShareAccess)> = Vec::new();
        for dir in request.writable {
            wanted.push((directory(dir)?, ShareAccess::ReadWrite));
        }
        for dir in request.visible {
            // With a chroot store it is elsewhere on this host.
            if matches!(request.root, Root::Nix(_)) && dir.starts_with(NIX_STORE) {
                continue;
            }
            let dir = directory(dir)?;
            // The guest has its own `/`, which the whole host would hide.
            if dir == Path::new("/") {
                continue;
            }
            let seen_in_root = request.root.shows(&dir);
            if seen_in_root && let Some(dir) = dir.to_str() {
                self.plan.writable.push(dir.to_owned());
            }
            if !seen_in_root && !wanted.iter().any(|(other, _)| dir.starts_with(other)) {
                wanted.push((dir, ShareAccess::CopyOnWrite));
            }
        }
        wanted.sort_by_cached_key(|(dir, _)| (dir.components().count(), dir.clone()));
        wanted.dedup_by(|later, earlier| later.0 == earlier.0);
        for (index, (dir, access)) in wanted.iter().enumerate() {
            let target = dir.to_str().ok_or_else(|| Error::Directory {
                path: dir.clone(),
                reason: "its path is not UTF-8".to_owned(),
            })?;
            // Mounted over the whole root, it would hide everything else.
            if dir.components().all(|part| part == Component::RootDir) {
                return Err(Error::Directory {
                    path: dir.clone(),
                    reason: "it is the whole root; use --root host".to_owned(),
                });
            }
            let parents = attributes_above(dir);
            self.add(&format!("dir{index}"), dir, target, *access, parents);
        }
        Ok(())
    }

    fn add(
        &mut self,
        tag: &str,
        dir: &Path,
        target: &str,
        access: ShareAccess,
        parents: Vec<Attributes>,
    ) {
        self.shares.push(SharedDir {
            tag: tag.to_owned(),
            dir: dir.to_owned(),
            writable: access == ShareAccess::ReadWrite,
            only: None,
        });
        self.plan.shares.push(SharePlan {
            tag: tag.to_owned(),
            target: target.to_owned(),
            parents,
            access,
        });
    }
}

/// Attributes of the directories above this one on the host, the outermost first, without the root.
/// Ends at the first one that cannot be read.
fn attributes_above(dir: &Path) -> Vec<Attributes> {
    let mut above: Vec<&Path> = dir.ancestors().skip(1).collect();
    above.pop();
    let attributes = above.into_iter().rev().map_while(|dir| {
        let meta = dir.metadata().ok()?;
        Some(Attributes {
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
        })
    });
    attributes.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use guest_init::plan::EntryKind;

    use super::*;

    fn layout(root: &Root, visible: &[PathBuf], writable: &[PathBuf]) -> Layout {
        Layout::new(&LayoutRequest {
            root,
            visible,
            writable,
            modules: None,
            hostname: "kiln",
            scratch: Path::new("/nonexistent"),
        })
        .unwrap()
    }

    #[test]
    fn a_directory_that_the_host_root_shows_is_not_shared_twice() {
        let layout = layout(&Root::Host, &["/etc".into()], &[]);
        assert_eq!(layout.shares.len(), 1);
        assert_eq!(layout.shares[0].dir, Path::new("/"));
        assert!(!layout.shares[0].writable);
    }

    #[test]
    fn a_directory_that_is_named_twice_is_shared_once() {
        let [once, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [once, other] = [&once, &other].map(|dir| dir.path().canonicalize().unwrap());
        let layout = layout(
            &Root::Host,
            &[],
            &[once.clone(), other.clone(), once.clone()],
        );
        let mut dirs: Vec<_> = layout.shares[1..].iter().map(|share| &share.dir).collect();
        dirs.sort();
        let mut expected = [&once, &other];
        expected.sort();
        assert_eq!(dirs, expected);
    }

    #[test]
    fn the_hosts_root_as_working_directory_is_the_guests() {
        for root in [Root::Host, Root::Dir("/etc".into())] {
            let layout = layout(&root, &["/".into()], &[]);
            assert_eq!(layout.plan.shares, [], "{root:?}");
        }
    }

    #[test]
    fn a_directory_below_tmp_is_shared_since_the_guest_has_its_own_tmp() {
        let dir = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let layout = layout(&Root::Host, std::slice::from_ref(&dir), &[]);
        assert_eq!(layout.plan.shares[0].target, dir.to_str().unwrap());
        assert_eq!(layout.plan.shares[0].access, ShareAccess::CopyOnWrite);
        // The guest may have to create the directories above it.
        let parents = &layout.plan.shares[0].parents;
        assert_eq!(parents.len(), dir.components().count() - 2);
        let tmp = Path::new("/tmp").metadata().unwrap();
        assert_eq!(parents[0].mode, tmp.mode() & 0o7777);
        assert_eq!(parents[0].uid, tmp.uid());
    }

    #[test]
    fn a_writable_directory_wins_over_a_visible_one_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let layout = layout(&Root::Dir("/etc".into()), &[inner], &[dir.path().into()]);
        let access: Vec<_> = layout
            .plan
            .shares
            .iter()
            .map(|share| share.access)
            .collect();
        assert_eq!(access, [ShareAccess::ReadWrite]);
    }

    #[test]
    fn outer_directories_are_mounted_before_inner_ones() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("results");
        std::fs::create_dir(&inner).unwrap();
        let layout = layout(&Root::Dir("/etc".into()), &[dir.path().into()], &[inner]);
        let access: Vec<_> = layout
            .plan
            .shares
            .iter()
            .map(|share| share.access)
            .collect();
        assert_eq!(access, [ShareAccess::CopyOnWrite, ShareAccess::ReadWrite]);
    }

    #[test]
    fn the_kernel_s_configuration_is_where_libbpf_looks_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::fs::write(&config, "CONFIG_HZ=250\n").unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let entries = || {
            let mut layout = layout(&Root::Dir(root.clone()), &[], &[]);
            layout.show_config("6.1", &config).unwrap();
            let entries = layout.plan.root_entries;
            entries
                .into_iter()
                .filter(|entry| entry.path.starts_with("/boot"))
                .map(|entry| (entry.path, entry.kind))
                .collect::<Vec<_>>()
        };
        let text = EntryKind::File(b"CONFIG_HZ=250\n".to_vec());
        assert_eq!(entries(), [("/boot/config-6.1".to_owned(), text)]);
        std::os::unix::fs::symlink("efi", root.join("boot")).unwrap();
        assert_eq!(entries(), []);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Layout::new(&LayoutRequest {
            root: &Root::Dir("/no/such/root".into()),
            visible: &[],
            writable: &[],
            modules: None,
            hostname: "kiln",
            scratch: Path::new("/nonexistent"),
        })
        .unwrap_err();
        assert!(error.to_string().contains("/no/such/root"), "{error}");
    }
}
