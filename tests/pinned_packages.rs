//! Kernels from a package archive that `kernels.lock` pins: with the mirror, without it, and with
//! what is not the pinned package.

use std::ffi::OsStr;
use std::fs;

use crate::support::empty_cache::{assert_nothing_kept, fetch, kiln};
use crate::support::material::{Material, package, sha256};
use crate::support::web::{Page, WebServer, dead_url};
use crate::support::{Kiln, Output};

/// Not the pinned package.
const NOISE: &[u8] = b"neither an archive nor a kernel, and longer than any header";

/// A package archive in a directory: one package, with a lock that pins it.
struct Archive {
    kiln: Kiln,
    release: String,
    uri: String,
}

/// The path of the package below the archive.
const POOLED: &str = "pool/l/linux-image-test_1.0_amd64.deb";

impl Archive {
    fn new() -> Self {
        let own = Kiln::new();
        let material = Material::of(&own);
        let kiln = kiln("[kernels.k]\napt = { suite = \"test\", package = \"linux-image-*\" }\n");
        let root = kiln.path("archive");
        let deb = root.join(POOLED);
        fs::create_dir_all(deb.parent().unwrap()).unwrap();
        let tree = own.path("tree");
        material.unpack(&tree, &[]);
        package(&tree, "linux-image-test", "1.0", &deb);
        let archive = Self {
            kiln,
            release: material.release,
            uri: format!("file:{}", root.display()),
        };
        let bytes = fs::read(&deb).unwrap();
        archive.pin("1.0", POOLED, &sha256(&bytes));
        archive
    }

    fn pin(&self, version: &str, path: &str, hash: &str) {
        self.kiln.file(
            "kernels.lock",
            format!(
                "version = 1\n[[kernel]]\nname = \"k\"\nsuite = \"test\"\ncomponent = \"main\"\n\
                 package = \"linux-image-*\"\n[[kernel.file]]\npackage = \"linux-image-test\"\n\
                 version = \"{version}\"\npath = \"{path}\"\nsize = 7\nsha256 = \"{hash}\"\n"
            ),
        );
    }

    fn fetch(&self, mirror: impl AsRef<OsStr>) -> Output {
        self.kiln
            .plain(["kernels", "fetch", "-k", "k"])
            // No apt, dpkg or gpg.
            .env("PATH", "/nowhere")
            .env("KILN_APT_MIRROR", mirror)
            .env("no_proxy", "127.0.0.1")
            .run()
    }
}

#[test]
fn a_pinned_package_is_fetched_and_still_works_when_the_mirror_is_dead() {
    let archive = Archive::new();
    let output = archive.fetch(&archive.uri);
    output.assert_code(0);
    assert!(output.out().contains(&archive.release), "{}", output.out());
    let dead = dead_url("/debian");
    let again = archive.fetch(&dead);
    again.assert_code(0).assert_out(&output.out());
    let booted = archive
        .kiln
        .vm(["exec", "-k", "k", "--", "uname", "-r"])
        .env("KILN_APT_MIRROR", &dead)
        .run();
    booted
        .assert_code(0)
        .assert_out(&format!("{}\n", archive.release));
}

#[test]
fn a_pinned_version_that_has_left_the_mirror_names_the_command_to_run() {
    let archive = Archive::new();
    archive.pin(
        "0.9",
        "pool/l/linux-image-test_0.9_amd64.deb",
        &"0".repeat(64),
    );
    let server = WebServer::start([]);
    for mirror in [archive.uri.clone(), server.url("/debian")] {
        let output = archive.fetch(&mirror);
        output
            .assert_code(96)
            .assert_out("")
            .assert_err_contains("kernel \"k\" is pinned to linux-image-test 0.9")
            .assert_err_contains(&format!("has left the mirror {mirror}"))
            .assert_err_contains("`kiln kernels update k`");
        assert_nothing_kept(&archive.kiln);
    }
    assert!(server.requests() > 0, "the mirror was not asked");
}

/// Where the snapshot service has the file of the pin.
const PATH: &str = "/file/abababababababababababababababababababab";

#[test]
fn a_pin_of_last_year_comes_from_the_archive_of_old_packages() {
    let archive = Archive::new();
    let deb = archive.kiln.path("archive").join(POOLED);
    let bytes = fs::read(&deb).unwrap();
    fs::remove_file(&deb).unwrap();
    let lock = archive.kiln.work().join("kernels.lock");
    let old = fs::read_to_string(&lock).unwrap();
    let named = format!("{old}sha1 = \"{}\"\n", "ab".repeat(20));
    fs::write(&lock, &named).unwrap();
    let fetch = |server: &WebServer| {
        archive
            .kiln
            .plain(["kernels", "fetch", "-k", "k"])
            .env("PATH", "/nowhere")
            .env("KILN_APT_MIRROR", &archive.uri)
            .env("KILN_SNAPSHOT", server.url(""))
            .env("no_proxy", "127.0.0.1")
            .run()
    };
    let empty = WebServer::start([]);
    fetch(&empty)
        .assert_code(96)
        .assert_err_contains(&format!("has left the mirror {}", archive.uri))
        .assert_err_contains(&empty.url(PATH))
        .assert_err_contains("`kiln kernels update k`");
    // It is not trusted: the pin says which bytes are right.
    fetch(&WebServer::start([(PATH, Page::new(NOISE))]))
        .assert_code(96)
        .assert_err_contains("has a wrong hash");
    assert_nothing_kept(&archive.kiln);
    let output = fetch(&WebServer::start([(PATH, Page::new(bytes))]));
    output.assert_code(0);
    assert!(output.out().contains(&archive.release), "{}", output.out());
}

#[test]
fn a_package_that_is_not_the_pinned_one_is_refused_with_both_hashes() {
    let archive = Archive::new();
    let wrong = "ab".repeat(32);
    archive.pin("1.0", POOLED, &wrong);
    let right = sha256(&fs::read(archive.kiln.path("archive").join(POOLED)).unwrap());
    archive
        .fetch(&archive.uri)
        .assert_code(96)
        .assert_err_contains(&wrong)
        .assert_err_contains(&right)
        .assert_err_contains("kiln kept nothing");
    assert_nothing_kept(&archive.kiln);
}

#[test]
fn an_unreachable_mirror_is_reported_with_hints() {
    let archive = Archive::new();
    archive
        .fetch(dead_url("/debian"))
        .assert_code(96)
        .assert_err_contains(POOLED)
        .assert_err_contains("refused")
        .assert_err_contains("check the address and the network");
    assert_nothing_kept(&archive.kiln);
}

#[test]
fn an_index_without_a_signature_is_not_trusted() {
    let archive = Archive::new();
    let lock = archive.kiln.work().join("kernels.lock");
    let before = fs::read(&lock).unwrap();
    let index = archive.kiln.path("archive/dists/test/main/binary-amd64");
    fs::create_dir_all(&index).unwrap();
    let packages = "Package: linux-image-test\nVersion: 2.0\nArchitecture: amd64\n\
                    Filename: pool/x.deb\nSize: 1\n\
                    SHA256: 0000000000000000000000000000000000000000000000000000000000000000\n";
    fs::write(index.join("Packages"), packages).unwrap();
    let release = format!(
        "Suite: test\nCodename: test\nArchitectures: amd64\nComponents: main\n\
         Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {} {} main/binary-amd64/Packages\n",
        sha256(packages.as_bytes()),
        packages.len()
    );
    fs::write(archive.kiln.path("archive/dists/test/InRelease"), release).unwrap();
    let output = archive
        .kiln
        .plain(["kernels", "update", "k"])
        .env("KILN_APT_MIRROR", &archive.uri)
        .env("PATH", "/nowhere")
        .run();
    output
        .assert_code(96)
        .assert_out("")
        .assert_err_contains("dists/test/InRelease is not trusted")
        .assert_err_contains("not signed")
        .assert_err_contains("`trusted = true`");
    assert_eq!(
        fs::read(&lock).unwrap(),
        before,
        "the pins are as they were"
    );
}

#[test]
fn a_damaged_lock_is_refused_at_its_line() {
    let kiln = kiln("[kernels.k]\napt = { suite = \"test\", package = \"linux-image-*\" }\n");
    let lock = kiln.file("kernels.lock", "version = 1\n\n[[kernel]]\nname = 3\n");
    let output = fetch(&kiln);
    output
        .assert_code(96)
        .assert_err_contains(&format!("{}:4: ", lock.display()))
        .assert_err_contains("`kiln kernels update`");
}
