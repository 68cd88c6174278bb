//! Chooses the archive for a suite: `kernels.toml`, `KILN_APT_MIRROR`, or the host's own apt
//! sources (sources.list(5), apt 2.6).

use std::fs;
use std::path::Path;

use crate::config::AptSource;

/// Names another mirror, for kernels without one in `kernels.toml`.
pub(crate) const MIRROR_VARIABLE: &str = "KILN_APT_MIRROR";

/// Names another service that serves files by their SHA-1.
pub(crate) const SNAPSHOT_VARIABLE: &str = "KILN_SNAPSHOT";

/// Debian's main archive, on one of the project's own machines (Debian mirror list).
const PUBLIC_MAIN: &str = "https://ftp.debian.org/debian";

/// Debian's archive of old packages. It has the state of every archive on every day, and every file
/// by its SHA-1.
const PUBLIC_SNAPSHOT: &str = "https://snapshot.debian.org";

/// An archive that serves a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Mirror {
    /// The directory that holds `dists/` and `pool/`, without a slash at its
    /// end.
    pub(in super::super) uri: String,
    /// Value of `Signed-By` in the host's own source, a file name.
    pub(in super::super) signed_by: Option<String>,
}

/// One `deb` line or stanza of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostSource {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// The host's configuration.
#[derive(Debug)]
pub(super) struct Host<'a> {
    /// Its `/etc`.
    pub(super) etc: &'a Path,
}

/// The archive for `source`: its own mirror, else that of `KILN_APT_MIRROR`, else
/// the host's, else a public one.
pub(super) fn resolve(source: &AptSource, host: &Host<'_>) -> Mirror {
    let without_key = |uri: String| Mirror {
        uri,
        signed_by: None,
    };
    if let Some(mirror) = &source.mirror {
        return without_key(trim(mirror).to_owned());
    }
    if let Some(mirror) = variable(MIRROR_VARIABLE) {
        return without_key(for_suite(trim(&mirror), &source.suite));
    }
    let os_release = fs::read_to_string(host.etc.join("os-release")).unwrap_or_default();
    let named = |key: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .map(|name| name.trim_matches('"').to_owned())
    };
    let sources = host_sources(&host.etc.join("apt"));
    // The archive of another distribution only has its own suites.
    let chosen = if named("ID=").as_deref() == Some("debian") {
        choose(
            &sources,
            &source.suite,
            named("VERSION_CODENAME=").as_deref(),
        )
    } else {
        serving(&sources, &source.suite)
    };
    chosen.unwrap_or_else(|| without_key(public(&source.suite, &today())))
}

/// Where the archive of old packages has the file with this SHA-1.
pub(super) fn old_file(sha1: &str) -> String {
    format!("{}/file/{sha1}", snapshot())
}

/// Where it lists the files of a version of a package.
pub(super) fn old_files(package: &str, version: &str) -> String {
    format!("{}/mr/binary/{package}/{version}/binfiles", snapshot())
}

/// The service that serves files by their SHA-1.
fn snapshot() -> String {
    let service = variable(SNAPSHOT_VARIABLE).unwrap_or_else(|| PUBLIC_SNAPSHOT.to_owned());
    trim(&service).to_owned()
}

/// The value of a variable; an empty one counts as unset.
fn variable(name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.trim().is_empty())
}

/// A public archive that has `suite`. Security suites are on separate machines, of which the
/// snapshot service has copies: for a given time, the newest before it.
fn public(suite: &str, today: &str) -> String {
    if is_security(suite) {
        format!("{}/archive/debian-security/{today}T235959Z", snapshot())
    } else {
        PUBLIC_MAIN.to_owned()
    }
}

fn today() -> String {
    chrono::Utc::now().format("%Y%m%d").to_string()
}

fn is_security(suite: &str) -> bool {
    suite.ends_with("-security") || suite.contains("-security/") || suite.ends_with("/updates")
}

fn trim(uri: &str) -> &str {
    uri.trim().trim_end_matches('/')
}

/// Debian keeps security suites in a separate archive, beside the main one.
fn for_suite(main: &str, suite: &str) -> String {
    match main.strip_suffix("/debian") {
        Some(base) if is_security(suite) => format!("{base}/debian-security"),
        _ => main.to_owned(),
    }
}

/// The release a suite belongs to: `bookworm` for `bookworm-security`.
fn release(suite: &str) -> &str {
    suite.split(['-', '/']).next().unwrap_or(suite)
}

/// The host's source that serves `suite`, or most likely does.
fn choose(host: &[HostSource], suite: &str, codename: Option<&str>) -> Option<Mirror> {
    let usable = || usable(host);
    let security = is_security(suite);
    let mirror = |source: &HostSource, follow: bool| {
        let mirror = of_host(source)?;
        Some(Mirror {
            uri: if follow {
                for_suite(&mirror.uri, suite)
            } else {
                mirror.uri
            },
            ..mirror
        })
    };
    let same_kind = |source: &&HostSource| source.suites.iter().any(|s| is_security(s)) == security;
    // A third party has its own suites; the distribution's are named after the
    // release.
    let own = |source: &&HostSource| {
        codename.is_none_or(|name| source.suites.iter().any(|s| release(s) == name))
    };
    serving(host, suite)
        .or_else(|| {
            usable()
                .filter(same_kind)
                .find(own)
                .and_then(|s| mirror(s, false))
        })
        .or_else(|| usable().filter(same_kind).find_map(|s| mirror(s, false)))
        .or_else(|| {
            usable()
                .filter(|source| !source.suites.iter().any(|s| is_security(s)))
                .find(own)
                .and_then(|s| mirror(s, true))
        })
}

/// The sources that may have a kernel.
fn usable(host: &[HostSource]) -> impl Iterator<Item = &HostSource> {
    host.iter().filter(|source| {
        // A suite with a slash at its end is a flat archive, not a distribution's pool.
        source.suites.iter().any(|suite| !suite.ends_with('/'))
            && source
                .components
                .iter()
                .any(|component| component == "main")
    })
}

/// The host's source that has `suite` by that name.
fn serving(host: &[HostSource], suite: &str) -> Option<Mirror> {
    usable(host)
        .find(|source| source.suites.iter().any(|s| s == suite))
        .and_then(of_host)
}

fn of_host(source: &HostSource) -> Option<Mirror> {
    let uri = source.uris.iter().find(|uri| fetchable(uri))?;
    Some(Mirror {
        uri: trim(uri).to_owned(),
        signed_by: source.signed_by.clone(),
    })
}

/// Schemes that need no user at the machine.
fn fetchable(uri: &str) -> bool {
    ["http:", "https:", "file:", "copy:"]
        .iter()
        .any(|scheme| uri.starts_with(scheme))
}

/// Every `deb` source below `etc` (`sources.list`, `sources.list.d`), files in
/// the order in which apt reads them.
fn host_sources(etc: &Path) -> Vec<HostSource> {
    let mut files = vec![etc.join("sources.list")];
    let mut parts: Vec<_> = fs::read_dir(etc.join("sources.list.d"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    parts.sort();
    files.extend(parts);
    let mut sources = Vec::new();
    for file in files {
        // Skip files that this user cannot read.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(text.lines().filter_map(one_line)),
            Some("sources") => sources.extend(stanzas(&text)),
            _ => {}
        }
    }
    sources
}

/// `deb [option=value …] uri suite component…`
fn one_line(line: &str) -> Option<HostSource> {
    let line = line.split('#').next().unwrap_or("").trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="))
        .and_then(key_file);
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(HostSource {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by,
    })
}

/// deb822 stanzas; the field names are case-insensitive.
fn stanzas(text: &str) -> Vec<HostSource> {
    let text = text.replace("\r\n", "\n");
    let mut found = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            found.extend(stanza(&fields));
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    found
}

fn stanza(fields: &[(String, String)]) -> Option<HostSource> {
    let field = |name: &str| {
        fields
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    };
    let words = |name: &str| -> Vec<String> {
        field(name)
            .unwrap_or("")
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let enabled = !matches!(
        field("enabled").map(str::to_ascii_lowercase).as_deref(),
        Some("no" | "false" | "0" | "off" | "without" | "disable")
    );
    let source = HostSource {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        signed_by: field("signed-by").and_then(key_file),
    };
    let usable = enabled
        && words("types").iter().any(|kind| kind == "deb")
        && !source.uris.is_empty()
        && !source.suites.is_empty();
    usable.then_some(source)
}

/// `Signed-By` names a file, or fingerprints, or contains the key itself; only the first is valid
/// for another suite.
fn key_file(value: &str) -> Option<String> {
    let value = value.trim();
    (value.starts_with('/') && !value.contains(char::is_whitespace)).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "\
# comment
Types: deb
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /k.gpg

Types: deb deb-src
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: trixie-backports
Components: main
";

    fn uri(host: &[HostSource], suite: &str) -> Option<String> {
        choose(host, suite, Some("bookworm")).map(|mirror| mirror.uri)
    }

    #[test]
    fn security_suites_come_from_the_host_s_security_archive() {
        let host = stanzas(HOST);
        assert_eq!(
            uri(&host, "bookworm-security").unwrap(),
            "http://mirror.example/security"
        );
        assert_eq!(
            uri(&host, "bullseye-security").unwrap(),
            "http://mirror.example/security"
        );
    }

    #[test]
    fn other_suites_come_from_the_host_s_main_archive() {
        let host = stanzas(HOST);
        for suite in ["bookworm", "bookworm-backports", "sid", "trixie-backports"] {
            assert_eq!(uri(&host, suite).unwrap(), "http://mirror.example/debian");
        }
    }

    #[test]
    fn without_a_security_source_its_archive_is_sought_beside_the_main_one() {
        let host: Vec<_> =
            one_line("deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian bookworm main # x")
                .into_iter()
                .collect();
        assert_eq!(host[0].signed_by.as_deref(), Some("/k.gpg"));
        assert_eq!(
            uri(&host, "trixie-security").unwrap(),
            "http://m.example/debian-security"
        );
    }

    #[test]
    fn a_third_party_is_not_mistaken_for_the_distribution() {
        let lines = [
            "deb https://tools.example/apt stable main",
            "deb cdrom:[Debian]/ bookworm main",
            "deb http://m.example/debian bookworm main contrib",
            "deb-src http://src.example/debian bookworm main",
        ];
        let host: Vec<_> = lines.iter().filter_map(|line| one_line(line)).collect();
        assert_eq!(host.len(), 3);
        assert_eq!(uri(&host[2..], "sid").unwrap(), "http://m.example/debian");
        assert_eq!(
            uri(&[host[0].clone(), host[2].clone()], "sid").unwrap(),
            "http://m.example/debian"
        );
        assert_eq!(uri(&[], "sid"), None);
    }

    #[test]
    fn a_key_inside_a_source_is_not_a_file_name() {
        let host = stanzas(
            "Types: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN PGP\n .\n abc\n",
        );
        assert_eq!(host[0].signed_by, None);
    }

    #[test]
    fn another_distribution_s_archive_is_only_used_for_its_own_suites() {
        let etc = tempfile::tempdir().unwrap();
        fs::write(
            etc.path().join("os-release"),
            "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n",
        )
        .unwrap();
        fs::create_dir_all(etc.path().join("apt/sources.list.d")).unwrap();
        fs::write(
            etc.path().join("apt/sources.list.d/ubuntu.sources"),
            "Types: deb\nURIs: http://a.example/ubuntu/\nSuites: noble noble-security\nComponents: main universe\nSigned-By: /u.gpg\n",
        )
        .unwrap();
        let host = Host { etc: etc.path() };
        let of = |suite: &str| {
            resolve(
                &AptSource {
                    suite: suite.to_owned(),
                    package: "x".to_owned(),
                    mirror: None,
                    keyring: None,
                    trusted: false,
                    component: "main".to_owned(),
                },
                &host,
            )
        };
        assert_eq!(of("noble-security").uri, "http://a.example/ubuntu");
        assert_eq!(of("noble").signed_by.as_deref(), Some("/u.gpg"));
        assert_eq!(of("trixie-backports").uri, PUBLIC_MAIN);
        assert!(
            of("bookworm-security")
                .uri
                .contains("/archive/debian-security/")
        );
        fs::remove_dir_all(etc.path()).unwrap();
        assert_eq!(of("sid").uri, PUBLIC_MAIN);
    }

    #[test]
    fn the_public_security_archive_is_that_of_today() {
        let uri = public("bookworm-security", "20261128");
        assert!(
            uri.ends_with("/archive/debian-security/20261128T235959Z"),
            "{uri}"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-zA-Z:\\[\\]=# \n/.-]{0,200}") {
            let _ = stanzas(&text);
            let _ = text.lines().filter_map(one_line).count();
        }
    }
}
