//! Resident memory of the harness and its share processes.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::{KILN, Result, verdict};

/// How much memory harness and share processes may use together, in KiB.
const TARGET: u64 = 80 * 1024;

/// Boot, and end after the signal.
const DEADLINE: Duration = Duration::from_secs(120);

/// Resident memory of one process in KiB, divided as in proc_pid_status(5).
#[derive(Debug, Default, Clone, Copy)]
struct Resident {
    anon: u64,
    file: u64,
    /// In a share process: pages of the guest's memory, which QEMU also maps.
    shmem: u64,
}

impl Resident {
    fn of(pid: i32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .ok_or_else(|| format!("/proc/{pid}/status has no {name}"))?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok(Self {
            anon: field("RssAnon:")?,
            file: field("RssFile:")?,
            shmem: field("RssShmem:")?,
        })
    }
}

/// Measures while a command runs in the guest.
pub(crate) async fn measure(kernel: &str) -> Result<()> {
    eprintln!("bench: memory");
    let mut child = Command::new(KILN)
        .args(["exec", "-k", kernel, "--"])
        .args(["sh", "-c", "echo up; exec sleep 600"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = i32::try_from(child.id().ok_or("kiln ended at once")?)?;
    let stdout = child.stdout.take().ok_or("stdout is not piped")?;
    let mut line = String::new();
    tokio::time::timeout(DEADLINE, BufReader::new(stdout).read_line(&mut line))
        .await
        .map_err(|_| "the guest did not come up")??;
    if line.trim() != "up" {
        return Err("kiln exec ended before its command ran".into());
    }
    let mut own = Resident::default();
    println!("Resident memory while `kiln exec -k {kernel} -- sleep` runs, in MiB, without QEMU");
    for (process, what) in processes(pid)? {
        let resident = Resident::of(process)?;
        println!(
            "  {what:<8} anonymous and file {:6.1}   guest memory mapped {:6.1}",
            mebibytes(resident.anon + resident.file),
            mebibytes(resident.shmem)
        );
        own.anon += resident.anon;
        own.file += resident.file;
        own.shmem += resident.shmem;
    }
    println!(
        "  {:<8} anonymous and file {:6.1}   guest memory mapped {:6.1}   (target under {:.0} for the former: {})",
        "sum",
        mebibytes(own.anon + own.file),
        mebibytes(own.shmem),
        mebibytes(TARGET),
        verdict(own.anon + own.file < TARGET)
    );
    for _ in 0..2 {
        // The first goes to the guest's command, the second ends kiln itself.
        kill(Pid::from_raw(pid), Signal::SIGINT)?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::timeout(DEADLINE, child.wait())
        .await
        .map_err(|_| "kiln does not end by SIGINT")??;
    Ok(())
}

/// The harness and its children that are also kiln.
fn processes(harness: i32) -> Result<Vec<(i32, &'static str)>> {
    let mut found = vec![(harness, "harness")];
    let binary = fs::canonicalize(KILN)?;
    for task in fs::read_dir(format!("/proc/{harness}/task"))? {
        let children = fs::read_to_string(task?.path().join("children"))?;
        for child in children.split_whitespace() {
            if fs::read_link(Path::new("/proc").join(child).join("exe"))
                .is_ok_and(|exe| exe == binary)
            {
                found.push((child.parse()?, "share"));
            }
        }
    }
    Ok(found)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}
