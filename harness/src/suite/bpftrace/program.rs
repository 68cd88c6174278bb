//! The version of a bpftrace: from running it, or read from its file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use memchr::memmem;

use crate::guest::root::Root;
use crate::program;
use crate::store;
use crate::suite::bpftrace::Dialect;
use crate::whole_file;

/// The cache's directory for the output of `bpftrace --version`.
const VERSIONS: &str = "bpftrace-versions.json";
/// How long `bpftrace --version` may take on the host.
const VERSION_DEADLINE: Duration = Duration::from_secs(30);
/// Where a program may be in a root: the `PATH` of a login.
const PROGRAM_DIRS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The default bpftrace, by its path in the guest.
pub(super) fn on_path(root: &Root) -> Option<PathBuf> {
    let is_file = |path: &PathBuf| on_host(path, root).is_some_and(|file| file.is_file());
    if let Root::Dir(_) = root {
        let programs = PROGRAM_DIRS.map(|dir| Path::new(dir).join("bpftrace"));
        return programs.into_iter().find(is_file);
    }
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join("bpftrace"))
        .find(is_file)
}

/// The version of the program at this path in the guest, such as `0.23.2`; `None` if it cannot be
/// found out.
pub(super) fn version_of(bpftrace: &Path, root: &Root, cache: &Path) -> Option<String> {
    let own = match root {
        Root::Dir(_) => on_host(bpftrace, root).filter(|file| file.exists()),
        Root::Host | Root::Nix(_) => None,
    };
    let printed = match own {
        // It may need files that only its root has, and programs of a root must only run in the
        // guest.
        Some(file) => written(&file),
        None => asked(bpftrace, cache),
    };
    let printed = printed.or_else(|| named(bpftrace))?;
    Some(printed.trim_start_matches("bpftrace ").to_owned())
}

/// Where a file of the guest is on the host. Resolves links within the root, since they may point
/// to paths in the guest.
fn on_host(path: &Path, root: &Root) -> Option<PathBuf> {
    /// The kernel's limit of links, path_resolution(7).
    const MAX_LINKS: usize = 40;
    let Root::Dir(root) = root else {
        return Some(path.to_owned());
    };
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let file = root.join(path.strip_prefix("/").unwrap_or(&path));
        let Ok(target) = fs::read_link(&file) else {
            return Some(file);
        };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    None
}

/// The version that this binary prints, if the host can run it. Cached, because starting bpftrace
/// takes longer than listing its tests.
fn asked(bpftrace: &Path, cache: &Path) -> Option<String> {
    let file = bpftrace.metadata().ok()?;
    let key = format!(
        "{}:{}:{}.{}",
        bpftrace.display(),
        file.len(),
        file.mtime(),
        file.mtime_nsec()
    );
    let kept = cache.join(VERSIONS);
    let mut versions: BTreeMap<String, String> = whole_file::recall(&kept);
    if let Some(version) = versions.get(&key) {
        return Some(version.clone());
    }
    let mut command = Command::new(bpftrace);
    command.arg("--version");
    let what = "bpftrace --version";
    let output = program::run_within(command, what, VERSION_DEADLINE).ok()?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if Dialect::from_info(&version).is_none() && !Dialect::is_too_old(&version) {
        return None;
    }
    // Forget the version of an earlier build.
    let same_path = format!("{}:", bpftrace.display());
    versions.retain(|known, _| !known.starts_with(&same_path));
    versions.insert(key, version.clone());
    // If it is not cached, the next call runs bpftrace again.
    let _ = whole_file::remember(&kept, &versions);
    Some(version)
}

/// Reads the version from the program's file.
fn written(bpftrace: &Path) -> Option<String> {
    written_in(&fs::read(bpftrace).ok()?)
}

/// bpftrace prints `BPFTRACE_VERSION`, which its build derives from the tag and stores in the
/// program as a separate string: `v0.23.2`, `v0.24-rc0`, or `v0.26.0-e1b7c3934`. Libraries in a
/// static program may have strings that look alike except for the zero: if there are several, none
/// is used.
fn written_in(program: &[u8]) -> Option<String> {
    let mut found: Option<&str> = None;
    for at in memmem::find_iter(program, b"\0v0.") {
        let text = program.get(at + 1..)?;
        let Some(version) = text
            .split(|&byte| byte == 0)
            .next()
            .and_then(|text| std::str::from_utf8(text).ok())
            .filter(|text| is_release(text))
        else {
            continue;
        };
        if found.is_some_and(|other| other != version) {
            return None;
        }
        found = Some(version);
    }
    found.map(str::to_owned)
}

/// `v0.N.N`, alone or before a `-`; `v0.N` before `-rc`, like the names of tags.
fn is_release(text: &str) -> bool {
    let (release, candidate) = match text.split_once('-') {
        Some((release, more)) => (release, more.starts_with("rc")),
        None => (text, false),
    };
    let mut parts = release.trim_start_matches('v').split('.');
    let number = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    number(parts.next())
        && number(parts.next())
        && match parts.next() {
            None => candidate,
            patch => number(patch) && parts.next().is_none(),
        }
}

/// The version of a bpftrace in a Nix store, from the name of the store path, such as
/// `HASH-bpftrace-0.23.1`: the host cannot run a program from a chroot store.
fn named(bpftrace: &Path) -> Option<String> {
    let name = store::name_of(bpftrace)?;
    let version = name.split_once("-bpftrace-")?.1;
    Dialect::for_version(version).map(|_| version.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_one_release_among_a_program_s_strings_is_its_version() {
        let version = |program: &[u8]| written_in(program);
        assert_eq!(
            version(b"v0.9.9\0v0.2\0v1.7\0v0.27.1\0 v0.1.2\0").as_deref(),
            Some("v0.27.1")
        );
        assert_eq!(
            version(b"\0v0.25.0-12-gabcdef\0\0v0.25.0-12-gabcdef\0").as_deref(),
            Some("v0.25.0-12-gabcdef")
        );
        for git in ["v0.26.0-e1b7c3934", "v0.24-rc0", "v0.24-rc0-12-gabcd"] {
            let program = format!("\0v0.2\0{git}\0v0.24-x\0");
            assert_eq!(version(program.as_bytes()).as_deref(), Some(git));
        }
        assert_eq!(version(b"\0v0.23.2\0v0.1.3\0"), None);
        assert_eq!(version(b"\0v0.23.x\0v0.23\0v0.23.1.4\0v0."), None);
    }

    #[test]
    fn a_root_s_own_bpftrace_is_found_and_read_and_not_the_host_s() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::Dir(dir.path().to_owned());
        assert_eq!(on_path(&root), None);
        fs::create_dir_all(dir.path().join("opt")).unwrap();
        fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        fs::write(dir.path().join("opt/bpftrace-23"), b"\x7fELF\0v0.23.2\0").unwrap();
        symlink("/opt/bpftrace-23", dir.path().join("usr/bin/bpftrace")).unwrap();
        let found = on_path(&root).unwrap();
        assert_eq!(found, Path::new("/usr/bin/bpftrace"));
        assert_eq!(
            version_of(&found, &root, dir.path()).as_deref(),
            Some("v0.23.2")
        );
    }
}
