//! What one boot or one run of kiln costs.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use tokio::process::Command;

use crate::sample::Sample;
use crate::{KILN, Result};

/// How long one boot or run takes.
pub(crate) struct Cost {
    /// From the process's start to its end.
    pub(crate) wall: Duration,
    /// CPU time of it and its children, including QEMU: other work on the machine stretches the
    /// wall time, but hardly this.
    pub(crate) cpu: Duration,
}

/// Samples of one way to do something.
#[derive(Default)]
pub(crate) struct Samples {
    pub(crate) wall: Sample,
    pub(crate) cpu: Sample,
}

impl Samples {
    pub(crate) fn add(&mut self, cost: &Cost) {
        self.wall.add(cost.wall);
        self.cpu.add(cost.cpu);
    }
}

/// Prints two ways and their ratio.
pub(crate) fn compare(what: &str, [first, second]: [&str; 2], base: &Sample, other: &Sample) {
    let width = first.len().max(second.len());
    println!("  {what:<10} {first:<width$}  {base}");
    println!("  {what:<10} {second:<width$}  {other}");
    println!(
        "  {what:<10} {:<width$}  {:7.2}    (of the shortest {:.2})",
        "ratio",
        other.median_over(base),
        other.shortest_over(base)
    );
}

/// `kiln exec ARGS -- /bin/true`, from kiln's start to its end.
pub(crate) async fn exec(args: &[&str]) -> Result<Cost> {
    let args = ["exec"].iter().chain(args).chain(&["--", "/bin/true"]);
    kiln(args, &[0]).await
}

/// The cost of kiln with these arguments, if it ends with one of these exit codes.
pub(crate) async fn kiln(
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    codes: &[i32],
) -> Result<Cost> {
    let (start, cpu) = (Instant::now(), children()?);
    let output = Command::new(KILN)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let cost = Cost {
        wall: start.elapsed(),
        cpu: children()?.saturating_sub(cpu),
    };
    if !output
        .status
        .code()
        .is_some_and(|code| codes.contains(&code))
    {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("kiln ended with {}: {said}", output.status).into());
    }
    Ok(cost)
}

/// CPU time of all children that have ended, and of theirs.
pub(crate) fn children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros)?))
}
