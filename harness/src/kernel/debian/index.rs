//! A `Packages` index: lists packages, and finds those that make up a kernel.

use std::cmp::Ordering;

use debversion::Version;
use globset::Glob;
use serde::{Deserialize, Serialize};

use super::super::lock::LockedFile;

/// The fields of one package that kernels need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Package {
    file: LockedFile,
    /// Names and, if fixed, versions of the packages that it depends on; the first of alternatives.
    depends: Vec<(String, Option<String>)>,
}

/// Only these contain parts of a kernel. Since 6.19 the image and the modules are separate
/// packages, and `modules.builtin` and similar files are in a third (`linux-base-V`).
const PARTS: [&str; 4] = [
    "linux-image-",
    "linux-base-",
    "linux-binary-",
    "linux-modules-",
];

/// Debug symbols and unsigned twins are not separate kernels.
const NO_KERNELS: [&str; 2] = ["-dbg", "-unsigned"];

/// Reads the kernel packages of an index (deb822, Debian Policy 4.12, 5.1).
pub(super) fn parse(index: &str) -> Vec<Package> {
    index.split("\n\n").filter_map(package).collect()
}

fn package(stanza: &str) -> Option<Package> {
    let field = |name: &str| {
        stanza.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    // Most of an index is something else, so first look only at the first field.
    let name = stanza
        .trim_start()
        .lines()
        .next()?
        .strip_prefix("Package:")?
        .trim();
    if !PARTS.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let depends = field("Depends").unwrap_or_default();
    let file = LockedFile {
        package: name.to_owned(),
        version: field("Version")?,
        path: field("Filename")?.trim_start_matches("./").to_owned(),
        size: field("Size")?.parse().ok()?,
        sha256: field("SHA256")?.to_ascii_lowercase(),
        sha1: None,
        unlisted: false,
    };
    is_plain(&file).then(|| Package {
        file,
        depends: depends.split(',').filter_map(dependency).collect(),
    })
}

/// Whether names, version and hash are what Debian Policy (5.6.1, 5.6.12) allows:
/// they become names of kernels and files.
fn is_plain(file: &LockedFile) -> bool {
    let of = |text: &str, more: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    of(&file.package, ".+-")
        && of(&file.version, ".+-~:")
        && file.path.chars().all(|c| c.is_ascii_graphic())
        && file.sha256.len() == 64
        && file.sha256.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `name (= version) | other` → name and version.
fn dependency(text: &str) -> Option<(String, Option<String>)> {
    let first = text.split('|').next()?.trim();
    let (name, version) = match first.split_once('(') {
        Some((name, constraint)) => {
            let constraint = constraint.trim_end().trim_end_matches(')').trim();
            (
                name,
                constraint.strip_prefix('=').map(|v| v.trim().to_owned()),
            )
        }
        None => (first, None),
    };
    let name = name.trim().split(':').next()?;
    (!name.is_empty()).then(|| (name.to_owned(), version))
}

/// The result of looking up a name or glob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Newest {
    /// The matched package, followed by every other part of the kernel.
    Found(Vec<LockedFile>),
    /// No match.
    NoMatch,
    /// Every match lacks a part.
    Incomplete {
        /// The newest match.
        package: String,
        /// Its version.
        version: String,
        /// A part of it that is not in the index.
        missing: String,
    },
}

/// The newest complete kernel whose package name matches `pattern`: archives keep the images of a
/// version longer than its modules, which come from another source package.
pub(in super::super) fn newest(packages: &[Package], pattern: &str) -> Newest {
    let Ok(glob) = Glob::new(pattern) else {
        return Newest::NoMatch;
    };
    let matcher = glob.compile_matcher();
    let mut candidates: Vec<&Package> = packages
        .iter()
        .filter(|package| {
            let name = &package.file.package;
            *name == pattern
                || (matcher.is_match(name)
                    && !NO_KERNELS.iter().any(|suffix| name.ends_with(suffix)))
        })
        .collect();
    let mut result = Newest::NoMatch;
    while let Some(first) = latest(candidates.iter().copied()) {
        let parts = parts(packages, first);
        match parts.missing.into_iter().next() {
            None => return Newest::Found(parts.files),
            Some((missing, _)) if result == Newest::NoMatch => {
                result = Newest::Incomplete {
                    package: first.file.package.clone(),
                    version: first.file.version.clone(),
                    missing,
                };
            }
            Some(_) => {}
        }
        candidates.retain(|package| *package != first);
    }
    result
}

/// A kernel of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Kernel {
    /// Its package, and behind it every other part that the index has.
    pub(in super::super) files: Vec<LockedFile>,
    /// Names and versions of the parts that the index does not have any more.
    pub(in super::super) unlisted: Vec<(String, String)>,
}

/// Every kernel whose package name `pattern` matches and whose image is there. A
/// package that only depends on another match is no kernel of its own.
pub(in super::super) fn all(packages: &[Package], pattern: &str) -> Vec<Kernel> {
    let Ok(glob) = Glob::new(pattern) else {
        return Vec::new();
    };
    let matcher = glob.compile_matcher();
    let matches = |name: &str| {
        matcher.is_match(name) && !NO_KERNELS.iter().any(|suffix| name.ends_with(suffix))
    };
    let kernels = packages
        .iter()
        .filter(|package| matches(&package.file.package));
    kernels
        .filter_map(|package| {
            let parts = parts(packages, package);
            let others = parts.files.iter().skip(1).map(|file| &file.package);
            let mut all = others.chain(parts.missing.iter().map(|(name, _)| name));
            if all.any(|name| matches(name)) {
                return None;
            }
            let unlisted = parts.missing.into_iter().map(|(name, version)| {
                let without = ["linux-modules-", "linux-base-"];
                let version = version.filter(|_| without.iter().any(|p| name.starts_with(p)))?;
                Some((name, version))
            });
            Some(Kernel {
                unlisted: unlisted.collect::<Option<_>>()?,
                files: parts.files,
            })
        })
        .collect()
}

/// What makes up a kernel.
struct Parts {
    files: Vec<LockedFile>,
    /// Names and, where fixed, versions of what is not there.
    missing: Vec<(String, Option<String>)>,
}

/// `first` and every part of the kernel it depends on.
fn parts(packages: &[Package], first: &Package) -> Parts {
    let mut chosen = vec![first];
    let mut missing: Vec<(String, Option<String>)> = Vec::new();
    let mut next = 0;
    while let Some(package) = chosen.get(next).copied() {
        next += 1;
        for (name, version) in &package.depends {
            let part = PARTS.iter().any(|prefix| name.starts_with(prefix));
            let known = chosen.iter().any(|known| known.file.package == *name)
                || missing.iter().any(|(known, _)| known == name);
            if !part || known {
                continue;
            }
            let matching = packages.iter().filter(|other| {
                other.file.package == *name
                    && version
                        .as_ref()
                        .is_none_or(|version| other.file.version == *version)
            });
            match latest(matching) {
                Some(found) => chosen.push(found),
                None => missing.push((name.clone(), version.clone())),
            }
        }
    }
    // A package that has image and modules, as that of 6.18, has what the rest
    // of them lists, too: linux-base has nothing more than scripts there.
    let split = |(name, _): &(String, _)| {
        ["linux-modules-", "linux-binary-", "linux-image-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    if !first.depends.iter().any(split) {
        missing.retain(|(name, _)| !name.starts_with("linux-base-"));
    }
    let files = chosen.into_iter().map(|package| package.file.clone());
    Parts {
        files: files.collect(),
        missing,
    }
}

/// The highest version; of equal ones, the last name.
fn latest<'a>(packages: impl Iterator<Item = &'a Package>) -> Option<&'a Package> {
    packages.max_by(|a, b| {
        let by_version = compare(&a.file.version, &b.file.version);
        by_version.then_with(|| a.file.package.cmp(&b.file.package))
    })
}

/// deb-version(7). Invalid versions come before all valid ones.
pub(in super::super) fn compare(a: &str, b: &str) -> Ordering {
    let parse = |text: &str| text.parse::<Version>().ok();
    parse(a).cmp(&parse(b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    fn stanza(name: &str, version: &str, depends: &str) -> String {
        format!(
            "Package: {name}\nSource: linux\nVersion: {version}\nDepends: {depends}\nFilename: pool/{name}_{version}.deb\nSize: 10\nSHA256: {}\n\n",
            "0".repeat(64)
        )
    }

    fn names(index: &str, pattern: &str) -> Vec<String> {
        match newest(&parse(index), pattern) {
            Newest::Found(files) => files
                .into_iter()
                .map(|file| format!("{} {}", file.package, file.version))
                .collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn the_newest_match_is_taken_without_debug_symbols_and_unsigned_twins() {
        let index = [
            stanza("linux-image-5.10.0-43-cloud-amd64", "5.10.251-5", "kmod"),
            stanza("linux-image-5.10.0-46-cloud-amd64", "5.10.262-1", "kmod"),
            stanza("linux-image-5.10.0-46-cloud-amd64-dbg", "5.10.262-1", ""),
            stanza(
                "linux-image-5.10.0-47-cloud-amd64-unsigned",
                "5.10.270-1",
                "",
            ),
            stanza("hello", "9", ""),
        ]
        .concat();
        let expected = ["linux-image-5.10.0-46-cloud-amd64 5.10.262-1"];
        assert_eq!(names(&index, "linux-image-5.10.*-cloud-amd64"), expected);
        assert_eq!(names(&index, "linux-image-5.10.*"), expected);
        assert!(names(&index, "linux-image-6.*").is_empty());
    }

    #[test]
    fn the_parts_of_a_split_kernel_are_found_at_the_same_version() {
        let index = [
            stanza("linux-image-7.3-x", "7.3-1", "dracut | initramfs-tools (>= 0.1), linux-base-7.3-x (= 7.3-1), linux-binary-7.3-x (= 7.3-1), linux-modules-7.3-x (= 7.3-1)"),
            stanza("linux-base-7.3-x", "7.3-1", ""),
            stanza("linux-binary-7.3-x", "7.3-1", ""),
            stanza("linux-modules-7.3-x", "7.3-1", "kmod"),
            stanza("linux-modules-7.3-x", "7.3-2", "kmod"),
        ]
        .concat();
        assert_eq!(
            names(&index, "linux-image-7.*"),
            [
                "linux-image-7.3-x 7.3-1",
                "linux-base-7.3-x 7.3-1",
                "linux-binary-7.3-x 7.3-1",
                "linux-modules-7.3-x 7.3-1"
            ]
        );
    }

    #[test]
    fn a_kernel_whose_modules_have_left_the_archive_is_passed_over() {
        let split = |version: &str| {
            let depends = format!("linux-modules-{version} (= {version})");
            stanza(&format!("linux-image-{version}"), version, &depends)
        };
        let complete = [
            split("7.1"),
            stanza("linux-modules-7.1", "7.1", ""),
            split("7.2"),
        ]
        .concat();
        assert_eq!(
            names(&complete, "linux-image-7.*"),
            ["linux-image-7.1 7.1", "linux-modules-7.1 7.1"]
        );
        let result = newest(&parse(&[split("7.1"), split("7.2")].concat()), "*");
        assert_eq!(
            result,
            Newest::Incomplete {
                package: "linux-image-7.2".to_owned(),
                version: "7.2".to_owned(),
                missing: "linux-modules-7.2".to_owned(),
            }
        );
    }

    /// The packages of each kernel, those that are not listed in brackets.
    fn all_of(index: &str) -> Vec<String> {
        let kernels = all(&parse(index), "linux-image-*-x").into_iter();
        kernels
            .map(|kernel| {
                let files = kernel.files.into_iter().map(|file| file.package);
                let unlisted = kernel.unlisted.into_iter();
                let unlisted = unlisted.map(|(name, version)| format!("[{name} {version}]"));
                files.chain(unlisted).collect::<Vec<_>>().join(" ")
            })
            .collect()
    }

    /// A kernel that is split into packages.
    fn split(version: &str) -> String {
        let on = |part: &str| format!("linux-{part}-{version}-x (= {version}-1)");
        let depends = [on("binary"), on("modules")].join(", ");
        [
            stanza(
                &format!("linux-image-{version}-x"),
                &format!("{version}-1"),
                &depends,
            ),
            stanza(
                &format!("linux-binary-{version}-x"),
                &format!("{version}-1"),
                &on("base"),
            ),
        ]
        .concat()
    }

    #[test]
    fn all_kernels_have_an_image_and_none_is_a_metapackage() {
        let index = [
            stanza("linux-image-6-x", "6.2-1", "linux-image-6.2-x (= 6.2-1)"),
            stanza("linux-image-5-x", "5.2-1", "linux-image-5.2-x (= 5.2-1)"),
            stanza("linux-image-6.1-x", "6.1-1", ""),
            stanza("linux-image-6.2-x", "6.2-1", ""),
            stanza("linux-image-6.2-x-dbg", "6.2-1", ""),
            split("7.1"),
            stanza("linux-modules-7.1-x", "7.1-1", ""),
            stanza("linux-base-7.1-x", "7.1-1", ""),
            stanza("linux-image-7.0-x", "7.0-1", "linux-binary-7.0-x (= 7.0-1)"),
            stanza("linux-image-6.1-y", "6.1-1", ""),
        ]
        .concat();
        assert_eq!(
            all_of(&index),
            [
                "linux-image-6.1-x",
                "linux-image-6.2-x",
                "linux-image-7.1-x linux-binary-7.1-x linux-modules-7.1-x linux-base-7.1-x",
            ]
        );
    }

    #[test]
    fn parts_that_have_left_the_index_are_named_with_their_versions() {
        assert_eq!(
            all_of(&split("7.1")),
            [
                "linux-image-7.1-x linux-binary-7.1-x [linux-modules-7.1-x 7.1-1] [linux-base-7.1-x 7.1-1]"
            ]
        );
        // Nobody knows which version that was.
        let loose = split("7.1").replace("linux-modules-7.1-x (= 7.1-1)", "linux-modules-7.1-x");
        assert_eq!(all_of(&loose), [""; 0]);
    }

    #[test]
    fn an_image_that_brings_its_modules_needs_no_linux_base() {
        let index = stanza(
            "linux-image-6.18-x",
            "6.18-1",
            "linux-base-6.18-x (= 6.18-1)",
        );
        assert_eq!(all_of(&index), ["linux-image-6.18-x"]);
        assert_eq!(names(&index, "linux-image-6.18-x").len(), 1);
    }

    #[test]
    fn a_metapackage_leads_to_its_kernel() {
        let index = [
            stanza(
                "linux-image-cloud-amd64",
                "6.1-1",
                "linux-image-6.1-x (= 6.1-1)",
            ),
            stanza("linux-image-6.1-x", "6.1-1", ""),
        ]
        .concat();
        assert_eq!(names(&index, "linux-image-cloud-amd64").len(), 2);
    }

    #[test]
    fn ubuntu_s_metapackage_leads_to_image_modules_and_extra_modules() {
        // As in noble, shortened.
        let release = "6.8.0-40-generic";
        let image = format!("kmod, linux-base (>= 4.5ubuntu1~16.04.1), linux-modules-{release}");
        let all = format!("linux-image-{release}, linux-modules-extra-{release}, linux-firmware");
        let index = [
            stanza("linux-image-generic", "6.8.0-40.40", &all),
            stanza(&format!("linux-image-{release}"), "6.8.0-40.40", &image),
            stanza(
                &format!("linux-image-unsigned-{release}"),
                "6.8.0-40.40",
                &image,
            ),
            stanza(&format!("linux-modules-{release}"), "6.8.0-40.40", ""),
            stanza(&format!("linux-modules-extra-{release}"), "6.8.0-40.40", ""),
        ]
        .concat();
        let packages = |pattern: &str| -> Vec<String> {
            let names = names(&index, pattern);
            let names = names.iter().filter_map(|name| name.split_once(' '));
            names.map(|(name, _)| name.replace(release, "R")).collect()
        };
        assert_eq!(
            packages("linux-image-generic"),
            [
                "linux-image-generic",
                "linux-image-R",
                "linux-modules-extra-R",
                "linux-modules-R"
            ]
        );
        assert_eq!(
            packages("linux-image-unsigned-6.8.*-generic"),
            ["linux-image-unsigned-R", "linux-modules-R"]
        );
    }

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        for (lower, higher) in [
            ("5.10.262-1", "5.10.1000-1"),
            ("7.3~rc7-1~exp1", "7.3-1"),
            ("6.12.117-1~bpo12+1", "6.12.117-1"),
            ("9.0-1", "1:1.0-1"),
        ] {
            assert_eq!(compare(lower, higher), Ordering::Less, "{lower} {higher}");
        }
    }

    proptest! {
        #[test]
        fn no_index_panics(text in "(Package: linux-image-|Version: |Depends: |[a-z(=)|, :\n]){0,60}") {
            let packages = parse(&text);
            let _ = newest(&packages, "*");
            let _ = all(&packages, "*");
        }
    }
}
