#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use super::super::image::test_image::image;
use super::super::lock::{Lock, LockedFile, LockedKernel, Pin};
use super::super::modules::fixture::module;
use super::super::modules::{Availability, Index};
use super::super::{Cache, Error, KernelImage, Progress, digest, prepare, provide, status};
use crate::arch::Arch;
use crate::config::{Catalogue, Origin, Selected};
use crate::hint::Hint;

struct Lab {
    dir: tempfile::TempDir,
    cache: Cache,
}

impl Lab {
    fn new() -> Self {
        // Not in TMPDIR, which may have blanks: the address of a mirror is one word.
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        Lab { dir, cache }
    }

    fn write(&self, path: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn catalogue(&self, text: &str) -> Catalogue {
        let path = self.write("kernels.toml", text.as_bytes());
        Catalogue::parse(text, Origin::File(path)).unwrap()
    }

    fn provide(&self, catalogue: &Catalogue, pattern: &str) -> Result<KernelImage, Error> {
        let selected = catalogue.select(&[pattern], self.dir.path()).unwrap();
        provide(catalogue, &selected[0], &self.cache, &Progress::silent())
    }

    /// The cache contains only locks.
    fn assert_nothing_kept(&self) {
        for name in ["kernels", "tmp"] {
            let left = fs::read_dir(self.cache.root().join(name)).unwrap().count();
            assert_eq!(left, 0, "{name}");
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    digest::hex(&sha2::Sha256::digest(bytes))
}

/// Answers one request with `answer`, whatever it is.
fn serve_once(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        stream.write_all(&answer).unwrap();
    });
    format!("http://{address}/kernel")
}

fn ok(body: &[u8]) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn url_catalogue(lab: &Lab, url: &str, hash: &str) -> Catalogue {
    lab.catalogue(&format!(
        "[kernels.web]\nurl = \"{url}\"\nsha256 = \"{hash}\"\n"
    ))
}

#[test]
fn an_image_from_the_web_is_cached_and_then_needs_no_web() {
    let lab = Lab::new();
    let body = image("6.14.4");
    let catalogue = url_catalogue(&lab, &serve_once(ok(&body)), &sha256(&body));
    let kernel = lab.provide(&catalogue, "web").unwrap();
    assert_eq!(
        (kernel.name.as_str(), kernel.release.as_str()),
        ("web", "6.14.4")
    );
    assert_eq!(fs::read(&kernel.image).unwrap(), body);
    assert_eq!(kernel.modules, None);
    // The server answers only once.
    assert_eq!(lab.provide(&catalogue, "web").unwrap().image, kernel.image);
    assert!(
        status(&catalogue, &catalogue.kernels[0], &lab.cache)
            .unwrap()
            .cached
    );
}

#[test]
fn a_wrong_hash_shows_both_and_keeps_nothing() {
    let lab = Lab::new();
    let body = image("6.14.4");
    let (expected, actual) = ("0".repeat(64), sha256(&body));
    let catalogue = url_catalogue(&lab, &serve_once(ok(&body)), &expected);
    let error = lab.provide(&catalogue, "web").unwrap_err();
    assert!(error.to_string().contains(&expected) && error.to_string().contains(&actual));
    assert!(!error.hints().is_empty());
    lab.assert_nothing_kept();
}

/// A kernel was to be downloaded, which failed.
fn is_failed_download(error: &Error) -> bool {
    matches!(error, Error::NotCached { source, .. } if matches!(**source, Error::Download { .. }))
}

#[test]
fn a_download_cut_short_is_reported_and_keeps_nothing() {
    let lab = Lab::new();
    let body = image("6.14.4");
    let mut answer = ok(&body);
    answer.truncate(answer.len() - 100);
    let catalogue = url_catalogue(&lab, &serve_once(answer), &sha256(&body));
    let error = lab.provide(&catalogue, "web").unwrap_err();
    assert!(is_failed_download(&error), "{error}");
    lab.assert_nothing_kept();
}

#[test]
fn a_missing_server_and_a_missing_file_are_reported() {
    let lab = Lab::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}/kernel", listener.local_addr().unwrap());
    drop(listener);
    let missing = serve_once(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
    for url in [gone, missing] {
        let catalogue = url_catalogue(&lab, &url, &"0".repeat(64));
        let error = lab.provide(&catalogue, "web").unwrap_err();
        assert!(is_failed_download(&error), "{error}");
        assert!(error.to_string().contains(&url), "{error}");
        lab.assert_nothing_kept();
    }
}

#[test]
fn a_download_that_is_not_a_kernel_is_named_by_its_address() {
    let lab = Lab::new();
    let url = serve_once(ok(b"<html>"));
    let catalogue = url_catalogue(&lab, &url, &sha256(b"<html>"));
    let error = lab.provide(&catalogue, "web").unwrap_err().to_string();
    assert!(error.contains(&url) && !error.contains("tmp"), "{error}");
    lab.assert_nothing_kept();
}

/// The header of an `Image` for arm64.
fn arm64_image() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[56..60].copy_from_slice(b"ARM\x64");
    bytes
}

#[test]
fn a_kernel_for_another_architecture_is_refused_wherever_it_comes_from() {
    let lab = Lab::new();
    let url = serve_once(ok(&arm64_image()));
    let from_web = url_catalogue(&lab, &url, &sha256(&arm64_image()));
    lab.write("root/boot/vmlinuz-6.1-arm64", &arm64_image());
    lab.write("root/lib/modules/6.1-arm64/kernel/README", b"no module");
    lab.write("alone", &arm64_image());
    lab.write("tree/include/config/kernel.release", b"6.1.0\n");
    let mut vmlinux = vec![0; 64];
    vmlinux[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    vmlinux[18] = 183; // EM_AARCH64
    lab.write("tree/vmlinux", &vmlinux);
    for (kernel, place) in [
        ("web", url.as_str()),
        ("./root", "boot/vmlinuz-6.1-arm64"),
        ("./alone", "alone"),
        ("./tree", "tree/vmlinux"),
    ] {
        let error = lab.provide(&from_web, kernel).unwrap_err().to_string();
        let expected =
            format!("{place} is a kernel for arm64, but kiln only boots kernels for x86-64");
        assert!(error.contains(&expected), "{error}");
        lab.assert_nothing_kept();
    }
}

#[test]
fn the_cache_says_of_a_kernel_what_it_said_before_there_were_architectures() {
    let lab = Lab::new();
    lab.write("bzImage", &image("6.2"));
    let kernel = lab.provide(&lab.catalogue(""), "./bzImage").unwrap();
    assert_eq!(kernel.arch, Arch::X86_64);
    let manifest = kernel.image.with_file_name("kernel.toml");
    let expected = format!(
        "release = \"6.2\"\nboot_protocol = \"bzimage\"\nimage_size = {}\n",
        image("6.2").len()
    );
    assert_eq!(fs::read_to_string(manifest).unwrap(), expected);
}

#[test]
fn an_image_of_another_release_than_its_tree_is_refused() {
    let lab = Lab::new();
    lab.write("tree/include/config/kernel.release", b"6.2.0\n");
    lab.write("tree/arch/x86/boot/bzImage", &image("6.1.0"));
    let catalogue = lab.catalogue("[kernels.mine]\npath = \"tree\"\n");
    let error = lab.provide(&catalogue, "mine").unwrap_err();
    let told = error.to_string();
    assert!(told.contains("bzImage is release 6.1.0"), "{told}");
    assert!(told.contains("6.2.0"), "{told}");
    assert!(error.hints()[0].contains("build image and modules together"));
    lab.assert_nothing_kept();
}

#[test]
fn an_elf_kernel_without_a_pvh_entry_gives_way_to_the_bzimage_beside_it() {
    let lab = Lab::new();
    // An ELF header of x86-64, and a banner.
    let mut vmlinux = vec![0; 64];
    vmlinux[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    vmlinux[18] = 62;
    vmlinux.extend_from_slice(b"Linux version 6.1.0 (build@host)");
    let vmlinux = lab.write("tree/boot/vmlinux-6.1.0", &vmlinux);
    let catalogue = lab.catalogue("[kernels.mine]\npath = \"tree/boot/vmlinux-6.1.0\"\n");
    let error = lab.provide(&catalogue, "mine").unwrap_err().to_string();
    assert!(error.contains("without a PVH entry point"), "{error}");
    lab.write("tree/boot/vmlinuz-6.1.0", &image("6.1.0"));
    let kernel = lab.provide(&catalogue, "mine").unwrap();
    assert_eq!(fs::read(kernel.image).unwrap(), image("6.1.0"));
    assert_eq!(kernel.release, "6.1.0");
    assert!(vmlinux.is_file());
}

#[test]
fn a_directory_is_prepared_again_when_its_image_changes() {
    let lab = Lab::new();
    let path = lab.write("tree/boot/vmlinuz-6.1-a", &image("6.1-a"));
    lab.write("tree/lib/modules/6.1-a/kernel/README", b"no module");
    lab.write("tree/lib/modules/6.1-a/modules.builtin", b"");
    std::os::unix::fs::symlink(
        "/usr/src",
        lab.dir.path().join("tree/lib/modules/6.1-a/build"),
    )
    .unwrap();
    let catalogue = lab.catalogue("[kernels.mine]\npath = \"tree\"\n");
    let first = lab.provide(&catalogue, "mine").unwrap();
    assert_eq!(first.name, "mine");
    let modules = first.modules.clone().unwrap();
    assert!(modules.ends_with("modules/6.1-a"));
    assert!(modules.join("modules.dep").is_file());
    assert!(modules.join("build").symlink_metadata().is_err());
    assert!(
        !lab.dir
            .path()
            .join("tree/lib/modules/6.1-a/modules.dep")
            .exists(),
        "the user's tree stays as it is"
    );
    assert_eq!(lab.provide(&catalogue, "mine").unwrap().image, first.image);

    let mut changed = image("6.1-a");
    changed.push(0);
    fs::write(&path, changed).unwrap();
    assert_ne!(lab.provide(&catalogue, "mine").unwrap().image, first.image);
}

#[test]
fn modules_with_metadata_are_used_in_place() {
    let lab = Lab::new();
    lab.write("tree/boot/vmlinuz-6.1-a", &image("6.1-a"));
    lab.write("tree/usr/lib/modules/6.1-a/kernel/README", b"");
    let dep = lab.write("tree/usr/lib/modules/6.1-a/modules.dep", b"");
    let kernel = lab.provide(&lab.catalogue(""), "./tree").unwrap();
    assert_eq!(kernel.name, "./tree");
    assert_eq!(
        kernel.modules.unwrap(),
        fs::canonicalize(dep.parent().unwrap()).unwrap()
    );
}

#[test]
fn modules_used_in_place_are_read_once_and_missed_when_they_are_gone() {
    let lab = Lab::new();
    lab.write("tree/boot/vmlinuz-6.1-a", &image("6.1-a"));
    let module = module(&["alias=char-major-10-229"]);
    let file = lab.write("tree/usr/lib/modules/6.1-a/kernel/fuse.ko", &module);
    let dep = lab.write("tree/usr/lib/modules/6.1-a/modules.dep", b"");
    let kernel = lab.provide(&lab.catalogue(""), "./tree").unwrap();
    let (dir, remembered) = (kernel.modules.unwrap(), kernel.module_index.unwrap());
    // It only counts as a module if it is not read again.
    let modified = file.metadata().unwrap().modified().unwrap();
    fs::write(&file, vec![b'x'; module.len()]).unwrap();
    let times = fs::FileTimes::new().set_modified(modified);
    let opened = fs::File::options().write(true).open(&file).unwrap();
    opened.set_times(times).unwrap();
    assert!(Index::open(&dir).is_err());
    let index = Index::open_remembered(&dir, &remembered).unwrap();
    assert_eq!(index.provides("fuse"), Availability::Module);

    let prepared = kernel.image.parent().unwrap();
    assert!(prepare::load(prepared, "again").is_some());
    fs::remove_dir_all(dep.parent().unwrap()).unwrap();
    assert!(prepare::load(prepared, "again").is_none());
}

#[test]
fn a_damaged_cache_entry_is_made_anew() {
    let lab = Lab::new();
    lab.write("bzImage", &image("6.2"));
    let catalogue = lab.catalogue("");
    let first = lab.provide(&catalogue, "./bzImage").unwrap();
    fs::write(&first.image, b"cut").unwrap();
    let second = lab.provide(&catalogue, "./bzImage").unwrap();
    assert_eq!(fs::read(second.image).unwrap(), image("6.2"));
}

/// A package with one kernel in it.
fn deb(dest: &Path, release: &str) -> Vec<u8> {
    let content = image(release);
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(
        &mut header,
        format!("./boot/vmlinuz-{release}"),
        content.as_slice(),
    )
    .unwrap();
    let data = tar.into_inner().unwrap();
    let mut ar = ar::Builder::new(Vec::new());
    let header = ar::Header::new(b"data.tar".to_vec(), data.len() as u64);
    ar.append(&header, data.as_slice()).unwrap();
    let bytes = ar.into_inner().unwrap();
    fs::write(dest, &bytes).unwrap();
    bytes
}

/// From an archive that is a directory: a pin needs no index.
#[test]
fn a_pinned_package_is_fetched_once_and_its_hash_is_checked() {
    let lab = Lab::new();
    let pool = lab.dir.path().join("mirror/pool");
    fs::create_dir_all(&pool).unwrap();
    let package = pool.join("k_1.deb");
    let bytes = deb(&package, "6.1-pin");
    let catalogue = lab.catalogue(&format!(
        "[kernels.a]\napt = {{ suite = \"s\", package = \"k\", mirror = \"file:{}/mirror/\" }}\n",
        lab.dir.path().display()
    ));
    let pin = |hash: String| {
        let mut lock = Lock::default();
        lock.set(Pin::Apt(LockedKernel {
            name: "a".to_owned(),
            suite: "s".to_owned(),
            component: "main".to_owned(),
            package: "k".to_owned(),
            arch: Arch::default(),
            files: vec![LockedFile {
                package: "k".to_owned(),
                version: "1".to_owned(),
                path: "pool/k_1.deb".to_owned(),
                size: bytes.len() as u64,
                sha256: hash,
                sha1: None,
                unlisted: false,
            }],
        }));
        lock.store(&catalogue.lock_path().unwrap()).unwrap();
    };

    pin("0".repeat(64));
    let error = lab.provide(&catalogue, "a").unwrap_err();
    assert!(matches!(error, Error::WrongHash { .. }), "{error}");
    lab.assert_nothing_kept();

    pin(sha256(&bytes));
    fs::rename(&package, pool.join("away")).unwrap();
    let error = lab.provide(&catalogue, "a").unwrap_err();
    assert!(matches!(error, Error::PinGone { .. }), "{error}");
    assert!(error.hints()[0].contains("kiln kernels update a"));
    lab.assert_nothing_kept();

    fs::rename(pool.join("away"), &package).unwrap();
    let kernel = lab.provide(&catalogue, "a").unwrap();
    assert_eq!(kernel.release, "6.1-pin");
    fs::remove_file(&package).unwrap();
    assert_eq!(
        lab.provide(&catalogue, "a").unwrap().image,
        kernel.image,
        "a cached kernel needs no mirror"
    );
    let Selected::Named(named) = &catalogue.select(&["a"], Path::new("/")).unwrap()[0] else {
        panic!("a name selects a kernel of the catalogue");
    };
    let status = status(&catalogue, named, &lab.cache).unwrap();
    assert_eq!(
        (status.version.as_deref(), status.cached),
        (Some("1"), true)
    );
}
