//! What the threads of a VM do, as Linux counts it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Pid;

use super::account::Busy;

/// The threads that a guest waits for: its vCPUs, QEMU's main thread, which serves timers and
/// devices, and those of the shares. Sleeping in all of them, it waits for nobody but itself.
#[derive(Debug)]
pub(in crate::vm) struct Threads {
    /// The vCPUs first.
    files: Vec<File>,
    pub(super) vcpus: usize,
    last: Vec<Busy>,
}

impl Threads {
    /// Those of this QEMU, whose vCPUs have these thread ids, and of its shares. An error means
    /// that Linux does not count what a vCPU does (`CONFIG_SCHED_INFO`).
    pub(in crate::vm) fn of(
        qemu: Pid,
        vcpus: &[i64],
        shares: impl Iterator<Item = Pid>,
    ) -> io::Result<Self> {
        let tasks = |pid: Pid| PathBuf::from(format!("/proc/{pid}/task"));
        let open = |task: &Path| File::open(task.join("schedstat"));
        let mut vcpus = vcpus.to_vec();
        // All are in one thread if TCG's is `single`.
        vcpus.sort_unstable();
        vcpus.dedup();
        let qemu_tasks = tasks(qemu);
        let vcpus = vcpus
            .iter()
            .map(|thread| open(&qemu_tasks.join(thread.to_string())));
        let mut files: Vec<File> = vcpus.collect::<io::Result<_>>()?;
        let vcpus = files.len();
        for file in &files {
            read(file)?;
        }
        files.extend(open(&qemu_tasks.join(qemu.to_string())));
        for share in shares {
            let threads = fs::read_dir(tasks(share)).into_iter().flatten().flatten();
            files.extend(threads.flat_map(|thread| open(&thread.path())));
        }
        Ok(Self {
            last: vec![Busy::default(); files.len()],
            files,
            vcpus,
        })
    }

    /// What each thread has done. What has ended did nothing more.
    pub(super) fn look(&mut self) -> &[Busy] {
        for (file, last) in self.files.iter().zip(&mut self.last) {
            if let Ok(now) = read(file) {
                *last = now;
            }
        }
        &self.last
    }
}

/// Reads a `schedstat`: nanoseconds on a CPU, nanoseconds of waiting for one, time slices
/// (Documentation/scheduler/sched-stats.rst). Linux takes no lock for it.
fn read(file: &File) -> io::Result<Busy> {
    let mut text = [0; 64];
    let length = file.read_at(&mut text, 0)?;
    parse(&text[..length]).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(text: &[u8]) -> Option<Busy> {
    let mut fields = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let mut nanoseconds = || Some(Duration::from_nanos(fields.next()?.parse().ok()?));
    Some(Busy {
        ran: nanoseconds()?,
        waited: nanoseconds()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_of_schedstat_has_nanoseconds() {
        let busy = Busy {
            ran: Duration::from_micros(52),
            waited: Duration::from_nanos(7),
        };
        assert_eq!(parse(b"52000 7 1\n"), Some(busy));
        assert_eq!(parse(b"52000"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn the_threads_of_a_process_run_on() {
        let me = nix::unistd::gettid();
        let vcpus = [i64::from(me.as_raw())];
        let mut threads = Threads::of(Pid::this(), &vcpus, std::iter::empty()).unwrap();
        assert_eq!(threads.vcpus, 1);
        let [vcpu, _main] = *threads.look() else {
            panic!("this thread, and the main thread: {threads:?}");
        };
        let start = Instant::now();
        while threads.look()[0].ran <= vcpu.ran {
            assert!(start.elapsed() < Duration::from_secs(60), "it never ran");
        }
    }

    #[test]
    fn a_thread_that_is_not_there_is_an_error() {
        assert!(Threads::of(Pid::this(), &[0], std::iter::empty()).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&text);
        }
    }
}
