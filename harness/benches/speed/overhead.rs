//! How much time kiln itself takes between two tests.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kiln::internals::{Event, Verdict, read_events};

use crate::sample::Sample;
use crate::{KILN, Result, verdict};

/// How long kiln may take for a test under TCG, beyond the time of the test's own processes.
const TARGET: Duration = Duration::from_millis(10);

/// Groups of tests, each followed by the same commands from a shell, so that other load on the
/// machine affects both.
const GROUPS: u32 = 10;
const TESTS_PER_GROUP: u32 = 10;

/// The one command of a test.
const COMMAND: &str = "echo hello";

/// Runs tests that do nothing, and the same commands back to back from a shell in the same VM, as
/// separate tests that print how long that took.
pub(crate) fn measure(kernel: &str, rounds: u32) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("kiln-bench-").tempdir()?;
    generate(dir.path())?;
    let (mut tests, mut commands, mut over) =
        (Sample::default(), Sample::default(), Sample::default());
    for round in 1..=rounds {
        eprintln!("bench: overhead, round {round} of {rounds}");
        let run_dir = dir.path().join(format!("run-{round}"));
        run(kernel, dir.path(), &run_dir)?;
        let (test, command) = means(&run_dir)?;
        tests.add(test);
        commands.add(command);
        over.add(test.saturating_sub(command));
    }
    println!(
        "{kernel}, a test of one shell command, mean of {} in one VM, median of {rounds}",
        GROUPS * TESTS_PER_GROUP
    );
    println!("  kiln, from test to test   {tests}");
    println!("  a shell, back to back     {commands}");
    println!(
        "  beyond the processes      {over}   (target at most {} ms: {})",
        TARGET.as_millis(),
        verdict(over.median() <= TARGET)
    );
    Ok(())
}

/// Groups of tests, and of the same commands from a shell. `/proc/uptime` costs no process.
fn generate(dir: &Path) -> Result<()> {
    let runtime = dir.join("runtime");
    fs::create_dir(&runtime)?;
    let mut text = String::new();
    for group in 0..GROUPS {
        for test in 0..TESTS_PER_GROUP {
            write!(
                text,
                "NAME test {group} {test}\nRUN {COMMAND}\nEXPECT hello\nTIMEOUT 5\n\n"
            )?;
        }
        write!(
            text,
            "NAME shell {group}\n\
             RUN read a rest </proc/uptime; i=0; while [ $i -lt {TESTS_PER_GROUP} ]; do \
             /bin/sh -c '{COMMAND}'; i=$((i+1)); done; \
             read b rest </proc/uptime; echo from $a to $b\n\
             EXPECT from\nTIMEOUT 60\n\n"
        )?;
    }
    fs::write(runtime.join("overhead"), text)?;
    Ok(())
}

fn run(kernel: &str, tests: &Path, run_dir: &Path) -> Result<()> {
    let output = Command::new(KILN)
        .args(["run", "-k", kernel, "-j", "1", "--dialect", "0.17"])
        .args(["--timeout-scale", "50", "--tests"])
        .arg(tests)
        .arg("--run-dir")
        .arg(run_dir)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("kiln run ended with {}: {said}", output.status).into());
    }
    Ok(())
}

/// The time of a test from the end of the previous one to its own end, and the time of a command
/// from the shell.
fn means(run_dir: &Path) -> Result<(Duration, Duration)> {
    let (mut tests, mut commands) = (Vec::new(), Vec::new());
    let mut before = None;
    for record in read_events(&run_dir.join("events.jsonl"))? {
        let Event::TestFinished(result) = record.event else {
            continue;
        };
        if result.verdict != Verdict::Pass {
            return Err(format!("{} did not pass: {:?}", result.id, result.reason).into());
        }
        let now = Duration::from_millis(record.at_ms);
        if result.id.starts_with("overhead.shell ") {
            commands.push(shell_time(&result.output)?);
        } else if let Some(before) = before {
            tests.push(now.saturating_sub(before));
        }
        before = Some(now);
    }
    let mean = |times: &[Duration], each: u32| {
        let count = u32::try_from(times.len())? * each;
        let sum: Duration = times.iter().sum();
        sum.checked_div(count)
            .ok_or_else(|| Box::<dyn std::error::Error>::from("no test was run"))
    };
    Ok((mean(&tests, 1)?, mean(&commands, TESTS_PER_GROUP)?))
}

/// From the first to the second number of `from 12.34 to 56.78`.
fn shell_time(output: &str) -> Result<Duration> {
    let line = output.lines().last().unwrap_or_default();
    let words: Vec<&str> = line.split(' ').collect();
    let ["from", from, "to", to] = words.as_slice() else {
        return Err(format!("the shell printed no times: {line}").into());
    };
    let seconds = to.parse::<f64>()? - from.parse::<f64>()?;
    Ok(Duration::try_from_secs_f64(seconds)?)
}
