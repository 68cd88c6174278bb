//! Child processes that cannot outlive the harness.
//!
//! Every child gets its own process group (so that the terminal's Ctrl-C does not reach it and the
//! harness can stop it in order), and a parent-death signal (so that it dies if the harness is
//! killed with `kill -9`).

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{ExitStatus, Output};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getppid};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How long dropping a [`Supervised`] child waits for the killed process to be
/// reaped.
const REAP_ON_DROP: Duration = Duration::from_secs(1);

/// One request to the thread that starts children.
struct SpawnOrder {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// The thread that starts all children.
///
/// The parent-death signal is sent when the *thread* that forked ends, not the
/// process (prctl(2), `PR_SET_PDEATHSIG`). Tokio's blocking threads end when
/// idle and its workers with their runtime, so neither may fork: this thread
/// lives as long as the process.
fn spawner() -> io::Result<&'static mpsc::Sender<SpawnOrder>> {
    static SPAWNER: OnceLock<mpsc::Sender<SpawnOrder>> = OnceLock::new();
    if let Some(sender) = SPAWNER.get() {
        return Ok(sender);
    }
    let (sender, orders) = mpsc::channel::<SpawnOrder>();
    thread::Builder::new()
        .name("spawner".to_owned())
        .spawn(move || {
            for mut order in orders {
                let entered = order.runtime.enter();
                let child = order.command.spawn();
                drop(entered);
                // Nobody is waiting: dropping the child kills it.
                let _ = order.reply.send(child);
            }
        })?;
    // If two callers race, the loser's thread ends with its channel before it forks anything.
    Ok(SPAWNER.get_or_init(|| sender))
}

/// Has the spawner start `command`.
async fn order(command: Command) -> io::Result<Child> {
    let (reply, answer) = oneshot::channel();
    spawner()?
        .send(SpawnOrder {
            command,
            runtime: Handle::current(),
            reply,
        })
        .map_err(|_| io::Error::other("the thread that starts processes is gone"))?;
    answer
        .await
        .map_err(|_| io::Error::other("the thread that starts processes is gone"))?
}

/// Has the process that `command` starts killed when the thread that starts it
/// ends, and so when kiln does.
pub(crate) fn dies_with_parent(command: &mut std::process::Command) {
    let parent = Pid::this();
    // SAFETY: the closure runs between fork and exec and makes only the system
    // calls prctl and getppid; it takes no lock and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the signal was armed.
            if getppid() == parent {
                Ok(())
            } else {
                Err(Errno::ESRCH.into())
            }
        });
    }
}

/// A running child process; killed and reaped when dropped.
#[derive(Debug)]
pub struct Supervised {
    child: Child,
    pid: Pid,
}

impl Supervised {
    /// Starts `command` in its own process group with a parent-death signal.
    pub async fn spawn(mut command: Command) -> io::Result<Self> {
        command.process_group(0).kill_on_drop(true);
        dies_with_parent(command.as_std_mut());
        let child = order(command).await?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the process ended before it had a pid"))?;
        Ok(Self { child, pid })
    }

    /// Runs `command`, which has our terminal, to its end. It stays in our process group, as a
    /// program that reads from a terminal must, and dies with us all the same.
    pub async fn in_our_group(mut command: Command) -> io::Result<ExitStatus> {
        command.kill_on_drop(true);
        dies_with_parent(command.as_std_mut());
        order(command).await?.wait().await
    }

    /// Runs `command` to its end and collects what it wrote; stdout and stderr
    /// must be piped. Killed when the future is dropped.
    pub async fn output(command: Command) -> io::Result<Output> {
        let mut child = Self::spawn(command).await?;
        let mut stdout = Vec::new();
        let mut stderr = Vec::new();
        let out = child.take_stdout();
        let err = child.take_stderr();
        tokio::try_join!(read_all(out, &mut stdout), read_all(err, &mut stderr))?;
        Ok(Output {
            status: child.wait().await?,
            stdout,
            stderr,
        })
    }

    /// Process id, also that of the process group.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The read end of the child's stdout, if it is piped; at most once.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The read end of the child's stderr, if it is piped; at most once.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits until the child ends. Can be cancelled and called again.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Gives the child `grace` to end by itself, then kills its process group,
    /// and reaps it.
    pub async fn stop(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        if let Ok(status) = tokio::time::timeout(grace, self.child.wait()).await {
            return status;
        }
        self.kill_group();
        self.child.wait().await
    }

    /// Sends SIGKILL to the group while its leader is not reaped, so the number cannot belong to
    /// another group.
    fn kill_group(&mut self) {
        if self.child.id().is_some() {
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
    }
}

async fn read_all(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> io::Result<()> {
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(into).await?;
    }
    Ok(())
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.kill_group();
        let deadline = Instant::now() + REAP_ON_DROP;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("60");
        command
    }

    fn exists(pid: Pid) -> bool {
        nix::sys::signal::kill(pid, None).is_ok()
    }

    #[tokio::test]
    async fn a_child_leads_its_own_group() {
        let child = Supervised::spawn(sleeper()).await.unwrap();
        assert_eq!(
            nix::unistd::getpgid(Some(child.pid())).unwrap(),
            child.pid()
        );
    }

    #[tokio::test]
    async fn dropping_kills_and_reaps() {
        let child = Supervised::spawn(sleeper()).await.unwrap();
        let pid = child.pid();
        assert!(exists(pid));
        drop(child);
        assert!(!exists(pid));
    }

    #[tokio::test]
    async fn stop_kills_after_the_grace() {
        let mut child = Supervised::spawn(sleeper()).await.unwrap();
        let status = child.stop(Duration::from_millis(10)).await.unwrap();
        assert!(!status.success());
        assert!(!exists(child.pid()));
    }

    #[tokio::test]
    async fn stop_leaves_time_to_end_well() {
        let mut child = Supervised::spawn(Command::new("true")).await.unwrap();
        assert!(child.stop(Duration::from_secs(5)).await.unwrap().success());
    }

    /// The thread of this test's runtime ends long before the child does.
    #[test]
    fn a_child_survives_the_runtime_thread_that_asked_for_it() {
        let mut child = thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let child = runtime.block_on(Supervised::spawn(sleeper())).unwrap();
            (child, runtime)
        })
        .join()
        .unwrap();
        thread::sleep(Duration::from_millis(100));
        assert!(child.0.child.try_wait().unwrap().is_none());
    }

    #[tokio::test]
    async fn a_missing_program_is_an_error() {
        let error = Supervised::spawn(Command::new("/nonexistent/program"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
