//! The script of `action.yml`: a real run with a workflow's inputs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::support::suite;
use crate::support::web::{Page, WebServer, dead_url};
use crate::support::{Kiln, Output, checkout, run_command};
use sha2::{Digest as _, Sha256};

/// Runs the script like a job's step, with kiln on the job's PATH.
fn step(kiln: &Kiln, what: &str, inputs: &[(&str, &str)], boots: bool) -> Output {
    step_with(kiln, what, inputs, &[], boots)
}

/// The same with further variables.
fn step_with(
    kiln: &Kiln,
    what: &str,
    inputs: &[(&str, &str)],
    variables: &[(&str, &str)],
    boots: bool,
) -> Output {
    let bin = kiln.path("work/bin");
    fs::create_dir_all(&bin).unwrap();
    let own = bin.join("kiln");
    if !own.exists() {
        symlink(env!("CARGO_BIN_EXE_kiln"), own).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let invocation = if boots {
        kiln.vm([what])
    } else {
        kiln.plain([what])
    };
    let (like, slot) = invocation.into_command();
    let mut command = std::process::Command::new(checkout().join("scripts/github-action"));
    command.arg(what).env_clear().current_dir(kiln.work());
    for (name, value) in like.get_envs() {
        command.env(name, value.unwrap());
    }
    command
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("GITHUB_ACTION_PATH", checkout())
        .env("GITHUB_OUTPUT", kiln.file("output", ""))
        .env("GITHUB_PATH", kiln.file("paths", ""))
        .env("RUNNER_TEMP", kiln.path("tmp"));
    for (name, value) in inputs {
        command.env(format!("INPUT_{name}"), value);
    }
    command.envs(variables.iter().copied());
    run_command(command, slot)
}

/// What the step passed to later ones.
fn outputs(kiln: &Kiln) -> BTreeMap<String, String> {
    let text = fs::read_to_string(kiln.path("work/output")).unwrap();
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

/// Installs kiln on a machine without it, from a release page that this test serves, or else by a
/// `nix` that only says that it was started.
fn install(kiln: &Kiln, tag: &str, releases: &str) -> Output {
    let tools = kiln.path("work/tools");
    fs::create_dir_all(&tools).unwrap();
    for name in [
        "bash",
        "curl",
        "sha256sum",
        "grep",
        "uname",
        "mkdir",
        "rm",
        "mv",
        "chmod",
        "env",
    ] {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|dir| dir.join(name))
            .find(|path| path.exists());
        let _ = symlink(
            found.unwrap_or_else(|| panic!("{name} is missing")),
            tools.join(name),
        );
    }
    for name in ["nix", "qemu-system-x86_64", "qemu-system-aarch64"] {
        kiln.program(&format!("tools/{name}"), "#!/bin/sh\necho built by nix\n");
    }
    let mut command = std::process::Command::new(checkout().join("scripts/github-action"));
    command
        .arg("install")
        .env_clear()
        .env("PATH", &tools)
        .env("GITHUB_ACTION_PATH", checkout())
        .env("GITHUB_PATH", kiln.file("paths", ""))
        .env("RUNNER_TEMP", kiln.path("tmp"))
        .env("ACTION_REF", tag)
        .env("ACTION_REPOSITORY", "some/kiln")
        .env("KILN_RELEASES", releases)
        .env("no_proxy", "127.0.0.1");
    run_command(command, None)
}

#[test]
fn a_release_s_binary_is_installed_if_its_checksum_is_right_and_built_otherwise() {
    const BINARY: &str = "#!/bin/sh\necho downloaded\n";
    let file = format!("kiln-{}-linux", std::env::consts::ARCH);
    let digest = Sha256::digest(BINARY);
    let digest: String = digest
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let leak = |text: String| -> &'static str { text.leak() };
    let server = WebServer::start([
        (leak(format!("/v1/{file}")), Page::new(BINARY)),
        ("/v1/SHA256SUMS", Page::new(format!("{digest}  {file}\n"))),
        (
            leak(format!("/v2/{file}")),
            Page::new("#!/bin/sh\necho evil\n"),
        ),
        ("/v2/SHA256SUMS", Page::new(format!("{digest}  {file}\n"))),
        (leak(format!("/v3/{file}")), Page::new(BINARY)),
        ("/v3/SHA256SUMS", Page::new(format!("{digest}  other\n"))),
    ]);
    let pages = server.url("");
    let installed = |kiln: &Kiln| kiln.path("tmp/kiln/bin/kiln").exists();

    let kiln = Kiln::with_empty_cache();
    let output = install(&kiln, "v1", &pages);
    output.assert_code(0);
    assert!(!output.out().contains("built by nix"), "{}", output.out());
    let started = std::process::Command::new(kiln.path("tmp/kiln/bin/kiln")).output();
    assert_eq!(started.unwrap().stdout, b"downloaded\n");
    let path = fs::read_to_string(kiln.path("work/paths")).unwrap();
    assert_eq!(path.trim_end(), kiln.path("tmp/kiln/bin").to_str().unwrap());

    let nobody = dead_url("");
    let refused = format!("cannot download {nobody}/v1/SHA256SUMS; building");
    for (tag, releases, said) in [
        (
            "v2",
            pages.as_str(),
            "is not the file that the release's SHA256SUMS names",
        ),
        (
            "v3",
            &pages,
            "is not the file that the release's SHA256SUMS names",
        ),
        ("v4", &pages, "/v4/SHA256SUMS; building kiln instead"),
        ("v1", &nobody, &refused),
    ] {
        let kiln = Kiln::with_empty_cache();
        let output = install(&kiln, tag, releases);
        output.assert_code(0);
        let out = output.out();
        let warnings: Vec<&str> = out
            .lines()
            .filter(|line| line.starts_with("::warning::"))
            .collect();
        assert_eq!(warnings.len(), 1, "{out}");
        assert!(warnings[0].contains(said), "{out}");
        assert!(out.contains("built by nix"), "{out}");
        assert!(!installed(&kiln));
    }
    // A branch has no release: nothing is asked for.
    let kiln = Kiln::with_empty_cache();
    let output = install(&kiln, "main", &nobody);
    assert!(output.out().contains("built by nix") && !output.out().contains("::warning"));
}

#[test]
fn a_workflow_s_inputs_become_a_run_in_a_kernel() {
    let kiln = suite::suite(
        "NAME right\nRUN echo right\nEXPECT right\nTIMEOUT 20\n\n\
         NAME wrong\nRUN echo wrong\nEXPECT right\nTIMEOUT 20\n\n",
    );
    step(&kiln, "install", &[], false).assert_code(0);
    let inputs = [
        ("KERNELS", "6.1\n"),
        ("TESTS", "tests"),
        ("SHARD", ""),
        ("ARGS", "--dialect\n0.17\n--filter\n^suite\\.\n"),
    ];
    step(&kiln, "run", &inputs, true).assert_code(100);
    let outputs = outputs(&kiln);
    assert_eq!(outputs["exit-code"], "100");
    let run_dir = PathBuf::from(&outputs["run-dir"]);
    let verdicts = suite::verdicts(&run_dir);
    let expected = [("suite.right", "pass"), ("suite.wrong", "fail")]
        .map(|(id, verdict)| ("6.1".to_owned(), id.to_owned(), verdict.to_owned()));
    assert_eq!(verdicts, expected);
    kiln.assert_nothing_left();
}

#[test]
fn an_input_is_words_and_never_a_script() {
    let kiln = Kiln::with_empty_cache();
    kiln.program("bin/kiln", "#!/bin/sh\nprintf '<%s>\\n' \"$@\" > argv\n");
    let inputs = [
        ("KERNELS", "@quick 7.*\n$(touch hacked)"),
        ("SUITES", "one\n`touch hacked`"),
        ("CONFIG", "a b.toml; touch hacked"),
        ("BPFTRACE", "-x"),
        ("PACKAGE", ".#one\n\n.#two words"),
        ("ARGS", "-t\n^a b$\n\n$HOME"),
    ];
    step(&kiln, "run", &inputs, false).assert_code(0);
    assert!(!kiln.path("work/hacked").exists());
    let argv = fs::read_to_string(kiln.path("work/argv")).unwrap();
    let expected = "\
<--config>
<a b.toml; touch hacked>
<run>
<--run-dir>
<RUN>
<--kernel>
<@quick>
<--kernel>
<7.*>
<--kernel>
<$(touch>
<--kernel>
<hacked)>
<--bpftrace>
<-x>
<--package>
<.#one>
<--package>
<.#two words>
<-t>
<^a b$>
<$HOME>
<-->
<one>
<`touch>
<hacked`>
";
    let run_dir = &outputs(&kiln)["run-dir"];
    assert_eq!(argv.replace(run_dir.as_str(), "RUN"), expected);
    assert_eq!(outputs(&kiln)["exit-code"], "0");
}

#[test]
fn the_base_branch_s_last_run_is_compared_with_if_there_is_one() {
    let kiln = Kiln::with_empty_cache();
    kiln.program("bin/kiln", "#!/bin/sh\nprintf '<%s>' \"$@\" > argv\n");
    let inputs = [("BASELINE", "branch"), ("ARTIFACT", "kiln-run")];
    let argv = || fs::read_to_string(kiln.path("work/argv")).unwrap();
    // No run of the branch, then a run without the artifact, then one with it.
    for (list, download, compares) in [
        ("exit 1", "exit 1", false),
        ("echo 17", "exit 1", false),
        (
            "echo 17",
            "shift; while [ $# -gt 1 ]; do [ $1 = --dir ] && mkdir -p $2; shift; done",
            true,
        ),
    ] {
        let gh = format!("#!/bin/sh\ncase $2 in\nlist) {list} ;;\ndownload) {download} ;;\nesac\n");
        kiln.program("bin/gh", gh);
        let environment = [
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_WORKFLOW", "CI"),
            ("GITHUB_BASE_REF", "main"),
        ];
        step_with(&kiln, "baseline", &inputs, &environment, false).assert_code(0);
        step(&kiln, "run", &inputs, false).assert_code(0);
        assert_eq!(argv().contains("<--baseline>"), compares, "{}", argv());
    }
    step(&kiln, "run", &[("BASELINE", "gone/run")], false).assert_code(0);
    assert!(!argv().contains("baseline"), "{}", argv());
}

#[test]
fn without_nix_and_cargo_the_action_says_what_it_builds_with() {
    let kiln = Kiln::with_empty_cache();
    let script = checkout().join("scripts/github-action");
    let command = std::process::Command::new("/bin/bash")
        .arg(script)
        .arg("install")
        .env("PATH", "/nonexistent")
        .env("GITHUB_ACTION_PATH", checkout())
        .env("RUNNER_TEMP", kiln.path("tmp"))
        .output()
        .unwrap();
    assert_eq!(command.status.code(), Some(1));
    let out = String::from_utf8_lossy(&command.stdout);
    assert!(out.contains("neither"), "{out}");
}
