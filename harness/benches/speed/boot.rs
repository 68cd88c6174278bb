//! A bare boot, and `kiln exec -- /bin/true`.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use kiln::internals::bare_boot::BareVm;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use tokio::process::Command;

use crate::sample::Sample;
use crate::{KILN, Result, verdict};

/// How long `kiln exec` may take, relative to a bare boot.
const TARGET: f64 = 1.2;

/// Far longer than any boot: anything longer is a hang.
const DEADLINE: Duration = Duration::from_secs(120);

/// How long one boot takes.
struct Cost {
    /// From the process's start to its end.
    wall: Duration,
    /// CPU time of it and its children, including QEMU: other work on the machine stretches the
    /// wall time, but hardly this.
    cpu: Duration,
}

/// Samples of one way to boot.
#[derive(Default)]
struct Samples {
    wall: Sample,
    cpu: Sample,
}

impl Samples {
    fn add(&mut self, cost: &Cost) {
        self.wall.add(cost.wall);
        self.cpu.add(cost.cpu);
    }
}

/// One kernel and its two ways.
struct Contest {
    kernel: String,
    vm: BareVm,
    bare: Samples,
    exec: Samples,
}

/// Alternates bare boots and `kiln exec`, kernel after kernel, `rounds` times.
pub(crate) async fn measure(kernels: &[String], rounds: u32) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("kiln-bench-").tempdir()?;
    let mut contests = Vec::new();
    for (number, kernel) in kernels.iter().enumerate() {
        let dir = dir.path().join(number.to_string());
        let vm = BareVm::prepare(kernel, Path::new(KILN), &dir, DEADLINE).await?;
        // Not measured: fills kiln's caches and the host's page cache.
        exec(kernel).await?;
        bare_boot(&vm).await?;
        contests.push(Contest {
            kernel: kernel.clone(),
            vm,
            bare: Samples::default(),
            exec: Samples::default(),
        });
    }
    for round in 1..=rounds {
        eprintln!("bench: boots, round {round} of {rounds}");
        for contest in &mut contests {
            contest.bare.add(&bare_boot(&contest.vm).await?);
            contest.exec.add(&exec(&contest.kernel).await?);
        }
    }
    for contest in &contests {
        println!(
            "{} under {}, median of {rounds} (shortest to longest)",
            contest.kernel,
            contest.vm.accelerator()
        );
        let (bare, exec) = (&contest.bare, &contest.exec);
        compare("wall time", &bare.wall, &exec.wall);
        compare("CPU time", &bare.cpu, &exec.cpu);
        println!(
            "  target for the wall time: at most {TARGET}: {}",
            verdict(exec.wall.median_over(&bare.wall) <= TARGET)
        );
    }
    Ok(())
}

fn compare(what: &str, bare: &Sample, exec: &Sample) {
    println!("  {what:<10} bare boot to power-off  {bare}");
    println!("  {what:<10} kiln exec -- /bin/true  {exec}");
    println!(
        "  {what:<10} ratio                   {:7.2}    (of the shortest {:.2})",
        exec.median_over(bare),
        exec.shortest_over(bare)
    );
}

/// From QEMU's start to its end.
async fn bare_boot(vm: &BareVm) -> Result<Cost> {
    let (start, cpu) = (Instant::now(), children()?);
    tokio::time::timeout(DEADLINE, vm.boot())
        .await
        .map_err(|_| "a bare boot hangs")??;
    Ok(Cost {
        wall: start.elapsed(),
        cpu: children()?.saturating_sub(cpu),
    })
}

/// From kiln's start to its end.
async fn exec(kernel: &str) -> Result<Cost> {
    let (start, cpu) = (Instant::now(), children()?);
    let output = Command::new(KILN)
        .args(["exec", "-k", kernel, "--", "/bin/true"].map(OsStr::new))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let cost = Cost {
        wall: start.elapsed(),
        cpu: children()?.saturating_sub(cpu),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("kiln exec ended with {}: {said}", output.status).into());
    }
    Ok(cost)
}

/// CPU time of all children that have ended, and of theirs.
fn children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros)?))
}
