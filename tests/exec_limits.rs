//! Arguments for commands and kernels, up to their limits and beyond, and the guest's CPU model.

use std::process::Command;

use crate::support::suite::{finished, out};
use crate::support::{Kiln, checkout};

/// Exits with 0 on a processor with AVX.
const AVX: &str =
    "int main(void) { __asm__ volatile(\"vxorps %ymm0, %ymm0, %ymm0\"); return 0; }\n";

fn avx_program(kiln: &Kiln) {
    let source = kiln.file("avx.c", AVX);
    let program = kiln.work().join("avx");
    let status = Command::new("gcc")
        .arg(source)
        .arg("-o")
        .arg(program)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn two_megabytes_of_arguments_reach_a_program_and_sigill_names_the_processor_with_avx() {
    let kiln = Kiln::new();
    avx_program(&kiln);
    // Linux allows 131,071 bytes in one, and 2 MiB in total.
    let argument = "x".repeat(131_071);
    let variable = "v".repeat(131_000);
    let script = "echo $# ${#1} ${#14} ${#BIG}; exec ./avx";
    let output = kiln
        .vm([
            "exec", "-k", "6.1", "-e", "BIG", "--", "/bin/sh", "-c", script, "sh",
        ])
        .args(vec![argument.as_str(); 14])
        .env("BIG", &variable)
        .run();
    output
        .assert_code(132)
        .assert_out("14 131071 131071 131000\n");
    output
        .assert_err_contains("ended by SIGILL")
        .assert_err_contains("--cpu max");
}

#[test]
fn a_guest_has_the_processor_that_is_asked_for() {
    let kiln = Kiln::new();
    avx_program(&kiln);
    let output = kiln
        .vm(["exec", "-k", "6.12", "--cpu", "max", "--", "/bin/sh", "-c"])
        .arg("grep -c -w avx2 /proc/cpuinfo; ./avx; echo $?")
        .run();
    output.assert_code(0).assert_out("1\n0\n");
    assert!(!output.err().contains("SIGILL"), "{}", output.err());
}

#[test]
fn a_command_line_that_a_kernel_would_cut_off_is_refused_before_it_boots() {
    let kiln = Kiln::new();
    let long = "a".repeat(2048);
    let output = kiln
        .plain(["exec", "-k", "6.1", "--append", &long, "--", "true"])
        .run();
    output
        .assert_code(125)
        .assert_err_contains("a kernel takes 2047 at most")
        .assert_err_contains("shorten --append");
    kiln.assert_no_temporary_files();
}

#[test]
fn a_suite_says_why_a_command_did_not_start_or_died_by_sigill_and_goes_on() {
    let kiln = Kiln::new();
    avx_program(&kiln);
    let text = std::fs::read_to_string(checkout().join("kernels.toml")).unwrap();
    let kernels = text.split("\n[suites.").next().unwrap();
    let variable = "v".repeat(131_072);
    let suites = [
        ("long", "true", variable.as_str()),
        ("avx", "./avx", ""),
        ("good", "true", ""),
    ]
    .map(|(name, program, value)| {
        format!(
            "\n[suites.{name}]\nrunner = \"command\"\ncommand = [\"{program}\"]\n\
             env = {{ VALUE = \"{value}\" }}\n"
        )
    });
    let lock = std::fs::read(checkout().join("kernels.lock")).unwrap();
    kiln.file("kernels.lock", lock);
    let file = kiln.file("kernels.toml", [kernels, &suites.concat()].concat());
    let kiln = kiln.config(file);
    let output = kiln
        .vm([
            "run",
            "-k",
            "6.1",
            "-j1",
            "--timeout-scale",
            "5",
            "--build-scale",
            "4",
        ])
        .args(["--run-dir", out(&kiln).to_str().unwrap()])
        .args(["long", "avx", "good"])
        .run();
    output.assert_code(100);
    let said = [output.out(), output.err()].concat();
    assert!(said.contains("avx.command: ended by SIGILL"), "{said}");
    let result = |id| finished(&out(&kiln), id);
    assert_eq!(result("long.command")["verdict"], "error");
    let reason = result("long.command")["reason"].to_string();
    assert!(reason.contains("VALUE has 131078 bytes"), "{reason}");
    assert_eq!(result("avx.command")["verdict"], "fail");
    assert_eq!(result("good.command")["verdict"], "pass");
    // Both scales apply.
    assert!(
        said.contains("time limits are multiplied by 20.0"),
        "{said}"
    );
}
