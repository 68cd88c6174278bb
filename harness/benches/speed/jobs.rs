//! Compares two VMs at once with one, on the smoke selection.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kiln::internals::{Event, read_events};

use crate::{KILN, Result, verdict};

/// The kernels of `make run`.
const KERNELS: [&str; 3] = ["5.10", "6.1", "6.12"];
/// How long `-j 2` may take, relative to the wall time of `-j 1`.
const TARGET: f64 = 0.6;

/// Runs the selection once with each number, one after another, since a run takes minutes. `-j 1`
/// is first, so that `-j 2` knows the times of its tests.
pub(crate) fn measure() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("kiln-bench-").tempdir()?;
    let filter = selection()?;
    let mut times = Vec::new();
    let mut counts: Option<BTreeMap<String, usize>> = None;
    for jobs in ["1", "2"] {
        eprintln!("bench: the smoke selection with -j {jobs}");
        let run_dir = dir.path().join(jobs);
        times.push(run(
            Path::new(KILN),
            &KERNELS,
            &filter,
            Some(jobs),
            &run_dir,
        )?);
        let found = verdicts(&run_dir)?;
        if let Some(before) = &counts
            && *before != found
        {
            eprintln!("bench: the verdicts differ: {before:?}, then {found:?}");
        }
        counts = Some(found);
    }
    let [one, two] = times[..] else {
        return Err("two runs have two times".into());
    };
    let ratio = two.as_secs_f64() / one.as_secs_f64();
    println!(
        "the smoke selection on {}: {:?}",
        KERNELS.join(", "),
        counts.unwrap_or_default()
    );
    println!("  -j 1   {:7.1} s", one.as_secs_f64());
    println!("  -j 2   {:7.1} s", two.as_secs_f64());
    println!(
        "  ratio  {ratio:7.2}   (target at most {TARGET}: {})",
        verdict(ratio <= TARGET)
    );
    Ok(())
}

/// The smoke selection, as `kiln run -t` takes it.
pub(crate) fn selection() -> Result<String> {
    let filter = fs::read_to_string("tests/data/smoke.filter")?;
    let patterns: Vec<&str> = filter
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    Ok(patterns.join(":"))
}

/// From kiln's start to its end. Without `jobs` it has as many VMs as it chooses.
pub(crate) fn run(
    kiln: &Path,
    kernels: &[&str],
    filter: &str,
    jobs: Option<&str>,
    run_dir: &Path,
) -> Result<Duration> {
    let start = Instant::now();
    let mut command = Command::new(kiln);
    command.args(["run", "-t", filter, "--run-dir"]);
    command.arg(run_dir);
    for kernel in kernels {
        command.args(["-k", kernel]);
    }
    if let Some(jobs) = jobs {
        command.args(["-j", jobs]);
    }
    let output = command.arg("bpftrace").stdin(Stdio::null()).output()?;
    let time = start.elapsed();
    // 100: tests failed, which takes as long.
    if !matches!(output.status.code(), Some(0 | 100)) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("kiln run ended with {}: {said}", output.status).into());
    }
    Ok(time)
}

/// How many tests ended how.
pub(crate) fn verdicts(run_dir: &Path) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for record in read_events(&run_dir.join("events.jsonl"))? {
        if let Event::TestFinished(result) = record.event {
            *counts.entry(result.verdict.to_string()).or_default() += 1;
        }
    }
    Ok(counts)
}
