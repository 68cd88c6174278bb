//! `kiln bisect`: the kernel on which something changes.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::Kiln;
use crate::support::material::sha256;
use crate::support::web::{Page, WebServer, dead_url};
use crate::tiny_kernel::kernel as tiny_kernel;

/// New in 6.10; the tiny kernel, which may be older or newer, counts as good.
const QUESTION: &str = "uname -r | grep -q tiny || ! grep -w __kmalloc_noprof /proc/kallsyms";

/// The lines of a bisection's journal: what was asked, and the answers.
fn journal(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("bisect.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_bisection_that_is_killed_goes_on_to_the_right_neighbours() {
    let kiln = Kiln::new();
    let tiny = tiny_kernel(&kiln);
    let dir = kiln.path("found");
    let mut running = kiln
        .vm(["bisect", "-k", "@all", "-k"])
        .arg(&tiny)
        .arg("--run-dir")
        .arg(&dir)
        .args(["--", "sh", "-c", QUESTION])
        .deadline(DEADLINE)
        .start();
    // The second end boots.
    running.wait_for_err("GOOD  5.10");
    running.signal(Signal::SIGKILL);
    running.wait();
    kiln.assert_nothing_left();
    assert_eq!(journal(&dir).len(), 2, "what was asked, and one answer");
    let names: Vec<String> = journal(&dir)[0]["kernels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kernel| kernel["name"].as_str().unwrap().to_owned())
        .collect();
    let tiny = tiny.to_str().unwrap();
    assert_eq!(names, ["5.10", "6.1", tiny, "6.12", "7.3"]);

    let other = kiln
        .plain(["bisect", "--resume"])
        .arg(&dir)
        .args(["--confirm", "2"])
        .run();
    other
        .assert_code(2)
        .assert_err_contains("--confirm cannot change in a bisection that goes on");

    let output = kiln
        .vm(["bisect", "--format", "json", "--resume"])
        .arg(&dir)
        .deadline(DEADLINE)
        .run();
    output.assert_code(0);
    let found: Value = serde_json::from_str(output.out().as_str()).unwrap();
    assert_eq!(found["before"]["kernel"], tiny);
    assert_eq!(found["after"]["kernel"], "6.12");
    assert_eq!(found["after"]["verdict"], "bad");
    assert!(found["boots"].as_u64().unwrap() <= 3 + 2, "{found}");
    let after = found["after"]["output"].as_str().unwrap();
    assert!(after.trim_end().ends_with("__kmalloc_noprof"), "{after}");
    let command = found["after"]["command"].as_str().unwrap();
    assert!(
        command.ends_with(&format!("exec -k 6.12 -- sh -c '{QUESTION}'")),
        "{command}"
    );
    let page = fs::read_to_string(dir.join("report.html")).unwrap();
    let verdict = format!("6.12 is the first bad kernel, {tiny} the last good one");
    assert!(page.contains(&verdict), "{page}");
    // Whole again: nothing is left to boot.
    let log = kiln.plain(["bisect", "log"]).arg(&dir).run();
    log.assert_code(0);
    assert!(
        log.out().contains("6.12 is the first bad kernel"),
        "{}",
        log.out()
    );
    kiln.assert_nothing_left();
}

/// Waits for a file named after the kernel; kernels from 6.3 on are bad.
const BY_NAME: &str = "read name </proc/sys/kernel/hostname; echo asked; \
                       test -e go-$name || sleep 600; \
                       case $name in kiln-6-[345]) exit 1; esac";

/// For five boots or more, on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(300);

/// Five names of the tiny kernel, of which the one in the middle comes from `url`.
fn five_kernels(tiny: &Path, url: &str, archive: &[u8]) -> String {
    let mut text = format!(
        "[kernels.\"6.3\"]\nfiles = [{{ url = \"{url}\", sha256 = \"{}\" }}]\n",
        sha256(archive)
    );
    for name in ["6.1", "6.2", "6.4", "6.5"] {
        let _ = write!(
            text,
            "[kernels.\"{name}\"]\npath = \"{}\"\n",
            tiny.display()
        );
    }
    text
}

/// A tar archive of a kernel, with the names that packages give its files.
fn packed(kernel: &Path) -> Vec<u8> {
    let image = fs::read(kernel.join("bzImage")).unwrap();
    // Where the header says that the version is (Linux: arch/x86/boot/header.S).
    let at = usize::from(u16::from_le_bytes([image[0x20e], image[0x20f]])) + 0x200;
    let release = image[at..].split(|&byte| byte == b' ').next().unwrap();
    let release = std::str::from_utf8(release).unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    for (from, to) in [("bzImage", "vmlinuz"), ("config", "config")] {
        let path = format!("boot/{to}-{release}");
        archive
            .append_path_with_name(kernel.join(from), path)
            .unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn a_vm_and_a_mirror_that_are_lost_change_no_answer() {
    let kiln = Kiln::with_empty_cache();
    let tiny = tiny_kernel(&kiln);
    let archive = packed(&tiny);
    let catalogue = five_kernels(&tiny, &dead_url("/k.tar"), &archive);
    let config = kiln.file("kernels.toml", catalogue);
    let kiln = kiln.config(&config);
    let go = |names: &[&str]| {
        for name in names {
            kiln.file(&format!("go-kiln-6-{name}"), "");
        }
    };
    go(&["1", "5"]);
    let dir = kiln.path("found");
    let mut running = kiln
        .vm(["bisect", "-k", "6.*", "--run-dir"])
        .arg(&dir)
        .args(["--", "sh", "-c", BY_NAME])
        .deadline(DEADLINE)
        .start();
    // The mirror is not there, so a neighbour of the middle is asked.
    running.wait_for_err("NOT TO BE HAD  6.3");
    let asked = || {
        let steps = fs::read_dir(dir.join("steps")).unwrap().flatten();
        let outputs = steps.map(|step| fs::read_to_string(step.path().join("output.txt")));
        outputs
            .flatten()
            .filter(|text| text.contains("asked"))
            .count()
            == 3
    };
    running.wait_until("the third kernel is asked", asked);
    let vms = kiln.plain(["ps", "--format", "json"]).run().out();
    let vms: Value = serde_json::from_str(&vms).unwrap();
    let qemu = vms[0]["qemu"].as_i64().unwrap();
    kill(Pid::from_raw(qemu.try_into().unwrap()), Signal::SIGKILL).unwrap();
    // Before the next VM has booted, but not so early that this one would have ended.
    go(&["2", "3", "4"]);
    let output = running.wait();
    assert!(
        output.out().contains("6.3"),
        "{}\n{}",
        output.out(),
        output.err()
    );
    let again = fs::read_dir(dir.join("steps")).unwrap().flatten();
    let again = again.filter(|step| step.file_name().to_string_lossy().ends_with("-again"));
    assert_eq!(again.count(), 1, "the lost VM is asked once more");

    // The mirror is back.
    let server = WebServer::start([("/k.tar", Page::new(archive.clone()))]);
    kiln.file(
        "kernels.toml",
        five_kernels(&tiny, &server.url("/k.tar"), &archive),
    );
    let output = kiln
        .vm(["bisect", "--format", "json", "--resume"])
        .arg(&dir)
        .run();
    output.assert_code(0);
    let found: Value = serde_json::from_str(&output.out()).unwrap();
    assert_eq!(found["before"]["kernel"], "6.2", "{found}");
    assert_eq!(found["after"]["kernel"], "6.3", "{found}");
    kiln.assert_nothing_left();
}

#[test]
fn ends_that_do_not_differ_are_told_and_what_they_said_is_kept() {
    let kiln = Kiln::new();
    let tiny = tiny_kernel(&kiln);
    let catalogue = five_kernels(&tiny, &dead_url("/k.tar"), b"");
    let config = kiln.file("kernels.toml", catalogue);
    let kiln = kiln.config(&config);
    let dir = kiln.path("found");
    let ends = ["bisect", "--good", "6.1", "--bad", "6.5", "--run-dir"];
    let output = kiln
        .vm(ends)
        .arg(&dir)
        .args(["--", "echo", "the same"])
        .run();
    output
        .assert_code(96)
        .assert_err_contains("6.1 and 6.5 are both good: nothing changes between them")
        .assert_err_contains("choose other ends");
    let said = fs::read_dir(dir.join("steps")).unwrap().flatten();
    let said = said.map(|step| fs::read_to_string(step.path().join("output.txt")).unwrap());
    assert_eq!(said.collect::<Vec<_>>(), ["the same\n"; 2]);
    kiln.assert_nothing_left();
}

#[test]
fn what_cannot_be_bisected_is_said_before_anything_boots() {
    let kiln = Kiln::new();
    let refused = |args: &[&str], code: i32, message: &str| {
        let output = kiln.plain(["bisect"]).args(args).run();
        output.assert_code(code).assert_err_contains(message);
    };
    refused(&["-k", "@quick"], 2, "nothing says what to ask the kernels");
    refused(
        &["-k", "@quick", "-t", "a", "--", "true"],
        2,
        "a bisection has one question",
    );
    refused(
        &["-k", "6.1", "--", "true"],
        2,
        "6.1 is all there is: a bisection needs two kernels",
    );
    refused(
        &["--good", "6.12", "--bad", "6.1", "--", "true"],
        2,
        "the bad kernel, 6.1, is older than the other, 6.12",
    );
    refused(
        &[
            "--good",
            "6.1",
            "--bad",
            "6.12",
            "--look-for",
            "fixed",
            "--",
            "true",
        ],
        2,
        "use --look-for broken, if that is what changed",
    );
    refused(
        &["--good", "@quick", "--", "true"],
        2,
        "--good @quick is 3 kernels; it must be one",
    );
    refused(
        &["--path", "no/*", "--", "true"],
        2,
        "--path no/*: cannot read no",
    );
    refused(&["--resume"], 96, "there is no bisection in ");
    refused(
        &["log", "elsewhere"],
        96,
        "is not the directory of a bisection",
    );
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=k", "-c", "user.email=k@example.org"])
        .args(["-c", "init.defaultBranch=main", "-c", "core.autocrlf=false"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A tree in which each commit has the tiny kernel, and the last two a bug.
fn tree(kiln: &Kiln) -> Vec<String> {
    let tiny = tiny_kernel(kiln);
    let tree = kiln.work();
    git(&tree, &["init", "-q"]);
    for name in ["bzImage", "config"] {
        fs::copy(tiny.join(name), tree.join(name)).unwrap();
    }
    let mut commits = Vec::new();
    for (number, name) in ["first", "second", "broken", "last"].iter().enumerate() {
        kiln.file(name, "x");
        git(&tree, &["add", "-A"]);
        git(&tree, &["commit", "-q", "-m", &number.to_string()]);
        commits.push(git(&tree, &["rev-parse", "HEAD"]));
    }
    commits
}

#[test]
fn git_bisect_run_finds_the_commit_and_builds_are_put_into_the_order_of_commits() {
    let kiln = Kiln::new();
    let commits = tree(&kiln);
    let work = kiln.work();
    // Builds, named after their commits, whose names are in no order.
    for commit in &commits {
        let build = kiln.path("builds").join(&commit[..12]);
        fs::create_dir_all(&build).unwrap();
        for name in ["bzImage", "config"] {
            fs::copy(work.join(name), build.join(name)).unwrap();
        }
    }
    let dir = kiln.path("found");
    let output = kiln
        .plain(["bisect", "--qemu", "/bin/false", "--run-dir"])
        .arg(&dir)
        .args(["--path", "../builds/*", "--git", ".", "--", "true"])
        .run();
    output
        .assert_code(96)
        .assert_err_contains(", an end of the search, cannot say: ")
        .assert_err_contains("/bin/false");
    let kernels = journal(&dir)[0]["kernels"].clone();
    let order: Vec<&str> = kernels
        .as_array()
        .unwrap()
        .iter()
        .map(|kernel| kernel["name"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    let expected: Vec<&str> = commits.iter().map(|commit| &commit[..12]).collect();
    assert_eq!(order, expected);

    git(&work, &["bisect", "start", &commits[3], &commits[1]]);
    // One kernel boots: that of the third commit.
    let output = kiln
        .vm(["exec", "-k", ".", "--", "test", "!", "-e", "broken"])
        .by(&["git", "bisect", "run"])
        .run();
    output.assert_code(0);
    let text = output.out();
    assert!(
        text.contains(&format!("{} is the first bad commit", commits[2])),
        "{text}"
    );
    kiln.assert_nothing_left();
}
