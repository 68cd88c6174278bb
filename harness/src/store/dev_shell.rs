//! Development shells, as from `nix develop`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::command::Nix;
use super::{Error, Store, name_of};

/// Variables of the build environment that mean nothing outside it; `nix develop` also ignores them
/// (Nix, src/nix/develop.cc, `ignoreVars`).
const IGNORED: [&str; 15] = [
    "BASHOPTS",
    "HOME",
    "NIX_BUILD_TOP",
    "NIX_ENFORCE_PURITY",
    "NIX_LOG_FD",
    "NIX_REMOTE",
    "PPID",
    "SHELLOPTS",
    "SSL_CERT_FILE",
    "TEMP",
    "TEMPDIR",
    "TERM",
    "TMP",
    "TMPDIR",
    "TZ",
];

/// A development shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevShell {
    /// The exported variables, `PATH` among them.
    pub variables: Vec<(String, String)>,
    /// The store path that contains them; its closure is the shell's.
    pub path: PathBuf,
}

impl Store {
    /// Builds or fetches what the development shell `installable` needs, and returns its
    /// environment. `scratch` is a directory of the caller.
    ///
    /// May block for hours; `notify` gets messages about what it waits for.
    pub fn dev_shell(
        &self,
        installable: &str,
        cwd: &Path,
        scratch: &Path,
        notify: &dyn Fn(&str),
    ) -> Result<DevShell, Error> {
        let profile = scratch.join("dev-shell");
        let nix = Nix::new(
            self,
            "print-dev-env",
            format!("enter the development shell {installable}"),
        )
        .args(["--json", "--profile"])
        .arg(&profile)
        .arg(installable);
        let answer = nix.build(cwd, notify)?;
        let told: Value =
            serde_json::from_slice(&answer).map_err(|error| nix.answer_error(error.to_string()))?;
        let variables = exported(&told);
        if variables.is_empty() {
            return Err(nix.answer_error("it has no variables"));
        }
        let path = resolve(&profile)
            .ok_or_else(|| nix.answer_error("its profile is not a link into the store"))?;
        Ok(DevShell { variables, path })
    }
}

/// The exported variables in the answer of `nix print-dev-env --json`.
fn exported(told: &Value) -> Vec<(String, String)> {
    let variables = told["variables"].as_object();
    variables
        .into_iter()
        .flatten()
        .filter(|(name, variable)| {
            variable["type"] == "exported" && !IGNORED.contains(&name.as_str())
        })
        .filter_map(|(name, variable)| {
            let value = variable["value"].as_str()?;
            Some((name.clone(), value.to_owned()))
        })
        .collect()
}

/// Follows a profile's links to the store path: `p` → `p-1-link` → path. Not `canonicalize`: the
/// path may be elsewhere on this host.
fn resolve(profile: &Path) -> Option<PathBuf> {
    let mut path = profile.to_owned();
    for _ in 0..8 {
        if name_of(&path).is_some() {
            return Some(path);
        }
        let target = path.read_link().ok()?;
        path = path.parent()?.join(target);
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn exported_variables_are_taken_and_those_of_the_build_left() {
        let told = serde_json::json!({"variables": {
            "PATH": {"type": "exported", "value": "/nix/store/a-b/bin"},
            "TMPDIR": {"type": "exported", "value": "/build"},
            "IFS": {"type": "var", "value": " "},
            "list": {"type": "array", "value": ["x"]},
        }});
        let expected = [("PATH".to_owned(), "/nix/store/a-b/bin".to_owned())];
        assert_eq!(exported(&told), expected);
    }

    #[test]
    fn a_profile_is_followed_into_the_store() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("p-1-link", dir.path().join("p")).unwrap();
        std::os::unix::fs::symlink("/nix/store/a-env", dir.path().join("p-1-link")).unwrap();
        let path = resolve(&dir.path().join("p"));
        assert_eq!(path.as_deref(), Some(Path::new("/nix/store/a-env")));
        assert_eq!(resolve(&dir.path().join("q")), None);
    }
}
