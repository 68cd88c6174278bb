//! Kernels whose modules their archive does not list any more: the kernel checks them itself,
//! also where it is pinned, and on a machine that never saw the archive's lists.

use std::fs;
use std::process::Command;

use crate::support::Kiln;
use crate::support::archive::{Archive, Package};
use crate::support::material::{Material, package};

/// What such a kernel says of itself in a guest.
const ENFORCED: [&str; 4] = [
    "--",
    "sh",
    "-c",
    "grep -o module.sig_enforce=1 /proc/cmdline; cat /sys/module/module/parameters/sig_enforce",
];

#[test]
fn a_pin_of_a_kernel_with_unsigned_hashes_checks_its_modules_on_every_machine() {
    let own = Kiln::new();
    let material = Material::of(&own);
    let kiln = Kiln::with_empty_cache();
    let archive = Archive::new(kiln.path("archive"));
    let toml = kiln.file(
        "kernels.toml",
        format!(
            "[pools.p]\napt = {{ suites = [\"s\"], package = \"linux-image-*-x\", {} }}\n",
            archive.source()
        ),
    );
    let kiln = kiln.config(&toml);
    let call = |kiln: &Kiln, args: &[&str]| kiln.plain(args).env("no_proxy", "127.0.0.1").run();

    // As Debian has it: the modules come from another source package than the signed image.
    let image = own.path("image");
    material.unpack(&image, &[]);
    let modules = own.path("modules");
    fs::create_dir_all(modules.join("usr")).unwrap();
    fs::rename(image.join("lib"), modules.join("usr/lib")).unwrap();
    let name = |part: &str| format!("linux-{part}-{}-x", material.release);
    let file = |source: &str, part: &str| {
        let name = name(part);
        format!("pool/main/l/{source}/{name}_6.1.9-1_amd64.deb")
    };
    let image_file = file("linux-signed", "image");
    let modules_file = archive.path(&file("linux", "modules"));
    package(
        &image,
        &name("image"),
        "6.1.9-1",
        &archive.path(&image_file),
    );
    package(&modules, &name("modules"), "6.1.9-1", &modules_file);
    let listed = Package {
        name: &name("image"),
        version: "6.1.9-1",
        path: &image_file,
    };
    let depends = format!("Depends: kmod, {} (= 6.1.9-1)\n", name("modules"));
    archive.publish_index("s", &archive.stanza(&listed, &depends));

    call(&kiln, &["kernels", "pin", "p:6.1"])
        .assert_code(0)
        .assert_out("6.1\t6.1.9-1\n")
        .assert_err_contains("is pinned to what the mirror has: nobody signs its hash");
    let lock = fs::read_to_string(kiln.work().join("kernels.lock")).unwrap();
    assert_eq!(lock.matches("unlisted = true").count(), 1, "{lock}");
    let sum = Command::new("sha1sum").arg(&modules_file).output().unwrap();
    let sha1 = String::from_utf8(sum.stdout).unwrap()[..40].to_owned();

    // Then the mirror drops the file; the snapshot service has it.
    fs::rename(&modules_file, archive.path(&format!("file/{sha1}"))).unwrap();
    call(&kiln, &["kernels", "update"])
        .assert_code(0)
        .assert_out("6.1\t6.1.9-1 (unchanged)\n");
    assert_eq!(
        fs::read_to_string(kiln.work().join("kernels.lock")).unwrap(),
        lock
    );

    let there = Kiln::with_empty_cache();
    there.file("kernels.lock", &lock);
    let there_toml = there.file("kernels.toml", fs::read(&toml).unwrap());
    let there = there.config(there_toml);
    there
        .vm(["exec", "-k", "6.1"])
        .args(ENFORCED)
        .env("no_proxy", "127.0.0.1")
        .env("KILN_SNAPSHOT", archive.address())
        .run()
        .assert_code(0)
        .assert_out("module.sig_enforce=1\nY\n");
    there.assert_nothing_left();
}
