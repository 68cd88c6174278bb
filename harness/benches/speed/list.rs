//! `kiln list` on many tests.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sample::Sample;
use crate::{KILN, Result, verdict};

const FILES: usize = 25;
const TESTS_PER_FILE: usize = 20;

/// How long listing them may take.
const TARGET: Duration = Duration::from_millis(50);

/// Short enough to be measured more often than a boot.
const TIMES: u32 = 4;

/// Lists generated tests.
pub(crate) fn measure(rounds: u32) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("kiln-bench-").tempdir()?;
    generate(dir.path())?;
    // Not measured: fills kiln's and the host's caches.
    list(dir.path())?;
    let rounds = rounds.saturating_mul(TIMES);
    let mut sample = Sample::default();
    for _ in 0..rounds {
        sample.add(list(dir.path())?);
    }
    println!(
        "kiln list on {} tests, median of {rounds}",
        FILES * TESTS_PER_FILE
    );
    println!(
        "  {sample}   (target under {} ms: {})",
        TARGET.as_millis(),
        verdict(sample.median() < TARGET)
    );
    Ok(())
}

/// Tests in the shape of upstream's.
fn generate(dir: &Path) -> Result<()> {
    let runtime = dir.join("runtime");
    fs::create_dir(&runtime)?;
    for file in 0..FILES {
        let mut text = String::new();
        for test in 0..TESTS_PER_FILE {
            write!(
                text,
                "NAME prints number {test}\n\
                 PROG BEGIN {{ printf(\"%d\\n\", {test}); exit(); }}\n\
                 EXPECT ^{test}$\n\
                 TIMEOUT 5\n\n"
            )?;
        }
        fs::write(runtime.join(format!("file{file:02}")), text)?;
    }
    Ok(())
}

fn list(dir: &Path) -> Result<Duration> {
    let start = Instant::now();
    let output = Command::new(KILN)
        .args(["list", "--dialect", "0.17", "--tests"])
        .arg(dir)
        .stdin(Stdio::null())
        .output()?;
    let time = start.elapsed();
    let lines = String::from_utf8_lossy(&output.stdout).lines().count();
    if !output.status.success() || lines != FILES * TESTS_PER_FILE {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!(
            "kiln list ended with {}, {lines} tests: {said}",
            output.status
        )
        .into());
    }
    Ok(time)
}
