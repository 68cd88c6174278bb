//! What a command and a kernel can be given, up to their limits and beyond, and
//! the processor that a guest has.

use std::process::Command;

use crate::support::Kiln;

/// Ends with status 0 on a processor with AVX.
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
fn two_megabytes_of_arguments_reach_a_program_and_one_that_wants_avx_is_told_what_has_it() {
    let kiln = Kiln::new();
    avx_program(&kiln);
    // Linux takes 131,071 bytes in one, and 2 MiB in all.
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
