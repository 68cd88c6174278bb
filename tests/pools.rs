//! Pools: kernels of an archive by version, searched, fetched, pinned and pruned.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::archive::{Archive, Package};
use crate::support::material::{Material, package};
use crate::support::{Invocation, Kiln, Output};

/// An archive with the pool `p` of two suites, and a `kernels.toml` that has it.
struct Lab {
    kiln: Kiln,
    archive: Archive,
}

fn noise<'a>(name: &'a str, version: &'a str, path: &'a str) -> Package<'a> {
    Package {
        name,
        version,
        path,
    }
}

const OLD: [Package<'_>; 2] = [
    Package {
        name: "linux-image-6.1.0-1-x",
        version: "6.1.7-1",
        path: "pool/l/6.1.7.deb",
    },
    Package {
        name: "linux-image-6.12.3-x",
        version: "6.12.3-1",
        path: "pool/l/6.12.3.deb",
    },
];

const NEW: [Package<'_>; 2] = [
    Package {
        name: "linux-image-6.16.2-x",
        version: "6.16.2-1",
        path: "pool/l/6.16.2.deb",
    },
    Package {
        name: "linux-image-7.0-x",
        version: "7.0~rc3-1",
        path: "pool/l/7.0.deb",
    },
];

impl Lab {
    fn new() -> Self {
        let lab = Self::empty();
        lab.archive.publish("old", &OLD);
        lab.archive.publish("new", &NEW);
        lab
    }

    fn empty() -> Self {
        let kiln = Kiln::with_empty_cache();
        let archive = Archive::new(kiln.path("archive"));
        let file = kiln.file(
            "kernels.toml",
            format!(
                "# mine\n[pools.p] # a pool\napt = {{ suites = [\"old\", \"new\"], package = \"linux-image-*-x\", {} }}\n\n\
                 [groups]\nnew = [ \"p:>=6.16\" ]\n",
                archive.source()
            ),
        );
        Self {
            kiln: kiln.config(file),
            archive,
        }
    }

    fn call(&self, args: &[&str]) -> Invocation<'_> {
        self.kiln.plain(args).env("no_proxy", "127.0.0.1")
    }

    fn run(&self, args: &[&str]) -> Output {
        self.call(args).run()
    }

    /// The names that `kernels search` lists.
    fn names(&self, args: &[&str]) -> Vec<String> {
        let output = self.run(&[&["kernels", "search", "--format", "json"], args].concat());
        output.assert_code(0);
        let found: Value = serde_json::from_str(&output.out()).unwrap();
        let names = found.as_array().unwrap().iter();
        names
            .map(|kernel| kernel["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Nothing of a package was asked for.
    #[track_caller]
    fn assert_no_package_asked_for(&self) {
        let asked = self.archive.asked();
        assert!(
            !asked.iter().any(|line| line.contains("/pool/")),
            "{asked:?}"
        );
    }
}

#[test]
fn search_lists_what_a_pool_has_and_asks_the_archive_once() {
    let lab = Lab::new();
    let output = lab.run(&["kernels", "search", "p"]);
    output.assert_code(0);
    let out = output.out();
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["NAME", "VERSION", "SUITE", "SIZE", "CACHED"]);
    assert_eq!(rows[1], ["p:6.1.7", "6.1.7-1", "old", "29", "B", "no"]);
    assert_eq!(rows[4][..3], ["p:7.0-rc3", "7.0~rc3-1", "new"]);
    assert_eq!(lab.archive.asked().len(), 4, "two suites, two indices");
    assert_eq!(lab.names(&["p:6.12"]), ["p:6.12.3"]);
    assert_eq!(lab.names(&["p:>=6.12, <7"]), ["p:6.12.3", "p:6.16.2"]);
    assert_eq!(
        lab.archive.asked(),
        [""; 0],
        "what is known is not asked for"
    );
}

#[test]
fn one_changed_suite_costs_one_download() {
    let lab = Lab::new();
    lab.run(&["kernels", "search", "p"]).assert_code(0);
    lab.archive.asked();
    let newer = noise("linux-image-7.1-x", "7.1-1", "pool/l/7.1.deb");
    lab.archive.publish("new", &[newer]);
    assert_eq!(
        lab.names(&["p", "--refresh"]),
        ["p:6.1.7", "p:6.12.3", "p:7.1"]
    );
    let asked = lab.archive.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(
        asked[0].starts_with("200 /dists/new/InRelease"),
        "{asked:?}"
    );
    assert!(asked[1].contains("/dists/new/main/binary-amd64/by-hash/"));
    assert_eq!(asked[2], "304 /dists/old/InRelease");
}

#[test]
fn what_a_pool_lacks_is_answered_with_the_nearest_and_nothing_is_fetched() {
    let lab = Lab::new();
    for (asked, told) in [
        (
            "p:6.14",
            "the pool \"p\" has no kernel 6.14; the nearest are p:6.12.3 and p:6.16.2",
        ),
        (
            "p:>=8",
            "the pool \"p\" has no kernel >=8; the nearest is p:7.0-rc3",
        ),
        (
            "p:new",
            "\"new\" is neither a version nor a range; allowed: a version (6.18",
        ),
        ("q:6.1", "there is no pool \"q\"; the pools are: p, debian"),
        ("p", "there is no kernel \"p\"; the kernels are: (none)"),
    ] {
        for command in ["exec", "fetch"] {
            let output = match command {
                "exec" => lab.run(&["exec", "-k", asked, "--", "true"]),
                _ => lab.run(&["kernels", "fetch", "-k", asked]),
            };
            output
                .assert_code(if command == "exec" { 125 } else { 96 })
                .assert_out("")
                .assert_err_contains(told)
                .assert_err_contains("  hint: ");
        }
    }
    lab.assert_no_package_asked_for();
    let file = lab.kiln.file(
        "bad.toml",
        "[pools.\"a:b\"]\napt = { suites = [], package = \"[\" }\n[groups]\ng = [\"debian:six\",\n\"d:6\"]\n",
    );
    lab.call(&["kernels", "--config"])
        .arg(&file)
        .run()
        .assert_code(96)
        .assert_err_contains("bad.toml:1: pool \"a:b\" cannot be selected")
        .assert_err_contains("bad.toml:2: pool \"a:b\" has no suites")
        .assert_err_contains("bad.toml:2: pool \"a:b\": apt.package: ")
        .assert_err_contains("bad.toml:4: group \"g\": debian: \"six\" is neither")
        .assert_err_contains("bad.toml:5: group \"g\": there is no pool \"d\"");
}

#[test]
fn a_pool_goes_wherever_kernels_go() {
    let lab = Lab::new();
    lab.kiln.file(
        "tests/runtime/suite",
        "NAME a\nPROG BEGIN { exit() }\nEXPECT x\nTIMEOUT 5\n",
    );
    let matrix = [
        "matrix",
        "--dialect",
        "0.17",
        "--tests",
        "tests",
        "--format",
        "json",
    ];
    for (kernels, names) in [
        (
            "p:series",
            vec!["p:6.1.7", "p:6.12.3", "p:6.16.2", "p:7.0-rc3"],
        ),
        ("@new", vec!["p:6.16.2", "p:7.0-rc3"]),
        ("p:6.1.0-1", vec!["p:6.1.7"]),
    ] {
        let output = lab.run(&[&matrix[..], &["-k", kernels]].concat());
        output.assert_code(0);
        let found: Value = serde_json::from_str(&output.out()).unwrap();
        let jobs = found.as_array().unwrap();
        let kernels: Vec<&str> = jobs
            .iter()
            .map(|job| job["kernel"].as_str().unwrap())
            .collect();
        assert_eq!(kernels, names);
    }
    lab.run(&["shell", "-k", "p:series"])
        .assert_code(2)
        .assert_err_contains("`p:series` selects several kernels");
    lab.run(&["kernels", "update", "p:6.1"])
        .assert_code(96)
        .assert_err_contains("`kiln kernels pin p:6.1`");
    lab.assert_no_package_asked_for();
}

#[test]
fn without_a_network_the_kernel_is_named_and_what_it_would_need() {
    let lab = Lab::new();
    lab.run(&["--offline", "exec", "-k", "p:6.1", "--", "true"])
        .assert_code(125)
        .assert_err_contains("what the pool \"p\" has is not in the cache: kiln is offline")
        .assert_err_contains("/dists/old/InRelease")
        .assert_err_contains("`kiln kernels search p`, once with a network");
    assert_eq!(lab.archive.asked(), [""; 0]);
    assert_eq!(lab.names(&["p"]).len(), 4);
    let needed = "kernel \"p:6.1.7\" is not in the cache: kiln is offline, and would need http://";
    let fetched = "`kiln kernels fetch -k 'p:6.1.7'`, once with a network, puts it into the cache";
    for output in [
        lab.run(&["kernels", "fetch", "--offline", "-k", "p:6.1"]),
        lab.call(&["kernels", "fetch", "-k", "p:6.1"])
            .env("KILN_OFFLINE", "1")
            .run(),
    ] {
        output
            .assert_code(96)
            .assert_err_contains(needed)
            .assert_err_contains("/pool/l/6.1.7.deb")
            .assert_err_contains(fetched);
        assert!(!output.err().contains("fetching"), "{}", output.err());
    }
    lab.assert_no_package_asked_for();
    lab.call(&["kernels", "search", "p", "--refresh"])
        .env("KILN_OFFLINE", "1")
        .run()
        .assert_code(0);
    // A variable that says no.
    lab.call(&["kernels", "search", "p", "--refresh"])
        .env("KILN_OFFLINE", "0")
        .run()
        .assert_code(0);
    assert_eq!(lab.archive.asked().len(), 2);
}

#[test]
fn a_signature_of_a_stranger_is_refused_with_its_key_and_nothing_is_kept() {
    let mut lab = Lab::new();
    lab.run(&["kernels", "search", "p"]).assert_code(0);
    let fingerprint = lab.archive.change_key();
    lab.archive.publish("new", &[]);
    lab.run(&["kernels", "search", "p", "--refresh"])
        .assert_code(96)
        .assert_out("")
        .assert_err_contains("/dists/new/InRelease is not trusted")
        .assert_err_contains(&fingerprint);
    // Nothing of that suite is believed any more.
    lab.run(&["kernels", "fetch", "-k", "p:6.16"])
        .assert_code(96)
        .assert_err_contains(&fingerprint);
    lab.assert_no_package_asked_for();
}

#[test]
fn several_kernels_are_fetched_at_once() {
    let lab = Lab::new();
    lab.archive.answer_two_at_once();
    let output = lab.run(&["kernels", "fetch", "-k", "@new"]);
    output
        .assert_code(96)
        .assert_err_contains("6.16.2")
        .assert_err_contains("7.0");
    let asked = lab.archive.asked();
    let packages = asked.iter().filter(|line| line.starts_with("200 /pool/"));
    assert_eq!(packages.count(), 2, "{asked:?}");
}

#[test]
fn a_pin_is_written_beside_what_is_there_and_moves_with_its_series() {
    let lab = Lab::new();
    let toml = lab.kiln.work().join("kernels.toml");
    let before = fs::read_to_string(&toml).unwrap();
    let output = lab.run(&["kernels", "pin", "p:6.12"]);
    output.assert_code(0).assert_out("6.12\t6.12.3-1\n");
    lab.run(&["kernels", "pin", "p:6.12.3", "exact"])
        .assert_code(0);
    let after = fs::read_to_string(&toml).unwrap();
    assert!(after.starts_with(before.trim_end()), "{after}");
    assert!(
        after.contains("package = \"linux-image-6.12.*-x\""),
        "{after}"
    );
    assert!(
        after.contains("package = \"linux-image-6.12.3-x\""),
        "{after}"
    );
    let lock = fs::read_to_string(lab.kiln.work().join("kernels.lock")).unwrap();
    assert_eq!(lock.matches("sha1 = ").count(), 2, "{lock}");
    lab.run(&["kernels", "pin", "p:6.1", "exact"])
        .assert_code(96)
        .assert_err_contains("there is a kernel \"exact\" already, in ")
        .assert_err_contains("give the new one another name");
    lab.run(&["kernels", "pin", "p:series", "one"])
        .assert_code(96)
        .assert_err_contains("selects 4 kernels");
    lab.run(&["kernels", "pin", "p:6.1", "a/b"])
        .assert_code(96)
        .assert_err_contains("cannot be selected");
    assert_eq!(fs::read_to_string(&toml).unwrap(), after, "as it was");
    let newer = noise("linux-image-6.12.9-x", "6.12.9-1", "pool/l/6.12.9.deb");
    let [old, same] = OLD;
    lab.archive.publish("old", &[old, same, newer]);
    lab.run(&["kernels", "update"])
        .assert_code(0)
        .assert_out("6.12\t6.12.3-1 -> 6.12.9-1\nexact\t6.12.3-1 (unchanged)\n");
}

#[test]
fn a_pin_outside_any_checkout_makes_a_kernels_toml() {
    let lab = Lab::new();
    let place = lab.kiln.path("elsewhere");
    fs::create_dir(&place).unwrap();
    fs::create_dir_all(lab.archive.path("dists")).unwrap();
    let output = lab
        .call(&["kernels", "pin", "debian:6.1"])
        .env("KILN_CONFIG", "")
        .env(
            "KILN_APT_MIRROR",
            format!("file:{}", lab.archive.path("").display()),
        )
        .cwd(&place)
        .run();
    // The archive is not Debian's, and has none of its suites.
    output
        .assert_code(96)
        .assert_err_contains("what the pool \"debian\" has is not in the cache")
        .assert_err_contains("no other suite of the pool");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
}

#[test]
fn a_run_says_which_packages_it_took_and_prune_leaves_what_it_uses() {
    let own = Kiln::new();
    let material = Material::of(&own);
    let lab = Lab::empty();
    let tree = own.path("tree");
    material.unpack(&tree, &[]);
    let path = "pool/l/linux-image-test_6.1.9-1_amd64.deb";
    let name = format!("linux-image-{}-x", material.release);
    package(&tree, &name, "6.1.9-1", &lab.archive.path(path));
    lab.archive.publish("old", &[noise(&name, "6.1.9-1", path)]);
    lab.archive.publish("new", &[]);
    let toml = lab.kiln.work().join("kernels.toml");
    let text = fs::read_to_string(&toml).unwrap();
    // The kernel is in use while its test runs, and the test sees it.
    let prune = "touch started; until [ -e pruned ]; do sleep 0.2; done";
    fs::write(
        &toml,
        format!(
            "{text}[suites.s]\nrunner = \"command\"\ncommand = [\"sh\", \"-c\", \"{prune}\"]\n"
        ),
    )
    .unwrap();
    let run = lab.kiln.path("run");
    let running = lab
        .kiln
        .vm(["run", "-k", "p:6.1", "--rw", ".", "--run-dir"])
        .arg(&run)
        .arg("s")
        .env("no_proxy", "127.0.0.1")
        .start_without_stdin();
    let begun = std::time::Instant::now();
    while !lab.kiln.work().join("started").exists() {
        assert!(begun.elapsed().as_secs() < 100, "no test has started");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let all = ["kernels", "prune", "--older-than", "0s"];
    let output = lab.run(&all);
    output.assert_code(0);
    assert!(
        output.out().starts_with("kept, in use: apt-"),
        "{}",
        output.out()
    );
    lab.kiln.file("pruned", "");
    running.wait().assert_code(0);

    let events = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let ready = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|event| event["event"] == "kernel_ready")
        .unwrap();
    assert_eq!(ready["kernel"], "p:6.1.9");
    let file = &ready["packages"]["files"][0];
    assert_eq!(
        (&file["package"], &file["version"]),
        (&name.as_str().into(), &"6.1.9-1".into())
    );
    let sum = Command::new("sha1sum")
        .arg(lab.archive.path(path))
        .output()
        .unwrap();
    let sha1 = String::from_utf8(sum.stdout).unwrap()[..40].to_owned();
    assert_eq!(file["sha1"], sha1.as_str());

    // The run is had again from that, once the archive has dropped it all.
    let elsewhere = lab.kiln.path("again");
    fs::create_dir(&elsewhere).unwrap();
    let again = elsewhere.join("kernels.toml");
    fs::write(&again, "").unwrap();
    lab.archive.publish("old", &[]);
    let pin = lab
        .call(&["kernels", "pin", "--run"])
        .arg(&run)
        .arg("--config")
        .arg(&again)
        .run();
    pin.assert_code(0).assert_out("6.1.9\t6.1.9-1\n");
    let fetched = lab
        .call(&["kernels", "fetch", "--offline", "--config"])
        .arg(&again)
        .run();
    fetched.assert_code(0);
    assert!(
        fetched
            .out()
            .starts_with(&format!("6.1.9\t{}\t", material.release))
    );

    let output = lab.run(&[&all[..], &["--dry-run"]].concat());
    assert!(
        output.out().starts_with("would remove apt-"),
        "{}",
        output.out()
    );
    let listed = lab
        .run(&["kernels", "list", "--config", again.to_str().unwrap()])
        .out();
    assert!(
        listed.contains("iB, yes\n") && listed.contains(" in 1 kernels\n"),
        "{listed}"
    );
    let output = lab.run(&all);
    assert!(output.out().starts_with("removed apt-"), "{}", output.out());
    lab.run(&all)
        .assert_code(0)
        .assert_out("nothing to remove\n");
}
