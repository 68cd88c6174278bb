//! What a command costs in a VM that is up, beyond the command itself.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::sample::Sample;
use crate::{KILN, Result, verdict};

/// How much each start after the first may cost beyond the command.
const TARGET: Duration = Duration::from_millis(100);
/// Starts of one round.
const STARTS: u32 = 5;
/// Commands of one measurement in the guest.
const IN_GUEST: u32 = 20;

/// Compares `true` through `kiln exec --reuse` with `true` that a shell in the guest starts.
pub(crate) fn measure(kernel: &str, rounds: u32) -> Result<()> {
    let kept = Kept { kernel };
    let begun = Instant::now();
    kept.run(&["/bin/true"])?;
    let first = begun.elapsed();
    let count = format!(
        "i=0; a=$(date +%s%N); while [ $i -lt {IN_GUEST} ]; do /bin/true; i=$((i+1)); done; \
         b=$(date +%s%N); echo $((b-a))"
    );
    let (mut starts, mut within) = (Sample::default(), Sample::default());
    for _ in 0..rounds {
        for _ in 0..STARTS {
            let began = Instant::now();
            kept.run(&["/bin/true"])?;
            starts.add(began.elapsed());
        }
        let nanoseconds: u64 = kept.run(&["/bin/sh", "-c", &count])?.trim().parse()?;
        within.add(Duration::from_nanos(nanoseconds) / IN_GUEST);
    }
    let beyond = starts.median().saturating_sub(within.median());
    println!("{kernel}, `true` in a VM that is kept, medians; the first start took {first:.1?}");
    println!("  kiln exec --reuse         {starts}");
    println!("  the guest's shell         {within}");
    println!(
        "  beyond the command        {beyond:.1?}   (target at most {} ms: {})",
        TARGET.as_millis(),
        verdict(beyond <= TARGET)
    );
    Ok(())
}

/// A kept VM; ended when dropped.
struct Kept<'k> {
    kernel: &'k str,
}

impl Kept<'_> {
    /// Runs a command; returns what it printed.
    fn run(&self, command: &[&str]) -> Result<String> {
        let output = Command::new(KILN)
            .args(["exec", "--reuse=2m", "-k", self.kernel, "--"])
            .args(command)
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let stop = ["exec", "--reuse=stop", "-k", self.kernel];
        if let Err(error) = Command::new(KILN).args(stop).status() {
            eprintln!("bench: cannot stop the VM: {error}");
        }
    }
}
