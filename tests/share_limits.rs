//! A guest that uses more of the host's files than a share may keep open.

use std::fs;

use crate::support::suite::{events, finished, out};
use crate::support::{Kiln, checkout};

/// Files in each of the trees: three times what the share may keep open.
const FILES: usize = 2_700;

/// The hard limit of these tests: 890 of them are the guest's.
const LIMIT: &str = "ulimit -n 1500; exec \"$@\"";

const SUITE: &str = r#"
[suites.walks]
runner = "command"
command = ["/bin/bash", "{file}"]
each = "tests/*.sh"
"#;

/// Counts the files of a tree, by one listing and one by one.
const WALK: &str = "set -e
    [ $(find tree-a -type f | wc -l) = 2700 ]
    [ $(du -a tree-a | wc -l) = 2710 ]
    cat tree-b/*/* | sort | uniq -c | tee /dev/stderr | grep -q '2700 x'";

/// Keeps as many files open as it may, which is more than the share may.
const HOLD: &str = "ulimit -n 4096
    for file in tree-a/*/*; do
        exec {fd}<$file || { echo \"refused after $opened\"; exit 3; }
        opened=$((opened + 1))
    done 2>&1";

#[test]
fn a_walk_over_more_files_than_may_be_open_ends_and_the_next_test_finds_its_own() {
    let kiln = Kiln::as_ordinary_user();
    for tree in ["tree-a", "tree-b"] {
        for file in 0..FILES {
            let dir = kiln.work().join(tree).join((file / 300).to_string());
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(file.to_string()), "x\n").unwrap();
        }
    }
    for (name, text) in [("1-walk", WALK), ("2-hold", HOLD), ("3-again", WALK)] {
        kiln.file(&format!("tests/{name}.sh"), text);
    }
    let text = fs::read_to_string(checkout().join("kernels.toml")).unwrap();
    let kernels = text.split("\n[suites.").next().unwrap();
    let lock = fs::read(checkout().join("kernels.lock")).unwrap();
    kiln.file("kernels.lock", lock);
    let config = kiln.file("kernels.toml", format!("{kernels}{SUITE}"));
    let kiln = kiln.config(config);

    let output = kiln
        .vm(["run", "-k", "6.1", "-j1", "walks", "--run-dir"])
        .arg(out(&kiln))
        .by(&["sh", "-c", LIMIT, "sh"])
        .run();
    output.assert_code(100);
    let result = |name: &str| finished(&out(&kiln), &format!("walks.{name}.sh"));
    for name in ["1-walk", "3-again"] {
        let result = result(name);
        assert_eq!(result["verdict"], "pass", "{result}");
        assert!(!result.to_string().contains("error 23"), "{result}");
    }
    let held = result("2-hold");
    assert_eq!(held["verdict"], "fail", "{held}");
    assert!(
        held["output"].as_str().unwrap().contains("refused after 4"),
        "{held}"
    );
    let warnings: Vec<_> = events(&out(&kiln))
        .into_iter()
        .filter(|event| event["event"] == "warning")
        .map(|event| event.to_string())
        .collect();
    let told: Vec<_> = warnings
        .iter()
        .filter(|line| line.contains("hard limit 1500") && line.contains("ulimit -Hn"))
        .collect();
    assert_eq!(told.len(), 1, "{warnings:?}");
    assert!(told[0].contains("walks.2-hold.sh"), "{told:?}");
}

#[test]
fn a_low_limit_of_open_files_is_reported_with_what_it_means() {
    let kiln = Kiln::as_ordinary_user();
    let output = kiln.plain(["doctor"]).by(&["sh", "-c", LIMIT, "sh"]).run();
    let told = output.out();
    let line = told.lines().find(|line| line.contains("open files"));
    let line = line.unwrap_or_else(|| panic!("{told}"));
    assert!(line.starts_with("warn"), "{line}");
    assert!(
        line.contains("limit 1500: a guest may use 890 files"),
        "{line}"
    );
    assert!(told.contains("LimitNOFILE="), "{told}");
}
