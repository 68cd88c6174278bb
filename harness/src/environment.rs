//! Which variables of the host's environment reach a command in a guest: those whose names match a
//! glob, except what is true of the host only, and what looks like a credential.

use std::ffi::OsString;

use globset::{Glob, GlobMatcher};

/// What the guest has of its own, or what names things that only the host has: directories of the
/// session, sockets, file descriptors, what runs the command.
const OF_THE_HOST: [&str; 30] = [
    "HOME",
    "USER",
    "LOGNAME",
    "MAIL",
    "SHELL",
    "PATH",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "HOSTNAME",
    "TMPDIR",
    "TMP",
    "TEMP",
    "TEMPDIR",
    "XDG_*",
    "DBUS_*",
    "DISPLAY",
    "WAYLAND_*",
    "SSH_*",
    "GPG_*",
    "NOTIFY_SOCKET",
    "LISTEN_*",
    // The file descriptors of make's job server.
    "MAKEFLAGS",
    "MFLAGS",
    "CARGO_MAKEFLAGS",
    // A test that starts cargo must not boot a VM in the guest.
    "CARGO_TARGET_*_RUNNER",
    "KILN_*",
    // Functions of bash.
    "BASH_FUNC_*",
    "BASH_ENV",
];

/// What names directories of libraries, which another root does not have.
const OF_THE_ROOT: [&str; 9] = [
    "LD_*",
    "GCONV_PATH",
    "LOCPATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "PERL5LIB",
    "PERLLIB",
    "RUBYLIB",
    "GOROOT",
];

/// Parts of names of credentials, wherever they stand.
const CREDENTIALS: [&str; 10] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "APIKEY",
    "BEARER",
    "COOKIE",
    "WEBHOOK",
];

/// Words that end such a name, or are all of it.
const CREDENTIAL_ENDS: [&str; 8] = ["KEY", "KEYS", "PASS", "PWD", "PAT", "AUTH", "PIN", "DSN"];

/// Beginnings of such names: `ACTIONS_` has the tokens of a job on GitHub Actions and the addresses
/// that they open.
const CREDENTIAL_BEGINNINGS: [&str; 4] = ["ACTIONS_", "AWS_", "AZURE_", "DOCKER_AUTH"];

/// Which names to pass on.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// All of them.
    pub all: bool,
    /// Those that match one of these.
    pub globs: Vec<GlobMatcher>,
}

impl Wanted {
    fn matches(&self, name: &OsString) -> bool {
        self.all || self.globs.iter().any(|glob| glob.is_match(name))
    }
}

/// Variables that reach the guest, and the names of those that do not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Names and values, in the order of names.
    pub variables: Vec<(OsString, OsString)>,
    /// Names of what looks like credentials, in order.
    pub credentials: Vec<String>,
}

impl Passed {
    /// A line about what was held back, if anything was. Never says a value.
    pub fn note(&self) -> Option<String> {
        let names = &self.credentials;
        if names.is_empty() {
            return None;
        }
        Some(format!(
            "not passed to the guest, because {}: {}; --env NAME passes one on",
            match names.len() {
                1 => "it looks like a credential",
                _ => "they look like credentials",
            },
            names.join(", ")
        ))
    }
}

/// A glob of names, as in `--env-pass`.
pub fn glob(text: &str) -> Result<GlobMatcher, String> {
    Glob::new(text)
        .map(|glob| glob.compile_matcher())
        .map_err(|error| error.kind().to_string())
}

/// What of this environment reaches a guest, whose root may be the host's.
pub fn pass(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    wanted: &Wanted,
    same_root: bool,
) -> Passed {
    let mut passed = Passed::default();
    for (name, value) in environment {
        if !wanted.matches(&name) {
            continue;
        }
        let text = name.to_string_lossy();
        if is_one_of(&text, &OF_THE_HOST) || (!same_root && is_one_of(&text, &OF_THE_ROOT)) {
            continue;
        }
        if names_credential(&text) || has_password(&value.to_string_lossy()) {
            passed.credentials.push(text.into_owned());
        } else {
            passed.variables.push((name, value));
        }
    }
    passed.variables.sort();
    passed.credentials.sort();
    passed
}

/// Whether a name is one of these patterns, each with at most one `*`.
fn is_one_of(name: &str, patterns: &[&str]) -> bool {
    patterns
        .iter()
        .any(|pattern| match pattern.split_once('*') {
            None => name == *pattern,
            Some((start, end)) => {
                name.len() >= start.len() + end.len()
                    && name.starts_with(start)
                    && name.ends_with(end)
            }
        })
}

fn names_credential(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let has_end = |end: &&str| {
        name.strip_suffix(*end)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with(['_', '.', '-']))
    };
    CREDENTIALS.iter().any(|part| name.contains(part))
        || CREDENTIAL_BEGINNINGS
            .iter()
            .any(|start| name.starts_with(start))
        || CREDENTIAL_ENDS.iter().any(has_end)
}

/// Whether a value is a URL with a password in it, as proxies and databases have.
fn has_password(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        user.is_some_and(|user| user.contains(':'))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn passed(names: &[&str], wanted: &Wanted, same_root: bool) -> (Vec<String>, Vec<String>) {
        let variables = names.iter().map(|name| match name.split_once('=') {
            Some((name, value)) => (name.into(), value.into()),
            None => ((*name).into(), "s3cret".into()),
        });
        let passed = pass(variables, wanted, same_root);
        assert!(!passed.note().unwrap_or_default().contains("s3cret"));
        let names = passed
            .variables
            .iter()
            .map(|(name, _)| name.to_string_lossy().into_owned());
        (names.collect(), passed.credentials)
    }

    fn all() -> Wanted {
        Wanted {
            all: true,
            globs: Vec::new(),
        }
    }

    #[test]
    fn what_is_true_of_the_host_only_stays_there() {
        let names = [
            "CARGO_MANIFEST_DIR",
            "HOME",
            "PATH",
            "TMPDIR",
            "SHELL",
            "SSH_AUTH_SOCK",
            "KILN_CONFIG",
            "LD_LIBRARY_PATH",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
            "CARGO_TARGET_DIR",
            "_",
            "MAKEFLAGS",
            "PYTHONPATH",
            "BASH_FUNC_x%%",
            "RUST_BACKTRACE",
            "HOMEPAGE",
        ];
        let (same, held) = passed(&names, &all(), true);
        assert_eq!(
            same,
            [
                "CARGO_MANIFEST_DIR",
                "CARGO_TARGET_DIR",
                "HOMEPAGE",
                "LD_LIBRARY_PATH",
                "PYTHONPATH",
                "RUST_BACKTRACE",
            ]
        );
        assert!(held.is_empty());
        let (other, _) = passed(&names, &all(), false);
        assert_eq!(
            other,
            [
                "CARGO_MANIFEST_DIR",
                "CARGO_TARGET_DIR",
                "HOMEPAGE",
                "RUST_BACKTRACE"
            ]
        );
    }

    #[test]
    fn credentials_are_held_back_by_name_and_by_what_a_url_shows() {
        let secret = [
            "GITHUB_TOKEN",
            "github_token",
            "CARGO_REGISTRY_TOKEN",
            "ACTIONS_RUNTIME_URL",
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            "MY_SECRET_2",
            "PGPASSWORD",
            "MYSQL_PWD",
            "API_KEY",
            "KEY",
            "AWS_PROFILE",
            "GITLAB_PAT",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "SENTRY_DSN",
            "http_proxy=http://me:s3cret@proxy:3128",
            "SLACK_WEBHOOK",
            "DATABASE_URL=postgres://u:s3cret@[::1]/db?x=1",
        ];
        let (through, held) = passed(&secret, &all(), true);
        assert_eq!(through, [] as [&str; 0]);
        assert_eq!(held.len(), secret.len());
        let plain = [
            "KEYBOARD",
            "MONKEY",
            "BYPASS",
            "AUTHOR",
            "GITHUB_SHA",
            "GITHUB_ACTIONS",
            "CI",
            "REPOSITORY=https://example.org/a:b@c",
            "MAIL_TO=a:b@c",
            "PASSES",
            "PINNED",
            "SPAT",
        ];
        let (through, held) = passed(&plain, &all(), true);
        assert_eq!((through.len(), held), (plain.len(), Vec::new()));
    }

    #[test]
    fn globs_choose_names_and_not_credentials() {
        let wanted = Wanted {
            all: false,
            globs: vec![
                glob("CARGO_*").unwrap(),
                glob("RUST_{LOG,BACKTRACE}").unwrap(),
            ],
        };
        let names = [
            "CARGO_PKG_NAME",
            "CARGO_TOKEN",
            "RUST_LOG",
            "RUST_MIN_STACK",
            "OTHER",
        ];
        let (through, held) = passed(&names, &wanted, true);
        assert_eq!(through, ["CARGO_PKG_NAME", "RUST_LOG"]);
        assert_eq!(held, ["CARGO_TOKEN"]);
        assert!(glob("[").is_err());
        assert_eq!(
            passed(&names, &Wanted::default(), true),
            (Vec::new(), Vec::new())
        );
    }

    #[test]
    fn a_note_names_what_was_held_back() {
        let two = Passed {
            credentials: vec!["A_TOKEN".to_owned(), "B_KEY".to_owned()],
            ..Passed::default()
        };
        assert_eq!(
            two.note().unwrap(),
            "not passed to the guest, because they look like credentials: A_TOKEN, B_KEY; \
             --env NAME passes one on"
        );
        assert_eq!(Passed::default().note(), None);
    }
}
