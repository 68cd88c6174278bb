//! Which directories of the host a command must see.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::guest::root::Root;

/// Files that mark the top of a project, the outermost first: of cargo, of Go's workspaces and
/// modules.
const TOPS: [&str; 3] = ["Cargo.lock", "go.work", "go.mod"];
/// Where cargo puts test programs, beside which is what they start and read.
const DEPS: &str = "deps";

/// For a test program that cargo or Go start in `cwd`: its project, and the directory that it was
/// built in.
pub(super) fn of_runner(cwd: &Path, program: Option<&OsString>) -> Vec<PathBuf> {
    let mut visible = vec![project(cwd)];
    let program = program.map(|program| cwd.join(program));
    if let Some(program) = program.and_then(|program| program.canonicalize().ok())
        && let Some(dir) = program.parent()
    {
        let dir = match dir.parent() {
            Some(target) if dir.ends_with(DEPS) => target,
            _ => dir,
        };
        visible.push(dir.to_owned());
    }
    outermost(visible)
}

fn project(cwd: &Path) -> PathBuf {
    let top = |mark: &&str| cwd.ancestors().find(|dir| dir.join(mark).is_file());
    TOPS.iter().find_map(top).unwrap_or(cwd).to_owned()
}

/// Makes directories serve for later commands too, as far as they can: what is in the directory for
/// temporary files has another name each time.
pub(super) fn lasting(visible: &mut Vec<PathBuf>) {
    let temporary = std::env::temp_dir();
    for dir in &mut *visible {
        if dir.starts_with(&temporary) {
            dir.clone_from(&temporary);
        }
    }
    *visible = outermost(std::mem::take(visible));
}

/// Those that are in no other of these directories.
fn outermost(mut dirs: Vec<PathBuf>) -> Vec<PathBuf> {
    dirs.sort();
    dirs.dedup_by(|dir, outer| dir.starts_with(outer));
    dirs
}

/// Those that a guest with this root does not see anyway.
pub(super) fn extra(visible: &[PathBuf], root: &Root) -> Vec<PathBuf> {
    let hidden = visible.iter().filter(|dir| !root.shows(dir));
    hidden.cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    #[test]
    fn a_runner_shows_the_workspace_and_where_the_program_was_built() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let package = top.join("ws/crates/a");
        let deps = top.join("elsewhere/debug/deps");
        for dir in [&package, &deps, &top.join("ws/target/debug/deps")] {
            fs::create_dir_all(dir).unwrap();
        }
        fs::write(top.join("ws/Cargo.lock"), "").unwrap();
        fs::write(deps.join("a-1"), "").unwrap();
        fs::write(top.join("ws/target/debug/deps/a-1"), "").unwrap();
        let outside: OsString = deps.join("a-1").into();
        assert_eq!(
            of_runner(&package, Some(&outside)),
            [top.join("elsewhere/debug"), top.join("ws")]
        );
        // Relative to the working directory, and in the workspace.
        let inside: OsString = "../../target/debug/deps/a-1".into();
        assert_eq!(of_runner(&package, Some(&inside)), [top.join("ws")]);
        // A program of the guest.
        assert_eq!(of_runner(&top, Some(&"uname".into())), [top]);
    }

    #[test]
    fn a_module_of_go_shows_its_top() {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("m/pkg");
        fs::create_dir_all(&package).unwrap();
        fs::write(dir.path().join("m/go.mod"), "").unwrap();
        assert_eq!(of_runner(&package, None), [dir.path().join("m")]);
    }

    #[test]
    fn temporary_directories_are_shown_as_one() {
        let temporary = std::env::temp_dir();
        let mut visible = vec![
            PathBuf::from("/src"),
            temporary.join("go-build1/b001"),
            temporary.join("other"),
            PathBuf::from("/src/a"),
        ];
        lasting(&mut visible);
        let mut expected = [PathBuf::from("/src"), temporary];
        expected.sort();
        assert_eq!(visible, expected);
    }

    #[test]
    fn what_the_root_shows_needs_no_share() {
        let visible = [PathBuf::from("/home/me/p"), PathBuf::from("/tmp/x")];
        assert_eq!(extra(&visible, &Root::Host), [PathBuf::from("/tmp/x")]);
        assert_eq!(extra(&visible, &Root::Dir("/r".into())).len(), 2);
    }
}
