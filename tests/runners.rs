//! kiln as what starts test programs: for cargo, cargo-nextest and `go test -exec`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{Kiln, checkout, take_slot};

/// Copies a project of `tests/data/runners` into the working directory.
fn project(kiln: &Kiln, name: &str) -> PathBuf {
    let from = checkout().join("tests/data/runners").join(name);
    for entry in walkdir::WalkDir::new(&from) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let relative = entry.path().strip_prefix(&from).unwrap();
            let text = fs::read(entry.path()).unwrap();
            kiln.file(Path::new(name).join(relative).to_str().unwrap(), text);
        }
    }
    kiln.work().join(name)
}

fn kiln_path(kiln: &Kiln) -> String {
    let (command, _) = kiln.plain(["exec"]).into_command();
    command.get_program().to_str().unwrap().to_owned()
}

/// kiln as a runner, as one line, which the tools split at blanks.
fn runner(kiln: &Kiln, options: &str) -> String {
    let program = kiln.path("kiln-without-blanks");
    if !program.exists() {
        symlink(kiln_path(kiln), &program).unwrap();
    }
    let program = program.display();
    format!("{program} exec --as-runner {options} -k 6.1 --")
}

/// A tool of the host that starts kiln: it has the host's environment, in which kiln finds this
/// test's directories.
fn tool(kiln: &Kiln, program: impl AsRef<std::ffi::OsStr>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    let (own, _) = kiln.plain(["exec"]).into_command();
    for (name, value) in own.get_envs() {
        let name = name.to_str().unwrap();
        let ours = name.starts_with("KILN_") || matches!(name, "TMPDIR" | "XDG_STATE_HOME");
        if let (true, Some(value)) = (ours, value) {
            command.env(name, value);
        }
    }
    command
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("RUST_BACKTRACE")
        .env("SOME_TOKEN", "s3cret")
        .current_dir(dir);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn told(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
}

#[test]
fn cargo_and_nextest_run_a_crates_tests_in_a_kernel() {
    let kiln = Kiln::new();
    let _slot = take_slot();
    let crate_dir = project(&kiln, "rust");
    let cargo = |args: &[&str]| {
        let output = tool(&kiln, env!("CARGO"), &crate_dir)
            .args(args)
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_TARGET_DIR", crate_dir.join("target"))
            .env(
                "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
                runner(&kiln, "--reuse=60s"),
            )
            .output();
        output.unwrap()
    };
    let tested = cargo(&["test", "--lib"]);
    let all = told(&tested);
    assert_eq!(tested.status.code(), Some(0), "{all}");
    assert!(
        all.contains("test result: ok. 5 passed; 0 failed; 1 ignored"),
        "{all}"
    );
    assert!(
        !all.contains("kiln:") && !all.contains("SOME_TOKEN"),
        "{all}"
    );
    let failed = cargo(&["test", "--lib", "--", "--ignored"]);
    let all = told(&failed);
    assert_eq!(failed.status.code(), Some(101), "{all}");
    assert!(all.contains("one_and_one_are_three ... FAILED"), "{all}");

    // As cargo-nextest starts the program: once for each list, and once for each test.
    let deps = fs::read_dir(crate_dir.join("target/debug/deps")).unwrap();
    let program = deps
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_none())
        .unwrap();
    let start = |args: &[&str]| {
        let runner = runner(&kiln, "--reuse=60s");
        let mut words = runner.split(' ');
        let mut command = tool(&kiln, words.next().unwrap(), &crate_dir);
        command
            .args(words)
            .arg(&program)
            .args(args)
            .env("CARGO_MANIFEST_DIR", &crate_dir)
            .env("NEXTEST", "1");
        command
    };
    let listed = start(&["--list", "--format", "terse"]).output().unwrap();
    let names = text(&listed.stdout);
    assert_eq!(names.lines().count(), 6, "{}", told(&listed));
    assert!(
        names.lines().all(|line| line.ends_with(": test")),
        "{names}"
    );
    assert_eq!(text(&listed.stderr), "");
    let ignored = start(&["--list", "--format", "terse", "--ignored"]).output();
    assert_eq!(
        text(&ignored.unwrap().stdout),
        "tests::one_and_one_are_three: test\n"
    );
    let running: Vec<_> = names
        .lines()
        .map(|line| {
            let name = line.strip_suffix(": test").unwrap();
            let mut command = start(&[name, "--exact", "--nocapture", "--include-ignored"]);
            command.stdout(std::process::Stdio::piped());
            command.stderr(std::process::Stdio::piped());
            (name, command.spawn().unwrap())
        })
        .collect();
    for (name, child) in running {
        let output = child.wait_with_output().unwrap();
        let fails = name == "tests::one_and_one_are_three";
        assert_eq!(
            output.status.code(),
            Some(if fails { 101 } else { 0 }),
            "{}",
            told(&output)
        );
        assert_eq!(text(&output.stdout).contains("adding"), fails, "{name}");
    }

    let mut stop = tool(&kiln, kiln_path(&kiln), &crate_dir);
    let stopped = stop.args(["exec", "--as-runner", "--reuse=stop", "-k", "6.1"]);
    assert_eq!(stopped.output().unwrap().status.code(), Some(0));
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

/// Go is not among the packages that the tests need, so this runs only where somebody has it.
#[test]
fn go_runs_a_modules_tests_in_a_kernel() {
    let version = Command::new("go").arg("version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        eprintln!("not run: there is no go on the PATH");
        return;
    }
    let kiln = Kiln::new();
    let _slot = take_slot();
    let module = project(&kiln, "go");
    let tested = tool(&kiln, "go", &module)
        .args(["test", "-count=1", "-v", "-exec"])
        .arg(runner(&kiln, ""))
        .arg("./...")
        .env("GOCACHE", kiln.path("go-cache"))
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=mod")
        .output()
        .unwrap();
    let all = told(&tested);
    assert_eq!(tested.status.code(), Some(0), "{all}");
    for line in [
        "--- PASS: TestTheKernelLoadsAProgram",
        "    --- PASS: TestReleases/6.1.",
        "--- SKIP: TestSkipped",
    ] {
        assert!(all.contains(line), "{all}");
    }
    assert!(!all.contains("kiln:"), "{all}");
    kiln.assert_nothing_left();
}

#[test]
fn a_runner_runs_in_one_kernel_and_needs_a_program() {
    let kiln = Kiln::new();
    for (args, said) in [
        (
            &["--as-runner", "-k", "6.1", "-k", "6.12", "--", "true"][..],
            "--as-runner runs a program once, in one kernel, and -k selects 2",
        ),
        (
            &["--reuse", "-k", "6.1"],
            "no command: write it after `--`, as in `kiln exec --reuse -k 6.1 -- uname -r`",
        ),
        (
            &["--reuse=stop", "-k", "6.1", "--", "true"],
            "--reuse=stop ends the VM and runs no command: leave out one of the two",
        ),
        (&["--reuse=soon", "-k", "6.1", "--", "true"], "or `stop`"),
        (
            &["--env-pass", "[", "-k", "6.1", "--", "true"],
            "--env-pass",
        ),
    ] {
        let output = kiln.plain(["exec"]).args(args).run();
        output.assert_code(2).assert_err_contains(said);
    }
}
