//! The bpftrace under test.

use std::path::{Path, PathBuf};

use super::program::{on_path, version_of};
use super::version::{numbers, version_in};
use crate::appimage;
use crate::suite::{Refusal, ResolveContext};

/// The first version with `--dry-run`.
const DRY_RUN: (u32, u32) = (0, 22);

/// The bpftrace under test.
#[derive(Debug, Clone)]
pub struct UnderTest {
    /// Its path in the guest.
    pub path: PathBuf,
    /// Such as `0.23.2`; `None` if it does not say.
    pub version: Option<String>,
    /// Directories that the guest has to see for it.
    pub visible: Vec<PathBuf>,
}

impl UnderTest {
    /// The command that compiles, loads and attaches a script, and ends then. The script is
    /// its last argument, which is not in it.
    ///
    /// bpftrace has `--dry-run` since 0.22. Before, its dry runs compile only; but with `-c` it ends
    /// with the command, whatever the script does.
    pub fn attach_only(&self) -> Vec<String> {
        let numbers = self
            .version
            .as_deref()
            .and_then(version_in)
            .and_then(numbers);
        let ends = match numbers {
            Some(version) if version >= DRY_RUN => &["--dry-run"][..],
            // bpftrace wants a name that `PATH` has once; every root has this one.
            _ => &["-c", "/bin/sh -c :"],
        };
        let program = self.path.to_string_lossy().into_owned();
        let ends = ends.iter().map(ToString::to_string);
        std::iter::once(program).chain(ends).collect()
    }

    /// The one that the user names, or that is in the user's packages, else `of_suite`, else the one
    /// on `PATH`. Unpacks an AppImage, which then must not hide `tests`.
    pub fn find(
        of_suite: Option<&Path>,
        tests: Option<&Path>,
        context: &ResolveContext<'_>,
    ) -> Result<Self, Refusal> {
        let chosen = match &context.runtime.bpftrace {
            Some(path) => Some(path.clone()),
            None => (context.packaged)()?,
        };
        let chosen = chosen.or_else(|| of_suite.map(Path::to_owned));
        let mut path = match chosen.or_else(|| on_path(context.root)) {
            Some(path) => context.cwd.join(path),
            None => PathBuf::from("/usr/bin/bpftrace"),
        };
        let mut visible = Vec::new();
        if appimage::is_appimage(&path)? {
            let image = path;
            path = appimage::unpack(&image, context.cache, context.stop)?;
            let tree = path.parent();
            if let (Some(tree), Some(tests)) = (tree, tests) {
                appimage::check_tests(&image, tree, tests)?;
            }
            visible.extend(tree.map(Path::to_owned));
        } else {
            // Before its version is looked up: tests that are read in the wrong dialect give
            // another error.
            (context.check_program)(&path)?;
        }
        if !context.has_own_root() {
            visible.extend(path.parent().map(Path::to_owned));
        }
        visible.dedup();
        Ok(Self {
            version: version_of(&path, context.root, context.cache),
            path,
            visible,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpftrace_ends_when_it_has_attached() {
        let of = |version: Option<&str>| {
            let under_test = UnderTest {
                path: PathBuf::from("/bin/bpftrace"),
                version: version.map(str::to_owned),
                visible: Vec::new(),
            };
            under_test.attach_only().join(" ")
        };
        assert_eq!(of(Some("v0.17.0")), "/bin/bpftrace -c /bin/sh -c :");
        assert_eq!(of(Some("0.22.0")), "/bin/bpftrace --dry-run");
        assert_eq!(of(Some("v0.26.0-e1b7c3934")), "/bin/bpftrace --dry-run");
        assert_eq!(of(None), "/bin/bpftrace -c /bin/sh -c :");
    }
}
