//! `kiln kernels` and kernel sources: failed downloads leave nothing, good ones boot, also offline.

use std::process::Command;
use std::time::Duration;

use crate::support::empty_cache::{assert_nothing_kept, cached, fetch, kiln};
use crate::support::material::{Material, sha256, tarball};
use crate::support::web::{Page, WebServer, dead_url};
use crate::support::{Kiln, Output, mount_namespace};

/// A file that is neither an archive nor a kernel.
const NOISE: &[u8] = b"neither an archive nor a kernel, and longer than any header";

fn url_kernel(url: &str, sha256: &str) -> Kiln {
    kiln(&format!(
        "[kernels.k]\nurl = \"{url}\"\nsha256 = \"{sha256}\"\n"
    ))
}

/// What the message must say so that the user can retry.
const AGAIN: &str = "try again with `kiln kernels fetch`";

#[test]
fn a_download_with_a_wrong_hash_is_refused_with_both_hashes() {
    let server = WebServer::start([("/k.tar", Page::new(NOISE))]);
    let expected = "0123456789abcdef".repeat(4);
    let kiln = url_kernel(&server.url("/k.tar"), &expected);
    let output = fetch(&kiln);
    output
        .assert_code(96)
        .assert_out("")
        .assert_err_contains(&server.url("/k.tar"))
        .assert_err_contains(&expected)
        .assert_err_contains(&sha256(NOISE))
        .assert_err_contains("kiln kept nothing");
    assert_nothing_kept(&kiln);
    let output = kiln
        .plain(["exec", "-k", "k", "--", "true"])
        .env("no_proxy", "127.0.0.1")
        .run();
    output.assert_code(125).assert_err_contains(&expected);
    assert_nothing_kept(&kiln);
}

#[test]
fn a_download_that_is_cut_short_leaves_nothing_and_says_how_to_try_again() {
    let page = Page {
        announced: Some(NOISE.len() + 1000),
        ..Page::new(NOISE)
    };
    let server = WebServer::start([("/k.tar", page)]);
    // The data has the right hash: only its length shows the error.
    let kiln = url_kernel(&server.url("/k.tar"), &sha256(NOISE));
    let output = fetch(&kiln);
    output
        .assert_code(96)
        .assert_err_contains(&format!("cannot download {}", server.url("/k.tar")))
        .assert_err_contains(AGAIN);
    assert_nothing_kept(&kiln);
}

#[test]
fn without_a_network_nothing_is_left_and_the_error_says_how_to_retry() {
    let url = dead_url("/k.tar");
    let kiln = url_kernel(&url, &sha256(NOISE));
    let output = fetch(&kiln);
    output
        .assert_code(96)
        .assert_err_contains(&format!("cannot download {url}"))
        .assert_err_contains("refused")
        .assert_err_contains(AGAIN);
    assert_nothing_kept(&kiln);
}

#[test]
fn a_missing_address_is_reported_with_the_server_s_answer() {
    let server = WebServer::start([]);
    let kiln = url_kernel(&server.url("/gone.tar"), &sha256(NOISE));
    let output = fetch(&kiln);
    output
        .assert_code(96)
        .assert_err_contains("404")
        .assert_err_contains(AGAIN);
    assert_nothing_kept(&kiln);
}

#[test]
fn a_download_that_is_not_a_kernel_is_refused() {
    let server = WebServer::start([("/k.tar", Page::new(NOISE))]);
    let kiln = url_kernel(&server.url("/k.tar"), &sha256(NOISE));
    let output = fetch(&kiln);
    output
        .assert_code(96)
        .assert_err_contains(&format!("cannot unpack {}", server.url("/k.tar")))
        .assert_err_contains("neither an archive nor an x86-64 kernel image");
    assert_nothing_kept(&kiln);
}

#[test]
fn a_downloaded_kernel_boots_and_the_second_time_without_the_server() {
    let own = Kiln::new();
    let material = Material::of(&own);
    let tree = own.path("tree");
    material.unpack(&tree, &[]);
    let archive = tarball(&tree, &own.path("k.tar.gz"));
    let hash = sha256(&archive);
    let server = WebServer::start([("/k.tar.gz", Page::new(archive))]);
    let kiln = url_kernel(&server.url("/k.tar.gz"), &hash);
    let boot = || {
        let output = kiln
            .vm(["exec", "-k", "k", "--", "uname", "-r"])
            .env("no_proxy", "127.0.0.1")
            .run();
        output
            .assert_code(0)
            .assert_out(&format!("{}\n", material.release));
    };
    boot();
    assert_eq!(server.requests(), 1);
    drop(server);
    boot();
    let listed = kiln.plain(["kernels"]).run().out();
    let line = listed.lines().find(|line| line.starts_with("k ")).unwrap();
    assert!(
        line.contains(&material.release) && line.ends_with("yes"),
        "{line}"
    );
}

#[test]
fn two_harnesses_at_once_fetch_one_kernel_once() {
    let own = Kiln::new();
    let tree = own.path("tree");
    Material::of(&own).unpack(&tree, &[]);
    let archive = tarball(&tree, &own.path("k.tar.gz"));
    let hash = sha256(&archive);
    let page = Page {
        delay: Duration::from_millis(500),
        ..Page::new(archive)
    };
    let server = WebServer::start([("/k.tar.gz", page)]);
    let kiln = url_kernel(&server.url("/k.tar.gz"), &hash);
    let running: Vec<_> = (0..2)
        .map(|_| {
            kiln.plain(["kernels", "fetch"])
                .env("no_proxy", "127.0.0.1")
                .start()
        })
        .collect();
    let outputs: Vec<Output> = running
        .into_iter()
        .map(crate::support::Running::wait)
        .collect();
    for output in &outputs {
        output.assert_code(0).assert_out(&outputs[0].out());
    }
    assert_eq!(server.requests(), 1, "the second waits for the first");
    assert_eq!(cached(&kiln, "kernels").len(), 1);
    assert_eq!(cached(&kiln, "tmp"), [""; 0]);
}

#[test]
fn a_harness_killed_in_a_download_leaves_nothing_that_the_next_takes_for_a_kernel() {
    let page = Page {
        announced: Some(NOISE.len() + 1),
        delay: Duration::from_secs(3),
        ..Page::new(NOISE)
    };
    let server = WebServer::start([("/k.tar", page)]);
    let kiln = url_kernel(&server.url("/k.tar"), &sha256(NOISE));
    let running = kiln
        .plain(["kernels", "fetch"])
        .env("no_proxy", "127.0.0.1")
        .start();
    let start = std::time::Instant::now();
    while server.requests() == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "no request came");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Kills it.
    drop(running);
    assert_eq!(cached(&kiln, "kernels"), [""; 0]);
    let listed = kiln.plain(["kernels"]).run().out();
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("k ") && line.ends_with("no")),
        "{listed}"
    );
    // Its lock does not block the next one, which removes the unfinished files.
    fetch(&kiln).assert_code(96);
    assert_nothing_kept(&kiln);
}

/// Runs `kiln kernels fetch` with room for only `kib` KiB, and returns whether a full disk was the
/// limit (otherwise it was this user's limit on file size).
fn fetch_in_little_room(kiln: &Kiln, kib: u32) -> (bool, std::process::Output) {
    let (command, _) = kiln
        .plain(["kernels", "fetch"])
        .env("no_proxy", "127.0.0.1")
        .into_command();
    let wrapped = |mut outer: Command| {
        outer.arg(command.get_program()).args(command.get_args());
        outer.env_clear().current_dir(kiln.work());
        for (name, value) in command.get_envs() {
            outer.env(name, value.unwrap_or_default());
        }
        outer
    };
    let cache = kiln.cache().display();
    let mount = format!("mount -t tmpfs -o size={kib}k tmpfs '{cache}' && exec \"$@\"");
    if mount_namespace::is_allowed() {
        let mut outer = Command::new("unshare");
        // Finally lists what is left on the small disk.
        let script = format!("{mount}; code=$?; find '{cache}' -type f -size +0; exit $code")
            .replace("exec \"$@\"", "\"$@\"");
        outer.args(&mount_namespace::running(&script)[1..]);
        return (true, wrapped(outer).output().unwrap());
    }
    // A container may allow no mounts at all. The limit counts in 512 bytes,
    // in some shells in 1024.
    let mut outer = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\"");
    outer.args(["-c", &script, "sh"]);
    (false, wrapped(outer).output().unwrap())
}

#[test]
fn a_full_disk_under_the_cache_is_reported_and_nothing_is_left_on_it() {
    let big = vec![b'x'; 4 << 20];
    let hash = sha256(&big);
    let server = WebServer::start([("/k.tar", Page::new(big))]);
    let kiln = url_kernel(&server.url("/k.tar"), &hash);
    let (disk, output) = fetch_in_little_room(&kiln, 1024);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(96), "{told}");
    assert!(
        told.contains("cannot write ") && told.contains("download"),
        "{told}"
    );
    if disk {
        assert!(told.contains("No space left on device"), "{told}");
        assert!(
            told.contains("free some space, or set KILN_CACHE_DIR to"),
            "{told}"
        );
        assert_eq!(output.stdout, b"", "files are left");
    } else {
        assert!(told.contains("File too large"), "{told}");
    }
    assert_nothing_kept(&kiln);
}

#[test]
fn a_limit_on_the_size_of_files_is_reported_and_kills_nothing() {
    let big = vec![b'x'; 4 << 20];
    let hash = sha256(&big);
    let server = WebServer::start([("/k.tar", Page::new(big))]);
    let kiln = url_kernel(&server.url("/k.tar"), &hash);
    let (command, _) = kiln
        .plain(["kernels", "fetch"])
        .env("no_proxy", "127.0.0.1")
        .into_command();
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -f 1024; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(kiln.work())
        .env_clear();
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    let output = limited.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(96), "{}: {told}", output.status);
    assert!(told.contains("File too large"), "{told}");
    assert!(told.contains("`ulimit -f unlimited`"), "{told}");
    assert_nothing_kept(&kiln);
}
