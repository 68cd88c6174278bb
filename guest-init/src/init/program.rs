//! Starting a program.
//!
//! As posix_spawn(3) does it: the child shares this process's memory until it
//! has executed the program, so nothing is copied and no page faults for it. A
//! fork costs a guest under emulation several milliseconds more. `posix_spawn`
//! itself can neither join a cgroup nor take a controlling terminal.

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

/// Where programs are looked for without `PATH`: musl's `execvp`.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/bin:/usr/bin";

/// Bytes of the child's stack. It makes a dozen system calls.
const STACK: usize = 32 * 1024;

/// What the child is given beside the program.
pub(crate) struct Surroundings {
    /// Its standard input, output and error.
    pub(crate) stdio: [OwnedFd; 3],
    /// Standard input becomes its controlling terminal.
    pub(crate) terminal: bool,
    /// `cgroup.procs` of the cgroup it joins.
    pub(crate) procs: File,
}

/// Starts the program as leader of a session of its own. Returns once it is
/// executed; an error is the system call's that failed.
pub(crate) fn spawn(spec: &ProcessSpec, surroundings: &Surroundings) -> io::Result<Pid> {
    let argv = strings(spec.argv.iter().cloned())?;
    let env = strings(spec.env.iter().map(|(key, value)| {
        let equals: &[u8] = b"=";
        [key.as_slice(), equals, value.as_slice()].concat()
    }))?;
    let cwd = CString::new(spec.cwd.clone())?;
    let files = strings(candidates(spec))?;
    let (argv, env) = (pointers(&argv), pointers(&env));
    let mut failed = None;
    let mut stack = vec![0; STACK];
    let child = || {
        failed = Some(
            enter(&cwd, spec.addr_no_randomize, surroundings)
                .map_or_else(|errno| errno, |()| execute(&files, &argv, &env)),
        );
        127
    };
    // SAFETY: the child runs on a stack of its own, while this thread stands
    // still until it has executed or ended. It allocates nothing, takes no lock
    // and leaves nothing changed but `failed`, which outlives it. PID 1 has no
    // signal handler that could run in it.
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
            // It has ended: nobody else is to meet it.
            waitpid(pid, None)?;
            Err(errno.into())
        }
    }
}

/// Makes the child what it is to be.
fn enter(cwd: &CStr, addr_no_randomize: bool, surroundings: &Surroundings) -> nix::Result<()> {
    // Both are inherited by what is executed: SIGCHLD is blocked here, and Rust
    // ignores SIGPIPE.
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
    chdir(cwd)
}

/// Executes the first of the files that can be; the error is the one that
/// execvp(3) gives.
fn execute(files: &[CString], argv: &[*const libc::c_char], env: &[*const libc::c_char]) -> Errno {
    let mut told = Errno::ENOENT;
    for file in files {
        // SAFETY: all three are what execve(2) takes: strings that end with NUL
        // and lists of them that end with a null pointer. `nix` allocates the
        // lists, which the parent would never free.
        unsafe { libc::execve(file.as_ptr(), argv.as_ptr(), env.as_ptr()) };
        match Errno::last() {
            Errno::ENOENT | Errno::ENOTDIR => {}
            // There may be another one further on.
            Errno::EACCES => told = Errno::EACCES,
            errno => return errno,
        }
    }
    told
}

/// The files that a program's name may stand for: itself, or one in each
/// directory of its own `PATH`.
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

/// As execve(2) takes them.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    let strings = strings.iter().map(|string| string.as_ptr());
    strings.chain([ptr::null()]).collect()
}
