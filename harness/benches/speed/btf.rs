//! `kiln btf` beside bpftool and pahole, on the same BTF.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::sample::Sample;
use crate::{KILN, Result, verdict};

/// So many kernels are asked one question: those that were named, in turn.
const KERNELS: usize = 20;

/// How long the answer may take.
const SHOW: Duration = Duration::from_millis(300);

/// How long the differences of two kernels may take.
const DIFF: Duration = Duration::from_secs(1);

/// How long a kernel and its modules may take that were never read.
const COLD: Duration = Duration::from_secs(2);

/// How many times faster than the others kiln is to be.
const FACTOR: f64 = 10.0;

/// What may be resident, in KiB.
const MEMORY: u64 = 300 << 10;

/// The question.
const NAME: &str = "task_struct.pid";

/// Asks kiln, bpftool and pahole the same of the same kernels.
pub(crate) fn measure(kernels: &[String], rounds: u32) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("kiln-bench-").tempdir()?;
    // Raw BTF under twenty names: the others read files, and kiln all of them, too.
    let mut directories = Vec::new();
    for index in 0..KERNELS {
        let kernel = &kernels[index % kernels.len()];
        let directory = dir.path().join(format!("{index:02}"));
        let mut extract = kiln(["btf", "extract", "-k", kernel]);
        run(extract.arg(&directory))?;
        directories.push(directory);
    }
    let mut show = vec!["btf".to_owned(), "show".to_owned(), NAME.to_owned()];
    for directory in &directories {
        show.extend(["-k".to_owned(), directory.display().to_string()]);
    }
    // Not measured: fills kiln's and the host's caches.
    let started = Instant::now();
    run(&mut kiln(&show))?;
    let cold = started.elapsed() / u32::try_from(KERNELS)?;
    // So far, all children were kiln.
    let resident = resident()?;
    let (mut ours, mut bpftool, mut pahole) = <(Sample, Sample, Sample)>::default();
    for _ in 0..rounds {
        ours.add(timed(&mut kiln(&show))?);
        bpftool.add(of_each(&directories, |vmlinux| {
            let mut command = Command::new("bpftool");
            command
                .args(["btf", "dump", "file"])
                .arg(vmlinux)
                .args(["format", "c"]);
            command
        })?);
        pahole.add(of_each(&directories, |vmlinux| {
            let mut command = Command::new("pahole");
            command
                .args(["-F", "btf", "-C", "task_struct"])
                .arg(vmlinux);
            command
        })?);
    }
    println!("{NAME} on {KERNELS} kernels, median of {rounds}");
    println!(
        "  kiln btf show   {ours}   (target under {} ms: {})",
        SHOW.as_millis(),
        verdict(ours.median() < SHOW)
    );
    for (name, others) in [("bpftool dump c", &bpftool), ("pahole -C     ", &pahole)] {
        let times = others.median_over(&ours);
        println!(
            "  {name}  {others}   {times:.1} times as long (target {FACTOR}: {})",
            verdict(times >= FACTOR)
        );
    }
    println!(
        "  resident        {} MiB   (target under {} MiB: {})",
        resident >> 10,
        MEMORY >> 10,
        verdict(resident < MEMORY)
    );
    println!(
        "  raw BTF, cold   {:.3} s a kernel with its modules   (target under {} s: {})",
        cold.as_secs_f64(),
        COLD.as_secs(),
        verdict(cold < COLD)
    );
    if let [first, .., last] = kernels {
        let mut diff = Sample::default();
        for _ in 0..rounds {
            diff.add(timed(&mut kiln(["btf", "diff", first, last]))?);
        }
        println!("kiln btf diff {first} {last}, median of {rounds}");
        println!(
            "  {diff}   (target under {} s: {})",
            DIFF.as_secs(),
            verdict(diff.median() < DIFF)
        );
    }
    Ok(())
}

fn kiln<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(KILN);
    command.args(args);
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{command:?} ended with {}: {said}", output.status).into())
}

fn timed(command: &mut Command) -> Result<Duration> {
    let started = Instant::now();
    run(command)?;
    Ok(started.elapsed())
}

/// The time for all kernels, one after another, as a script does it.
fn of_each(directories: &[PathBuf], command: impl Fn(&Path) -> Command) -> Result<Duration> {
    let started = Instant::now();
    for directory in directories {
        run(&mut command(&directory.join("vmlinux")))?;
    }
    Ok(started.elapsed())
}

/// The largest resident size of any child so far, in KiB.
fn resident() -> Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(u64::try_from(usage.max_rss())?)
}
