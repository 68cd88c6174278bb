//! The part of the caller's environment that a command in the flake's environment sees.

use std::ffi::{OsStr, OsString};

/// The part of the caller's environment that Nix itself needs: paths of its files, its
/// configuration, proxies. Of these, commands see only `HOME`: `nix develop --ignore-environment`
/// drops the rest.
const FOR_NIX: [&str; 22] = [
    "HOME",
    "PATH",
    "USER",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "NIX_CONFIG",
    "NIX_CONF_DIR",
    "NIX_USER_CONF_FILES",
    "NIX_PATH",
    "NIX_REMOTE",
    "NIX_SSL_CERT_FILE",
    "SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSH_AUTH_SOCK",
];

/// A variable that is passed on, or set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; `None` means the caller's own.
    pub value: Option<String>,
}

impl std::str::FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let mut letters = name.chars();
        let starts = letters
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("`{name}` is not the name of a variable"));
        }
        if FOR_NIX.contains(&name) && value.is_some() {
            return Err(format!(
                "Nix sets {name} itself here: pass it on with --env {name}"
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

/// The variables that commands see, besides those of the flake.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The variables named with `--env`.
    pub variables: Vec<Variable>,
}

impl Environment {
    /// The names, for commands that run inside.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| variable.name.as_str())
    }

    /// `nix develop` around a command.
    pub(super) fn develop(&self, shell: &str, command: Vec<OsString>) -> Vec<OsString> {
        let mut argv: Vec<OsString> = [
            "nix",
            "--extra-experimental-features",
            "nix-command flakes",
            "develop",
            shell,
            "--ignore-environment",
            "--keep",
            "HOME",
        ]
        .map(OsString::from)
        .into();
        for name in self.names() {
            argv.push("--keep".into());
            argv.push(name.into());
        }
        argv.push("--command".into());
        argv.extend(command);
        argv
    }

    /// The environment of `nix` itself, taken from the caller's.
    pub(super) fn of_nix(
        &self,
        caller: impl Fn(&str) -> Option<OsString>,
    ) -> Vec<(String, OsString)> {
        let given = FOR_NIX.iter().map(|name| (*name, None));
        let named = self
            .variables
            .iter()
            .map(|variable| (variable.name.as_str(), variable.value.as_deref()));
        given
            .chain(named)
            .filter_map(|(name, value)| {
                let value = value.map(OsStr::new).map(OsStr::to_owned);
                Some((name.to_owned(), value.or_else(|| caller(name))?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_variable_is_passed_on_or_set() {
        let passed: Variable = "CI".parse().unwrap();
        assert_eq!((passed.name.as_str(), passed.value), ("CI", None));
        let set: Variable = "A_1=b=c".parse().unwrap();
        assert_eq!(
            (set.name.as_str(), set.value.as_deref()),
            ("A_1", Some("b=c"))
        );
        for bad in ["", "=x", "1A", "A-B", "--command", "PATH=/x"] {
            assert!(bad.parse::<Variable>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nix_gets_what_it_needs_and_what_is_named() {
        let environment = Environment {
            variables: vec!["CI".parse().unwrap(), "A=b".parse().unwrap()],
        };
        let caller = |name: &str| {
            let known = ["HOME", "CI", "LD_LIBRARY_PATH", "A"];
            known.contains(&name).then(|| OsString::from("host"))
        };
        let pair = |name: &str, value: &str| (name.to_owned(), OsString::from(value));
        assert_eq!(
            environment.of_nix(caller),
            [pair("HOME", "host"), pair("CI", "host"), pair("A", "b")]
        );
    }
}
