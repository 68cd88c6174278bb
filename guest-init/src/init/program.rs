//! Starts a program.
//!
//! This works like posix_spawn(3): the child shares this process's memory until it executes the
//! program, so nothing is copied and no page faults occur for that. A fork would take several
//! milliseconds more under emulation. `posix_spawn` itself can neither join a cgroup nor set a
//! controlling terminal.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use guest_init::message::ProcessSpec;
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, clone};
use nix::sys::personality::{self, Persona};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid, write};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::account::Account;

/// The search path if `PATH` is not set, as in musl's `execvp`.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/bin:/usr/bin";

/// Bytes of the child's stack. It makes a dozen system calls.
const STACK: usize = 32 * 1024;

/// What the child gets besides the program.
pub(crate) struct Surroundings {
    /// Its standard input, output and error.
    pub(crate) stdio: [OwnedFd; 3],
    /// Standard input becomes its controlling terminal.
    pub(crate) terminal: bool,
    /// `cgroup.procs` of the cgroup it joins.
    pub(crate) procs: File,
    /// The user that it becomes, if not root.
    pub(crate) account: Option<Account>,
}

/// Starts the program as the leader of a new session. Returns once it is executed, or with the
/// error of the system call that failed.
pub(crate) fn spawn(spec: &ProcessSpec, surroundings: &Surroundings) -> io::Result<Pid> {
    let argv = strings(spec.argv.iter().cloned())?;
    let mut env = spec.env.clone();
    if let Some(account) = &surroundings.account {
        account.set(&mut env);
    }
    let env = strings(env.iter().map(|(key, value)| {
        let equals: &[u8] = b"=";
        [key.as_slice(), equals, value.as_slice()].concat()
    }))?;
    let identity = surroundings.account.as_ref().map(Identity::of);
    let cwd = CString::new(spec.cwd.clone())?;
    let files = strings(candidates(spec))?;
    let (argv, env) = (pointers(&argv), pointers(&env));
    let mut failed = None;
    let mut stack = vec![0; STACK];
    let child = || {
        failed = Some(
            enter(
                &cwd,
                spec.addr_no_randomize,
                surroundings,
                identity.as_ref(),
            )
            .map_or_else(|errno| errno, |()| execute(&files, &argv, &env)),
        );
        127
    };
    // SAFETY: the child runs on its own stack, and this thread is suspended until the child has
    // executed the program or ended. The child allocates nothing, takes no lock and changes nothing
    // except `failed`, which outlives it. PID 1 has no signal handler that could run in it.
    let pid = unsafe {
        clone(
            Box::new(child),
            &mut stack,
            CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK,
            Some(libc::SIGCHLD),
        )
    }?;
    match failed {
        None => Ok(pid),
        Some(errno) => {
            // It has ended: collect it before anybody else sees it.
            waitpid(pid, None)?;
            Err(errno.into())
        }
    }
}

/// A user in the form that the system calls take.
struct Identity {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Identity {
    fn of(account: &Account) -> Self {
        Self {
            uid: Uid::from_raw(account.uid),
            gid: Gid::from_raw(account.gid),
            groups: account.groups.iter().copied().map(Gid::from_raw).collect(),
        }
    }

    /// Becomes that user. By the system calls themselves: those of libc change all threads of what
    /// they take for their process, and the child shares its memory with PID 1.
    fn assume(&self) -> rustix::io::Result<()> {
        set_thread_groups(&self.groups)?;
        set_thread_res_gid(self.gid, self.gid, self.gid)?;
        set_thread_res_uid(self.uid, self.uid, self.uid)
    }
}

/// Sets up the child.
fn enter(
    cwd: &CStr,
    addr_no_randomize: bool,
    surroundings: &Surroundings,
    identity: Option<&Identity>,
) -> nix::Result<()> {
    // The program would inherit both: SIGCHLD is blocked here, and Rust ignores SIGPIPE.
    SigSet::empty().thread_set_mask()?;
    // SAFETY: the default action is no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    write(&surroundings.procs, b"0")?;
    setsid()?;
    if addr_no_randomize {
        personality::set(Persona::ADDR_NO_RANDOMIZE)?;
    }
    let [stdin, stdout, stderr] = &surroundings.stdio;
    dup2_stdin(stdin)?;
    dup2_stdout(stdout)?;
    dup2_stderr(stderr)?;
    if surroundings.terminal {
        rustix::process::ioctl_tiocsctty(stdin)
            .map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    }
    if let Some(identity) = identity {
        identity
            .assume()
            .map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    }
    chdir(cwd)
}

/// Executes the first of the files that can be executed; returns the same error as execvp(3).
fn execute(files: &[CString], argv: &[*const libc::c_char], env: &[*const libc::c_char]) -> Errno {
    let mut told = Errno::ENOENT;
    for file in files {
        // SAFETY: all three are what execve(2) takes: strings that end with NUL
        // and lists of them that end with a null pointer. `nix` allocates the
        // lists, which the parent would never free.
        unsafe { libc::execve(file.as_ptr(), argv.as_ptr(), env.as_ptr()) };
        match Errno::last() {
            Errno::ENOENT | Errno::ENOTDIR => {}
            // A later directory may have another one.
            Errno::EACCES => told = Errno::EACCES,
            errno => return errno,
        }
    }
    told
}

/// The files that a program's name may mean: itself, or one in each directory of its own `PATH`.
fn candidates(spec: &ProcessSpec) -> Vec<Vec<u8>> {
    let name = spec.argv.first().cloned().unwrap_or_default();
    if name.is_empty() || name.contains(&b'/') {
        return vec![name];
    }
    let path = spec
        .env
        .iter()
        .rev()
        .find_map(|(key, value)| (key == b"PATH").then_some(value.as_slice()));
    path.unwrap_or(DEFAULT_PATH)
        .split(|&byte| byte == b':')
        .map(|directory| {
            let file = Path::new(OsStr::from_bytes(directory)).join(OsStr::from_bytes(&name));
            file.into_os_string().into_encoded_bytes()
        })
        .collect()
}

fn strings(bytes: impl IntoIterator<Item = Vec<u8>>) -> io::Result<Vec<CString>> {
    let strings = bytes.into_iter().map(CString::new);
    Ok(strings.collect::<Result<_, _>>()?)
}

/// In the form that execve(2) takes.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    let strings = strings.iter().map(|string| string.as_ptr());
    strings.chain([ptr::null()]).collect()
}
