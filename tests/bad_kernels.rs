//! Kernels that cannot be had: from archives that lie, packages that are wrong or hostile, and
//! without a network. The message says what is wrong with which file, and nothing is kept.

use std::fs;
use std::path::Path;

use tar::EntryType::{Block, Char, Link, Regular, Symlink};

use crate::support::archive::{Archive, Package};
use crate::support::packages::bare_image;
use crate::support::{Invocation, Kiln, Output};

/// An empty cache and a catalogue.
fn kiln(catalogue: &str) -> Kiln {
    let kiln = Kiln::with_empty_cache();
    let file = kiln.file("kernels.toml", catalogue);
    kiln.config(file)
}

/// Loopback servers are reached without the machine's proxy.
fn call<'k>(kiln: &'k Kiln, args: &[&str]) -> Invocation<'k> {
    kiln.plain(args).env("no_proxy", "127.0.0.1")
}

/// No kernel and no package is in the cache, not even a part of one.
#[track_caller]
fn assert_nothing_kept(kiln: &Kiln) {
    for directory in ["kernels", "downloads", "indices", "tmp"] {
        let path = kiln.cache().join(directory);
        let entries = fs::read_dir(path).into_iter().flatten();
        assert_eq!(entries.count(), 0, "{directory}");
    }
}

/// `exec` with a kernel that does not come to a boot.
#[track_caller]
fn refused(kiln: &Kiln, kernel: &str) -> Output {
    let output = call(kiln, &["exec", "-k", kernel, "--", "true"]).run();
    output.assert_code(125).assert_out("");
    assert_nothing_kept(kiln);
    output
}

#[test]
fn an_archive_that_lies_is_told_by_its_file_and_nothing_of_it_is_kept() {
    let kiln = Kiln::with_empty_cache();
    let archive = Archive::new(kiln.path("archive"));
    let source = archive.source();
    let file = kiln.file(
        "kernels.toml",
        format!(
            "[kernels.k]\napt = {{ suite = \"s\", package = \"linux-image-*-x\", {source} }}\n\
             [pools.p]\napt = {{ suites = [\"s\"], package = \"linux-image-*-x\", {source} }}\n"
        ),
    );
    let kiln = kiln.config(file);
    let package = Package {
        name: "linux-image-6.1.7-x",
        version: "6.1.7-1",
        path: "pool/l/k.deb",
    };
    archive.publish("s", &[package]);
    let release = archive.path("dists/s/InRelease");
    let right = fs::read_to_string(&release).unwrap();
    let told = |texts: &[&str]| {
        for kernel in ["k", "p:6.1"] {
            let output = refused(&kiln, kernel);
            for text in texts {
                output.assert_err_contains(text);
            }
        }
        call(&kiln, &["kernels", "update", "k"])
            .run()
            .assert_code(96)
            .assert_err_contains(texts[0]);
        assert!(!kiln.work().join("kernels.lock").exists());
    };

    // The signed text says something else.
    fs::write(
        &release,
        right.replace("Acquire-By-Hash: yes", "Acquire-By-Hash: nay"),
    )
    .unwrap();
    told(&[
        &format!("{}/dists/s/InRelease is not trusted", archive.address()),
        "is wrong: it was made over another text",
        "try again, or with another mirror",
    ]);
    // Not signed at all, and cut off.
    fs::write(&release, "Suite: s\n").unwrap();
    told(&["/dists/s/InRelease is not trusted", "not signed"]);
    fs::write(&release, &right[..right.len() - 60]).unwrap();
    told(&["/dists/s/InRelease is not trusted"]);

    // The index is not the one that was signed.
    fs::write(&release, &right).unwrap();
    let by_hash = archive.path("dists/s/main/binary-amd64/by-hash/SHA256/x");
    let index = fs::read_dir(by_hash.parent().unwrap()).unwrap();
    let index = index.map(|entry| entry.unwrap().path()).next().unwrap();
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replace("6.1.7-1", "6.1.7-2")).unwrap();
    let hash = index.file_name().unwrap().to_str().unwrap();
    told(&[
        &format!("by-hash/SHA256/{hash} has a wrong hash"),
        hash,
        "kiln kept nothing",
    ]);

    // Nor is the package, whose size is right.
    fs::write(&index, &text).unwrap();
    fs::write(archive.path("pool/l/k.deb"), "linux-image-6.1.7-x 6.1.7-9").unwrap();
    for kernel in ["k", "p:6.1"] {
        call(&kiln, &["kernels", "fetch", "-k", kernel])
            .run()
            .assert_code(96)
            .assert_err_contains("linux-image-6.1.7-x 6.1.7-1 from ")
            .assert_err_contains(&format!(
                "{}/pool/l/k.deb has a wrong hash",
                archive.address()
            ))
            .assert_err_contains("kiln kept nothing");
        for directory in ["kernels", "downloads", "tmp"] {
            let entries = fs::read_dir(kiln.cache().join(directory))
                .into_iter()
                .flatten();
            assert_eq!(entries.count(), 0, "{directory}");
        }
    }
}

/// An RPM with these files.
fn rpm(files: &[(&str, &[u8])], to: &Path) {
    let mut builder = rpm::PackageBuilder::new("kernel", "1", "MIT", "x86_64", "a kernel");
    for (path, content) in files {
        let options = rpm::FileOptions::new(*path);
        builder.with_file_contents(*content, options).unwrap();
    }
    let mut bytes = Vec::new();
    builder.build().unwrap().write(&mut bytes).unwrap();
    fs::write(to, bytes).unwrap();
}

#[test]
fn an_rpm_without_its_kernel_is_told_with_what_is_missing() {
    let kiln = kiln("");
    let at = |name: &str| kiln.work().join(name);
    let (one, two) = (bare_image("6.17-1"), bare_image("6.17-2"));
    let module: (&str, &[u8]) = ("/lib/modules/6.17-2/kernel/a.ko.xz", b"\x7fELF");
    rpm(&[module], &at("modules.rpm"));
    rpm(&[("/lib/modules/6.17-1/vmlinuz", &one)], &at("core.rpm"));
    rpm(
        &[
            ("/lib/modules/6.17-1/vmlinuz", &one),
            ("/lib/modules/6.17-2/vmlinuz", &two),
        ],
        &at("two.rpm"),
    );
    rpm(&[("/usr/share/doc/x", b"doc")], &at("docs.rpm"));
    rpm(
        &[
            ("/lib/modules/6.17-1/vmlinuz", &one),
            ("/lib/modules/6.17-1/kernel/a.ko", b"\x7fELF"),
        ],
        &at("broken.rpm"),
    );
    for (kernel, told) in [
        (
            "./modules.rpm",
            "there is no kernel image in modules.rpm, only modules of 6.17-2",
        ),
        ("./docs.rpm", "there is no kernel image in docs.rpm"),
        (
            "./core.rpm,./modules.rpm",
            "vmlinuz of core.rpm is release 6.17-1, but the modules are those of 6.17-2",
        ),
        (
            "./two.rpm",
            "more than one kernel in two.rpm: lib/modules/6.17-1/vmlinuz of two.rpm, \
             lib/modules/6.17-2/vmlinuz of two.rpm",
        ),
        // Not by where it was unpacked.
        (
            "./broken.rpm",
            "error: lib/modules/6.17-1/vmlinuz of kernel \"./broken.rpm\" is not an x86-64 kernel: ",
        ),
    ] {
        refused(&kiln, kernel)
            .assert_err_contains(told)
            .assert_err_contains("  hint: ");
    }
    // What is cut off is not a package without a kernel.
    let whole = fs::read(at("two.rpm")).unwrap();
    kiln.file("cut.rpm", &whole[..whole.len() - 100]);
    refused(&kiln, "./cut.rpm").assert_err_contains("cannot unpack ");
}

#[test]
fn a_package_that_would_harm_the_host_is_refused_by_its_entry() {
    let kiln = kiln("");
    let before = fs::read_dir(kiln.work()).unwrap().count();
    let entry = |path: &str, kind: tar::EntryType, link: &str, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(size);
        header.set_entry_type(kind);
        // `set_path` refuses such paths.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend([0; 1024]);
        bytes
    };
    for (path, kind, link, size, told) in [
        (
            "../../boot/vmlinuz-1",
            Regular,
            "",
            0,
            "its path leads out of the archive",
        ),
        ("/boot/vmlinuz-1", Regular, "", 0, "its path is absolute"),
        (
            "boot/vmlinuz-1",
            Symlink,
            "/etc/shadow",
            0,
            "it is a link out of the archive, to /etc/shadow",
        ),
        (
            "boot/vmlinuz-1",
            Link,
            "../../../etc/shadow",
            0,
            "it is a link out of the archive, to ../../../etc/shadow",
        ),
        ("boot/vmlinuz-1", Block, "", 0, "it is a device"),
        ("lib/modules/1/kernel/a.ko", Char, "", 0, "it is a device"),
        (
            "boot/vmlinuz-1",
            Regular,
            "",
            100 << 30,
            "with it, the archive unpacks to more than 16 GiB",
        ),
    ] {
        kiln.file("evil.tar", entry(path, kind, link, size));
        refused(&kiln, "./evil.tar")
            .assert_err_contains(&format!("evil.tar: {path}"))
            .assert_err_contains(told)
            .assert_err_contains("kiln kept nothing");
    }
    // kernels.toml was there; the archive is what this test wrote.
    let after = fs::read_dir(kiln.work()).unwrap().count();
    assert_eq!(after, before + 1);
}

#[test]
fn without_a_network_each_kind_of_source_says_what_it_would_need() {
    let hash = "ab".repeat(32);
    let kiln = kiln(&format!(
        "[kernels.pinned]\napt = {{ suite = \"s\", package = \"k\", mirror = \"http://127.0.0.1:9/m\" }}\n\
         [kernels.new]\napt = {{ suite = \"s\", package = \"k\", mirror = \"http://127.0.0.1:9/m\" }}\n\
         [kernels.url]\nurl = \"http://127.0.0.1:9/k.deb\"\nsha256 = \"{hash}\"\n\
         [kernels.files]\nfiles = [{{ url = \"http://127.0.0.1:9/k.rpm\", sha256 = \"{hash}\" }}]\n\
         [kernels.oci]\noci = \"127.0.0.1:9/k:1\"\n"
    ));
    kiln.file(
        "kernels.lock",
        format!(
            "version = 1\n[[kernel]]\nname = \"pinned\"\nsuite = \"s\"\ncomponent = \"main\"\n\
             package = \"k\"\n[[kernel.file]]\npackage = \"k\"\nversion = \"1\"\n\
             path = \"pool/k_1.deb\"\nsize = 7\nsha256 = \"{hash}\"\n"
        ),
    );
    for (kernel, needed) in [
        ("pinned", "http://127.0.0.1:9/m/pool/k_1.deb"),
        ("new", "http://127.0.0.1:9/m/dists/s/InRelease"),
        ("url", "http://127.0.0.1:9/k.deb"),
        ("files", "http://127.0.0.1:9/k.rpm"),
        ("oci", "http"),
    ] {
        let exec = ["--offline", "exec", "-k", kernel, "--", "true"];
        let output = call(&kiln, &exec).run();
        output
            .assert_code(125)
            .assert_err_contains(&format!("kernel \"{kernel}\" is not in the cache"))
            .assert_err_contains(&format!("kiln is offline, and would need {needed}"))
            .assert_err_contains(&format!("`kiln kernels fetch -k '{kernel}'`"));
        assert_nothing_kept(&kiln);
        // With a network that is dead, the same and why.
        let output = refused(&kiln, kernel);
        output.assert_err_contains("127.0.0.1:9");
        if kernel != "oci" {
            output.assert_err_contains(&format!("kernel \"{kernel}\" is not in the cache"));
        }
    }
}
