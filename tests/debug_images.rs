//! Debug information that `--fetch-symbols` fetches: from debuginfod servers, and from the archive of
//! old packages.

use std::fs;

use sha1::{Digest as _, Sha1};

use crate::running_vms::running;
use crate::support::archive::{Archive, Package};
use crate::support::material::{Material, hex, package};
use crate::support::web::{Page, WebServer};
use crate::support::{Invocation, Kiln, Output};
use crate::tiny_kernel;

/// The build ID of the kernel of a VM, by its own notes.
fn build_id(kiln: &Kiln, vm: &str) -> String {
    let output = kiln
        .plain(["shell", "--attach", vm])
        .stdin("od -An -v -tx1 /sys/kernel/notes\n")
        .run();
    let hex: String = output.out().split_whitespace().collect();
    // Four bytes of name, 20 of content, type NT_GNU_BUILD_ID, `GNU`.
    let (_, after) = hex
        .split_once("040000001400000003000000474e5500")
        .unwrap_or_else(|| panic!("{hex}\n{}", output.err()));
    after[..40].to_owned()
}

/// A program with debug information and this build ID.
fn debug_image(kiln: &Kiln, build_id: &str) -> Vec<u8> {
    let source = kiln.file("image.c", "int of_the_image(void) { return 1; }\n");
    let program = kiln.path("work/image");
    let status = kiln
        .host_command("gcc")
        .args(["-g", "-nostdlib", "-static", "-Wl,--entry=of_the_image"])
        .arg(format!("-Wl,--build-id=0x{build_id}"))
        .args([source.as_os_str(), "-o".as_ref(), program.as_os_str()])
        .status();
    assert!(status.unwrap().success());
    fs::read(program).unwrap()
}

/// Asks gdb for the function of [`debug_image`].
fn gdb<'k>(kiln: &'k Kiln, vm: &str) -> Invocation<'k> {
    let gdb = ["gdb", vm, "--fetch-symbols", "--", "-nx", "-batch"];
    kiln.plain(gdb)
        .args(["-ex", "info functions ^of_the_image$"])
        .env("no_proxy", "127.0.0.1")
}

#[track_caller]
fn assert_found(gdb: &Output) {
    let (out, err) = (gdb.out(), gdb.err());
    assert!(out.contains("int of_the_image(void)"), "{out}\n{err}");
}

fn id_of_running(kiln: &Kiln) -> String {
    running(kiln)[0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn debug_information_comes_from_the_debuginfod_server_that_knows_the_build_id() {
    let kiln = Kiln::new();
    let kernel = tiny_kernel::kernel(&kiln);
    let mut vm = kiln
        .sh(kernel.to_str().unwrap(), "echo up; sleep 1000")
        .start();
    vm.wait_for("up");
    let id = id_of_running(&kiln);
    let build_id = build_id(&kiln, &id);

    let page = |id: &str| Page::new(debug_image(&kiln, id));
    let path = format!("/buildid/{build_id}/debuginfo");
    let of_other = WebServer::start([(&*path.clone().leak(), page(&"0".repeat(40)))]);
    let right = WebServer::start([(&*path.leak(), page(&build_id))]);
    let gdb = |servers: &[String]| {
        gdb(&kiln, &id)
            .env("DEBUGINFOD_URLS", servers.join(" "))
            .env("KILN_CACHE_DIR", kiln.path("work/cache"))
            .run()
    };
    gdb(&[]).assert_err_contains("nor a server of DEBUGINFOD_URLS has it");
    gdb(&[of_other.url("")])
        .assert_code(96)
        .assert_err_contains(&format!("with the build ID {build_id}"));
    assert_found(&gdb(&[of_other.url(""), right.url("/")]));
    // From the cache.
    for servers in [&["http://127.0.0.1:1".to_owned()][..], &[]] {
        assert_found(&gdb(servers));
    }

    kiln.plain(["stop", &id]).run().assert_code(0);
    vm.wait();
    kiln.assert_nothing_left();
}

/// A package of debug information whose image has this build ID.
fn debug_package(kiln: &Kiln, release: &str, build_id: &str) -> Vec<u8> {
    let tree = kiln.path("debug-tree");
    let boot = tree.join("usr/lib/debug/boot");
    fs::create_dir_all(&boot).unwrap();
    fs::write(
        boot.join(format!("vmlinux-{release}")),
        debug_image(kiln, build_id),
    )
    .unwrap();
    let deb = kiln.path("debug.deb");
    package(&tree, &format!("linux-image-{release}-dbg"), "1.0", &deb);
    fs::read(deb).unwrap()
}

#[test]
fn a_debug_package_that_has_left_its_archive_comes_from_the_archive_of_old_packages() {
    let own = Kiln::new();
    let material = Material::of(&own);
    let release = &material.release;
    let kiln = Kiln::with_empty_cache();
    let archive = Archive::new(kiln.path("archive"));
    let toml = kiln.file(
        "kernels.toml",
        format!(
            "[kernels.k]\napt = {{ suite = \"s\", package = \"linux-image-*\", {} }}\n",
            archive.source()
        ),
    );
    let kiln = kiln.config(toml);
    let (name, path) = (format!("linux-image-{release}"), "pool/image.deb");
    material.unpack(&own.path("tree"), &[]);
    package(&own.path("tree"), &name, "1.0", &archive.path(path));
    let packages = [Package {
        name: &name,
        version: "1.0",
        path,
    }];
    archive.publish("s", &packages);
    let mut vm = kiln
        .sh("k", "echo up; sleep 1000")
        .env("no_proxy", "127.0.0.1")
        .start();
    vm.wait_for("up");
    let id = id_of_running(&kiln);
    let gdb = |service: &WebServer| {
        gdb(&kiln, &id)
            .env("KILN_SNAPSHOT", service.url(""))
            .env("DEBUGINFOD_URLS", "")
            .run()
    };
    let listed = &*format!("/mr/binary/{name}-dbg/1.0/binfiles").leak();
    let of = |deb: &[u8]| {
        let hash = hex(&Sha1::digest(deb));
        let answer = format!(r#"{{"result": [{{"architecture": "amd64", "hash": "{hash}"}}]}}"#);
        (Page::new(answer), &*format!("/file/{hash}").leak())
    };

    gdb(&WebServer::start([]))
        .assert_code(96)
        .assert_err_contains(&format!("{name}-dbg 1.0"));
    // Nobody signs what is there, so the image must carry the kernel's build ID.
    let build_id = build_id(&kiln, &id);
    let other = debug_package(&kiln, release, &"0".repeat(40));
    let (answer, file) = of(&other);
    gdb(&WebServer::start([
        (listed, answer),
        (file, Page::new(other)),
    ]))
    .assert_code(96)
    .assert_err_contains(&format!("with the build ID {build_id}"));
    let right = debug_package(&kiln, release, &build_id);
    let (answer, file) = of(&right);
    let noise = [(listed, answer.clone()), (file, Page::new("noise"))];
    gdb(&WebServer::start(noise))
        .assert_code(96)
        .assert_err_contains("has a wrong hash");
    assert_found(&gdb(&WebServer::start([
        (listed, answer),
        (file, Page::new(right)),
    ])));
    // From the cache.
    assert_found(&gdb(&WebServer::start([])));

    kiln.plain(["stop", &id]).run().assert_code(0);
    vm.wait();
    kiln.assert_nothing_left();
}
