#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::super::choose::choose;
use super::*;
use crate::arch::Arch;
use crate::config::{Wanted, What};

/// An archive without signatures in a directory, and a cache.
struct Lab {
    dir: tempfile::TempDir,
    cache: Cache,
    suites: Vec<&'static str>,
}

/// Package, version and what it depends on.
type Package = (&'static str, &'static str, &'static str);

impl Lab {
    fn new(suites: &[&'static str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            cache: Cache::at(dir.path().join("cache")),
            dir,
            suites: suites.to_vec(),
        }
    }

    fn suite(&self, name: &str) -> PathBuf {
        self.dir.path().join("archive/dists").join(name)
    }

    fn publish(&self, suite: &str, packages: &[Package]) {
        let stanzas = packages.iter().map(|(package, version, depends)| {
            let hash = digest::of_bytes(format!("{package} {version}").as_bytes());
            format!(
                "Package: {package}\nVersion: {version}\nDepends: {depends}\n\
                 Filename: pool/main/l/linux-signed-amd64/{package}_{version}_amd64.deb\n\
                 Size: 1000\nSHA256: {hash}\n\n"
            )
        });
        let index: String = stanzas.collect();
        let directory = self.suite(suite).join("main/binary-amd64");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("Packages"), &index).unwrap();
        let release = format!(
            "Suite: {suite}\nSHA256:\n {} {} main/binary-amd64/Packages\n",
            digest::of_bytes(index.as_bytes()),
            index.len()
        );
        fs::write(self.suite(suite).join("InRelease"), release).unwrap();
    }

    fn pool(&self) -> Pool {
        Pool {
            name: "p".to_owned(),
            arch: Arch::X86_64,
            suites: self
                .suites
                .iter()
                .map(|suite| (*suite).to_owned())
                .collect(),
            package: "linux-image-*-x".to_owned(),
            mirror: Some(format!(
                "file:{}",
                self.dir.path().join("archive").display()
            )),
            keyring: None,
            trusted: true,
            component: "main".to_owned(),
        }
    }

    fn kernels(&self, anew: bool) -> Result<Vec<PoolKernel>, Error> {
        Lists::new(&self.pool(), &self.cache, &Progress::silent()).kernels(anew)
    }

    fn chosen(&self, wanted: &str) -> Result<Vec<String>, Error> {
        let wanted = Wanted::parse(wanted).unwrap();
        let chosen = choose("p", &self.kernels(false)?, &wanted)?;
        Ok(chosen.into_iter().map(|kernel| kernel.name).collect())
    }

    fn names(&self, wanted: &str) -> Vec<String> {
        self.chosen(wanted).unwrap()
    }

    /// What is said while the pool is asked anew.
    fn told(&self) -> (Result<Vec<PoolKernel>, Error>, Vec<String>) {
        let (progress, lines) = listening();
        let kernels = Lists::new(&self.pool(), &self.cache, &progress).kernels(true);
        (kernels, lines())
    }
}

/// Progress, and what it has said.
fn listening() -> (Progress, impl Fn() -> Vec<String>) {
    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);
    impl crate::kernel::Watcher for Lines {
        fn line(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
        fn file(&self, _: Arc<crate::kernel::Transfer>) {}
    }
    let lines = Arc::new(Lines::default());
    let progress = Progress::to(lines.clone());
    (progress, move || lines.0.lock().unwrap().clone())
}

/// Two suites with several builds and series.
fn lab() -> Lab {
    let lab = Lab::new(&["old", "new"]);
    lab.publish(
        "old",
        &[
            ("linux-image-6.1.0-50-x", "6.1.176-1", ""),
            ("linux-image-6.1.0-49-x", "6.1.9-1", ""),
            ("linux-image-6.12.90+o-x", "6.12.90-1~o1", ""),
            ("linux-image-6.12.90-x", "6.12.90-1", ""),
        ],
    );
    lab.publish(
        "new",
        &[
            ("linux-image-6.12.90-x", "6.12.90-1", ""),
            ("linux-image-6.12.90.1-x", "6.12.90-2", ""),
            ("linux-image-6.16.3-x", "6.16.3-1", ""),
            ("linux-image-7.3-x", "7.3~rc7-1~exp1", ""),
        ],
    );
    lab
}

#[test]
fn a_version_is_its_newest_and_a_longer_one_itself() {
    let lab = lab();
    assert_eq!(lab.names("6.1"), ["p:6.1.176"]);
    assert_eq!(lab.names("6"), ["p:6.16.3"]);
    assert_eq!(lab.names("6.12"), ["p:6.12.90"]);
    assert_eq!(lab.names("6.1.9"), ["p:6.1.9"]);
    assert_eq!(lab.names("7.3"), ["p:7.3-rc7"]);
    assert_eq!(lab.names("7.3-rc7"), ["p:7.3-rc7"]);
}

#[test]
fn builds_of_one_version_are_told_apart_by_debian_s_and_each_name_selects_itself() {
    let lab = lab();
    let all = [
        "p:6.1.9",
        "p:6.1.176",
        "p:6.12.90-1~o1",
        "p:6.12.90-1",
        "p:6.12.90",
        "p:6.16.3",
        "p:7.3-rc7",
    ];
    assert_eq!(lab.names("*"), all);
    for name in all {
        assert_eq!(lab.names(&name[2..]), [name]);
    }
    for (release, name) in [
        ("6.1.0-50", "p:6.1.176"),
        ("6.1.0-49-x", "p:6.1.9"),
        ("6.12.90.1-x", "p:6.12.90"),
        ("6.12.90-2", "p:6.12.90"),
    ] {
        assert_eq!(lab.names(release), [name]);
    }
    let kernels = lab.kernels(false).unwrap();
    let shared = kernels.iter().find(|k| k.name == "p:6.12.90-1").unwrap();
    assert_eq!(shared.suites, ["old", "new"]);
    assert_eq!(shared.source.suite, "old");
    assert_eq!(shared.source.package, "linux-image-6.12.90-x");
}

#[test]
fn ranges_and_series_come_in_the_order_of_versions() {
    let lab = lab();
    assert_eq!(
        lab.names("series"),
        ["p:6.1.176", "p:6.12.90", "p:6.16.3", "p:7.3-rc7"]
    );
    assert_eq!(lab.names("series, <6.16"), ["p:6.1.176", "p:6.12.90"]);
    assert_eq!(lab.names(">=6.13, <7.3"), ["p:6.16.3"]);
    assert_eq!(lab.names(">=6.16"), ["p:6.16.3", "p:7.3-rc7"]);
    assert_eq!(lab.names("6.1.*"), ["p:6.1.9", "p:6.1.176"]);
}

#[test]
fn what_a_pool_lacks_is_answered_with_the_nearest_it_has() {
    let lab = lab();
    for (wanted, nearest) in [
        ("6.14", "p:6.12.90 and p:6.16.3"),
        ("6.12.91", "p:6.12.90 and p:6.16.3"),
        ("5.10", "p:6.1.9"),
        ("8", "p:7.3-rc7"),
        (">=6.13, <6.16", "p:6.12.90 and p:6.16.3"),
        ("6.12.90-3", "p:6.1.176 and p:6.16.3"),
    ] {
        let error = lab.chosen(wanted).unwrap_err().to_string();
        assert!(
            error.contains(&format!("has no kernel {wanted}; ")),
            "{error}"
        );
        assert!(error.ends_with(&format!(" {nearest}")), "{wanted}: {error}");
    }
}

#[test]
fn a_kernel_that_is_whole_comes_before_a_newer_one_that_is_not() {
    let lab = Lab::new(&["s"]);
    let split: Package = (
        "linux-image-7.1.9-x",
        "1:7.1.9-1",
        "linux-modules-7.1.9-x (= 1:7.1.9-1)",
    );
    lab.publish("s", &[split, ("linux-image-7.1.8-x", "7.1.8-1", "")]);
    assert_eq!(lab.names("7.1"), ["p:7.1.8"]);
    assert_eq!(lab.names("series"), ["p:7.1.8"]);
    let kernels = lab.kernels(false).unwrap();
    assert_eq!(
        kernels[1].unlisted,
        [UnlistedFile {
            package: "linux-modules-7.1.9-x".to_owned(),
            version: "1:7.1.9-1".to_owned(),
            path: "pool/main/l/linux/linux-modules-7.1.9-x_7.1.9-1_amd64.deb".to_owned(),
        }]
    );
    assert_eq!(lab.names("7.1.9"), ["p:7.1.9"]);
}

#[test]
fn what_was_read_answers_without_the_archive_and_asking_anew_sees_what_is_new() {
    let lab = lab();
    assert_eq!(lab.names("6.16"), ["p:6.16.3"]);
    lab.publish("new", &[("linux-image-6.17.1-x", "6.17.1-1", "")]);
    assert_eq!(lab.names("6.16"), ["p:6.16.3"], "it was asked just now");
    let names: Vec<String> = lab
        .kernels(true)
        .unwrap()
        .into_iter()
        .map(|kernel| kernel.name)
        .collect();
    assert_eq!(
        names,
        [
            "p:6.1.9",
            "p:6.1.176",
            "p:6.12.90-1~o1",
            "p:6.12.90",
            "p:6.17.1"
        ]
    );
    fs::remove_dir_all(lab.dir.path().join("archive")).unwrap();
    assert_eq!(lab.names("6.17"), ["p:6.17.1"]);
}

#[test]
fn a_suite_that_is_not_there_is_left_out_and_said_and_none_at_all_is_an_error() {
    let mut lab = lab();
    lab.suites.push("gone");
    let (kernels, told) = lab.told();
    assert_eq!(kernels.unwrap().len(), 7);
    let warning = told
        .iter()
        .find(|line| line.contains("is without gone: not on file:"));
    assert!(warning.is_some(), "{told:?}");
    lab.suites = vec!["gone"];
    let error = lab.kernels(false).unwrap_err().to_string();
    assert!(error.contains("dists/gone/InRelease"), "{error}");
}

#[test]
fn without_a_network_what_was_known_is_taken_with_its_age_and_nothing_is_an_error() {
    let lab = lab();
    let kernels = lab.kernels(false).unwrap();
    let (mut answer, listed) = Lists::new(&lab.pool(), &lab.cache, &Progress::silent()).kept();
    // A port at which nobody listens.
    let pool = Pool {
        mirror: Some("http://127.0.0.1:1".to_owned()),
        ..lab.pool()
    };
    let asked = || {
        let (progress, lines) = listening();
        let kernels = Lists::new(&pool, &lab.cache, &progress).kernels(false);
        (kernels, lines())
    };
    let (nothing, _) = asked();
    let error = nothing.unwrap_err();
    assert!(matches!(error, Error::NoLists { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("http://127.0.0.1:1/dists/old/InRelease"),
        "{error}"
    );

    for suite in &mut answer.suites {
        suite.mirror = "http://127.0.0.1:1".to_owned();
        suite.answered = now() - 2 * 24 * 3600 - 5;
    }
    Lists::new(&pool, &lab.cache, &Progress::silent()).keep(&answer, &listed);
    let (known, told) = asked();
    assert_eq!(known.unwrap().len(), kernels.len());
    let warning = "; what old had 2 days ago is taken";
    assert!(told.iter().any(|line| line.ends_with(warning)), "{told:?}");
    let (known, told) = asked();
    assert_eq!(known.unwrap().len(), kernels.len());
    assert_eq!(told, [""; 0], "nobody tries again at once");
}

#[test]
fn a_damaged_memory_is_as_good_as_none() {
    let lab = lab();
    let all = lab.names("*");
    let file = fs::read_dir(lab.cache.root().join("pools"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let bytes = fs::read(&file).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], b"", &[0xff; 64]] {
        fs::write(&file, damaged).unwrap();
        assert_eq!(lab.names("*"), all);
    }
}

#[test]
fn a_lie_about_an_index_is_refused_and_nothing_of_that_suite_is_taken() {
    let lab = lab();
    let index = lab.suite("new").join("main/binary-amd64/Packages");
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replace("Size: 1000", "Size: 1001")).unwrap();
    let error = lab.kernels(false).unwrap_err();
    assert!(matches!(error, Error::WrongHash { .. }), "{error}");
    lab.publish("new", &[("linux-image-6.17.1-x", "6.17.1-1", "")]);
    assert_eq!(lab.names("6.17"), ["p:6.17.1"]);
}

#[test]
fn other_trust_and_other_suites_have_another_memory() {
    let lab = lab();
    let pool = lab.pool();
    let key = |pool: &Pool| {
        Lists::new(pool, &lab.cache, &Progress::silent())
            .key
            .to_string()
    };
    let keyring = lab.dir.path().join("keys");
    fs::write(&keyring, "a").unwrap();
    let of_keyring = Pool {
        keyring: Some(keyring.clone()),
        trusted: false,
        ..pool.clone()
    };
    let first = key(&of_keyring);
    fs::write(&keyring, "b").unwrap();
    assert_ne!(key(&of_keyring), first, "another key is trusted");
    assert_ne!(key(&pool), first);
    let fewer = Pool {
        suites: vec!["old".to_owned()],
        ..pool.clone()
    };
    assert_ne!(key(&fewer), key(&pool));
    assert_eq!(key(&pool), key(&pool.clone()));
}

#[test]
fn a_kernel_s_own_version_is_read_from_the_package_s() {
    for (version, own) in [
        ("6.12.90-2~bpo12+1", "6.12.90"),
        ("7.3~rc7-1~exp1", "7.3-rc7"),
        ("5.10.251-5", "5.10.251"),
        ("1:6.8.0-40.40", "6.8.0"),
        ("6.18+dfsg-1", "6.18"),
        ("6.1", "6.1"),
    ] {
        assert_eq!(upstream(version), own);
    }
}

proptest! {
    #[test]
    fn every_kernel_has_a_name_of_its_own_that_selects_it(
        // Without leading zeros: dpkg takes 5.04 for 5.4.
        versions in prop::collection::vec("[5-7]\\.(0|[1-9][0-9]?)(\\.(0|[1-9][0-9]{0,2}))?(~rc[1-9])?-[1-3](~bpo1\\+1)?", 1..12)
    ) {
        let listed = vec![Listed {
            kernels: versions
                .iter()
                .map(|version| Parts {
                    files: vec![PoolFile {
                        package: format!("linux-image-{version}-x"),
                        version: version.clone(),
                        path: String::new(),
                        size: 1,
                        sha256: String::new(),
                    }],
                    unlisted: Vec::new(),
                })
                .collect(),
            ..Listed::default()
        }];
        let lab = Lab::new(&["s"]);
        let pool = lab.pool();
        let answer = Answer { suites: vec![Query::default()], kernels: merged(&listed) };
        let kernels = Lists::new(&pool, &lab.cache, &Progress::silent()).shown(answer);
        let mut distinct = versions.clone();
        distinct.sort();
        distinct.dedup();
        prop_assert_eq!(kernels.len(), distinct.len());
        for kernel in &kernels {
            let wanted = Wanted::parse(&kernel.name[2..]).unwrap();
            let chosen = choose("p", &kernels, &wanted).unwrap();
            // A version without a patch level is also the name of its series.
            if kernel.upstream.split('.').count() == 3 || !matches!(wanted.what, What::Newest(_) | What::Build(_)) {
                prop_assert_eq!(&chosen[0].name, &kernel.name);
            }
        }
    }
}
