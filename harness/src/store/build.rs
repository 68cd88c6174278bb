//! Installables → store paths → closures.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::command::Nix;
use super::{Error, STORE_DIR, Store, name_of};

impl Store {
    /// Builds or fetches `installable` (as in `nix build`), relative to `cwd`, and returns its
    /// outputs, as store paths. An existing store path needs no Nix. With `link`, the first output
    /// is protected from the garbage collector while that link exists.
    ///
    /// May block for hours; `notify` gets messages about what it waits for.
    pub fn build(
        &self,
        installable: &str,
        cwd: &Path,
        link: Option<&Path>,
        notify: &dyn Fn(&str),
    ) -> Result<Vec<PathBuf>, Error> {
        if link.is_none()
            && let Some(path) = self.path_that_is_there(Path::new(installable))
        {
            return Ok(vec![path]);
        }
        let mut nix = Nix::new(self, "build", format!("build {installable}")).arg("--json");
        nix = match link {
            Some(link) => nix.arg("--out-link").arg(link),
            None => nix.arg("--no-link"),
        };
        let nix = nix.arg(installable);
        let answer = nix.build(cwd, notify)?;
        let built: Value =
            serde_json::from_slice(&answer).map_err(|error| nix.answer_error(error.to_string()))?;
        let paths = outputs(&built);
        if paths.is_empty() {
            return Err(nix.answer_error("it names no output"));
        }
        Ok(paths)
    }

    /// The names of all store paths that `paths` need at run time, including themselves, sorted.
    pub fn closure(&self, paths: &[PathBuf]) -> Result<Vec<String>, Error> {
        let wanted = match paths {
            [path] => format!("list the closure of {}", path.display()),
            paths => format!("list the closure of {} store paths", paths.len()),
        };
        let nix = Nix::new(self, "path-info", wanted).arg("-r").args(paths);
        let answer = nix.query(Path::new("/"))?;
        let text = String::from_utf8(answer).map_err(|_| nix.answer_error("it is not UTF-8"))?;
        let mut names = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let name = name_of(Path::new(line))
                .ok_or_else(|| nix.answer_error(format!("{line:?} is not a store path")))?;
            names.push(name.to_owned());
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The command that lists this closure, for a user to type.
    pub fn closure_command(&self, paths: &[PathBuf]) -> String {
        let nix = Nix::new(self, "path-info", String::new());
        nix.arg("-r").args(paths).line()
    }

    /// `path` if it belongs to this store and its files exist.
    fn path_that_is_there(&self, path: &Path) -> Option<PathBuf> {
        let name = name_of(path)?;
        let whole = Path::new(STORE_DIR).join(name);
        (whole == path && self.on_host(path).symlink_metadata().is_ok()).then_some(whole)
    }
}

/// The output paths in the answer of `nix build --json`: a list of `{"outputs":
/// {"out": PATH, …}}` for what was built; for store paths `{"path": PATH}` (Nix
/// 2.8) or the path alone (Nix 2.34). `out` comes first, the others by name.
fn outputs(built: &Value) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut add = |path: &Value| {
        if let Some(path) = path.as_str().map(PathBuf::from)
            && name_of(&path).is_some()
            && !paths.contains(&path)
        {
            paths.push(path);
        }
    };
    for item in built.as_array().into_iter().flatten() {
        add(item);
        add(&item["path"]);
        if let Some(outputs) = item["outputs"].as_object() {
            add(&item["outputs"]["out"]);
            outputs.values().for_each(&mut add);
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn outputs_are_read_with_out_first() {
        let built = serde_json::json!([
            {"drvPath": "/nix/store/a-x.drv",
             "outputs": {"dev": "/nix/store/c-x-dev", "out": "/nix/store/b-x"}},
            {"path": "/nix/store/d-y"},
            "/nix/store/e-z",
        ]);
        let expected = [
            "/nix/store/b-x",
            "/nix/store/c-x-dev",
            "/nix/store/d-y",
            "/nix/store/e-z",
        ];
        assert_eq!(outputs(&built), expected.map(PathBuf::from));
        assert!(outputs(&serde_json::json!([{"path": "/etc/passwd"}])).is_empty());
    }

    #[test]
    fn a_store_path_that_is_there_needs_no_nix() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::chroot(dir.path()).unwrap();
        let path = "/nix/store/0123-x";
        std::fs::create_dir_all(store.on_host(Path::new(path))).unwrap();
        let built = store.build(path, Path::new("/"), None, &|_| {}).unwrap();
        assert_eq!(built, [PathBuf::from(path)]);
    }
}
