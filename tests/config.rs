//! Mistakes in a `kernels.toml`, and kernels that do not exist: reported before anything starts,
//! with the line and with what is allowed.

use crate::support::{Kiln, Output};

/// A catalogue without mistakes.
const GOOD: &str = r#"
[kernels."5.10"]
path = "five"
[kernels."6.1"]
path = "six"
[kernels."6.12"]
path = "twelve"
[groups]
quick = ["5.10", "6.*"]
"#;

fn kiln(catalogue: &str) -> Kiln {
    let kiln = Kiln::with_empty_cache();
    let file = kiln.file("kernels.toml", catalogue);
    kiln.config(file)
}

/// The commands that read the catalogue; the last two boot kernels, and leave
/// their own exit codes to the guest.
const COMMANDS: [(&[&str], i32); 6] = [
    (&["kernels", "list"], 96),
    (&["kernels", "fetch"], 96),
    (&["run", "-k", "a"], 96),
    (&["list"], 96),
    (&["exec", "-k", "a", "--", "true"], 125),
    (&["shell", "-k", "a"], 125),
];

/// Every command refuses `catalogue` with its own code and prints all `parts`, each with its line.
#[track_caller]
fn refused(catalogue: &str, parts: &[(usize, &str)]) {
    let kiln = kiln(catalogue);
    let file = kiln.work().join("kernels.toml");
    for (args, code) in COMMANDS {
        let output = kiln.plain(args).run();
        output.assert_code(code).assert_out("");
        for (line, part) in parts {
            let place = format!("{}:{line}: ", file.display());
            let told = output.err();
            let found = told
                .lines()
                .any(|text| text.contains(&place) && text.contains(part));
            assert!(found, "{args:?} does not say {place}… {part}:\n{told}");
        }
    }
    let left: Vec<_> = std::fs::read_dir(kiln.cache()).unwrap().collect();
    assert!(left.is_empty(), "something was cached: {left:?}");
}

#[test]
fn an_unknown_key_is_refused_and_the_allowed_ones_are_listed() {
    refused(
        "[kernels.a]\npath = \"x\"\ncolour = \"red\"\n",
        &[(
            3,
            "unknown key `colour`; allowed here: `apt`, `nix`, `url`, `sha256`, `path`",
        )],
    );
    refused(
        "[defaults]\nmemroy = \"1G\"\n",
        &[(
            2,
            "unknown key `memroy`; allowed here: `memory`, `cpus`, `modules`",
        )],
    );
}

#[test]
fn two_sources_are_refused_at_the_second() {
    let hash = "0".repeat(64);
    refused(
        &format!("[kernels.a]\npath = \"x\"\nurl = \"http://127.0.0.1/k\"\nsha256 = \"{hash}\"\n"),
        &[(
            3,
            "kernel \"a\" has 2 sources (path, url); allowed: exactly one of",
        )],
    );
}

#[test]
fn no_source_at_all_is_refused() {
    refused(
        "[kernels.a]\n",
        &[(1, "has no source; allowed: exactly one of apt, nix, url")],
    );
}

#[test]
fn a_missing_hash_is_refused() {
    refused(
        "\n[kernels.a]\nurl = \"http://127.0.0.1/k\"\n",
        &[(
            3,
            "has a url without sha256; allowed: sha256 = \"64 hexadecimal digits\"",
        )],
    );
}

#[test]
fn a_wrong_type_is_refused() {
    refused(
        "[kernels.a]\npath = 7\n",
        &[(2, "invalid type: integer `7`; allowed here: ")],
    );
    refused(
        "[defaults]\n\nmemory = 2\n",
        &[(3, "invalid type: integer `2`; allowed here: a string")],
    );
}

#[test]
fn a_duplicate_name_is_refused() {
    refused(
        "[kernels.a]\npath = \"x\"\n[kernels.a]\npath = \"y\"\n",
        &[(3, "duplicate key; each name may occur only once")],
    );
}

#[test]
fn a_group_of_unknown_kernels_is_refused() {
    refused(
        "[kernels.a]\npath = \"x\"\n[groups]\nquick = [\"a\", \"b\"]\n",
        &[(
            4,
            "group \"quick\": there is no kernel \"b\"; the kernels are: a",
        )],
    );
}

#[test]
fn all_mistakes_are_reported_at_once() {
    refused(
        "[defaults]\nmemory = \"12Q\"\ncpus = 0\n[kernels.a]\nurl = \"ftp://x/y\"\nsha256 = \"zz\"\n",
        &[
            (2, "\"12Q\" is not a memory size; allowed: "),
            (3, "defaults.cpus is out of range; allowed: 1 to 256"),
            (6, "sha256 is not a hash; allowed: 64 hexadecimal digits"),
        ],
    );
}

#[test]
fn invalid_toml_is_refused_at_its_line() {
    refused(
        "[kernels.a]\npath = \"x\"\n[groups\n",
        &[(3, "unclosed table")],
    );
}

#[test]
fn a_catalogue_that_does_not_exist_is_named() {
    let kiln = Kiln::with_empty_cache();
    let file = kiln.work().join("nowhere.toml");
    let output = kiln.plain(["kernels", "--config"]).arg(&file).run();
    output
        .assert_code(96)
        .assert_err_contains(&format!("cannot read {}", file.display()));
}

#[track_caller]
fn names_the_nearest_first(output: &Output, code: i32, wanted: &str, names: &str, nearest: &str) {
    output
        .assert_code(code)
        .assert_out("")
        .assert_err_contains(&format!(
            "there is no kernel \"{wanted}\"; the kernels are: {names}"
        ))
        .assert_err_contains(&format!("did you mean `-k {nearest}`?"));
}

#[test]
fn an_unknown_kernel_gets_a_list_of_names_the_nearest_first() {
    let kiln = kiln(GOOD);
    for args in [
        &["kernels", "fetch", "-k", "6.11"][..],
        &["kernels", "update", "6.11"],
        &["run", "-k", "6.11"],
        &["run", "-k", "6.12", "-k", "6.11"],
    ] {
        names_the_nearest_first(
            &kiln.plain(args).run(),
            96,
            "6.11",
            "6.1, 6.12, 5.10",
            "6.1",
        );
    }
    for args in [
        &["exec", "-k", "5.1", "--", "true"][..],
        &["shell", "-k", "5.1"],
        &["exec", "--dry-run", "-k", "6.1", "-k", "5.1", "--", "true"],
    ] {
        names_the_nearest_first(
            &kiln.plain(args).run(),
            125,
            "5.1",
            "5.10, 6.1, 6.12",
            "5.10",
        );
    }
}

#[test]
fn an_unknown_group_or_a_glob_without_a_match_is_named() {
    let kiln = kiln(GOOD);
    let output = kiln.plain(["kernels", "fetch", "-k", "@quik"]).run();
    output
        .assert_code(96)
        .assert_err_contains("there is no group \"@quik\"; the groups are: @quick")
        .assert_err_contains("did you mean `-k @quick`?");
    let output = kiln.plain(["exec", "-k", "7.*", "--", "true"]).run();
    output
        .assert_code(125)
        .assert_err_contains("no kernel matches \"7.*\"; the kernels are: 5.10, 6.1, 6.12");
}

#[test]
fn the_nearest_catalogue_above_the_working_directory_is_taken() {
    let kiln = kiln(GOOD);
    let below = kiln.file("deep/er/file", "");
    let output = kiln
        .plain(["kernels"])
        // As if it were not set.
        .env("KILN_CONFIG", "../../kernels.toml")
        .cwd(below.parent().unwrap())
        .run();
    output.assert_code(0);
    assert!(
        output.out().contains("@quick: 5.10, 6.1, 6.12"),
        "{}",
        output.out()
    );
}

#[test]
fn kernels_are_listed_with_source_version_and_whether_they_are_cached() {
    let hash = "0".repeat(64);
    let kiln = kiln(&format!(
        "[kernels.web]\nurl = \"http://127.0.0.1:1/linux.tar.zst\"\nsha256 = \"{hash}\"\n\
         [kernels.deb]\napt = {{ suite = \"sid\", package = \"linux-image-amd64\" }}\n\
         [kernels.mine]\npath = \"nowhere\"\n[groups]\nall = [\"*\"]\n"
    ));
    let output = kiln.plain(["kernels", "list"]).run();
    output.assert_code(0);
    let out = output.out();
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["NAME", "SOURCE", "VERSION", "CACHED"]);
    assert_eq!(
        rows[1],
        ["web", "url", "http://127.0.0.1:1/linux.tar.zst", "-", "no"]
    );
    assert_eq!(
        rows[2],
        ["deb", "apt", "sid", "linux-image-amd64", "-", "no"]
    );
    assert_eq!(rows[3][..2], ["mine", "path"]);
    assert_eq!(out.lines().last(), Some("@all: web, deb, mine"));
    kiln.plain(["kernels"])
        .run()
        .assert_code(0)
        .assert_out(&out);
}

#[test]
fn a_narrow_terminal_cuts_no_line_of_the_list() {
    use nix::pty::{Winsize, openpty};
    use std::io::Read as _;
    let kiln = kiln(
        "[kernels.\"6.12-with-quite-a-long-name\"]\napt = { suite = \"trixie-security\", package = \"linux-image-6.12.*-cloud-amd64\" }\n",
    );
    let wide = kiln.plain(["kernels"]).run().out();
    let size = Winsize {
        ws_row: 10,
        ws_col: 30,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(Some(&size), None).unwrap();
    let (mut command, _) = kiln.plain(["kernels"]).into_command();
    command
        .stdout(pty.slave.try_clone().unwrap())
        .stderr(pty.slave);
    let status = command.spawn().unwrap().wait().unwrap();
    drop(command);
    assert!(status.success());
    let mut bytes = Vec::new();
    // Ends with EIO once the other side is closed.
    let _ = std::fs::File::from(pty.master).read_to_end(&mut bytes);
    let narrow = String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
    assert_eq!(narrow, wide, "a line of a kernel can be searched for");
}
