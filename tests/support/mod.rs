//! Shared code of the end-to-end tests: each test has its own `Kiln`, with a deadline for
//! everything it does.
//!
//! ```text
//! let kiln = Kiln::new();
//! let output = kiln.vm(["exec", "-k", "6.1", "--", "uname", "-r"]).run();
//! output.assert_code(0);
//! kiln.assert_nothing_left();
//! ```
//!
//! Kernels come from a cache that all tests of this machine share:
//! `KILN_TEST_CACHE`, else `kiln-tests` in the user's cache directory.

pub(crate) mod archive;
pub(crate) mod broken_module;
pub(crate) mod debian_tests;
pub(crate) mod empty_cache;
pub(crate) mod flake;
mod left;
pub(crate) mod made_runs;
pub(crate) mod material;
pub(crate) mod mount_namespace;
pub(crate) mod nix_support;
pub(crate) mod packages;
pub(crate) mod pahole;
pub(crate) mod registry;
mod running;
mod shared_cache;
pub(crate) mod slots;
pub(crate) mod suite;
pub(crate) mod terminal;
pub(crate) mod web;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

pub(crate) use left::processes_naming;
pub(crate) use running::{Output, Running, wait_for_child};
use shared_cache::shared_cache;
pub(crate) use slots::{Slot, take as take_slot};

/// Kernels that the main tests run on: those of the group `@quick`.
pub(crate) const KERNELS: [&str; 3] = ["5.10", "6.1", "6.12"];

/// How long one invocation may take: a boot under emulation with the machine
/// full of other tests takes up to half a minute.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long the first download of all kernels may take.
const FETCH: Duration = Duration::from_secs(15 * 60);
/// The user and group `nobody`, of every Linux.
const NOBODY: u32 = 65534;

/// Variables of the caller that reach kiln: what a machine needs to reach its mirrors, and settings
/// of the test run.
const PASSED_ON: [&str; 10] = [
    "PATH",
    "KILN_APT_MIRROR",
    "KILN_ACCEL",
    "KILN_QEMU",
    "KILN_VM_SNAPSHOT",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "SSL_CERT_FILE",
];

/// One test's own `kiln`: home, temporary directory and state are in its own directory, which is
/// removed when dropped.
#[derive(Debug)]
pub(crate) struct Kiln {
    dir: TempDir,
    binary: PathBuf,
    config: PathBuf,
    cache: PathBuf,
    user: Option<u32>,
}

impl Kiln {
    /// For the user who runs the tests, with the shared kernel cache, which is filled if necessary.
    pub(crate) fn new() -> Self {
        fetch_kernels();
        Self::bare(shared_cache())
    }

    /// With its own empty cache.
    pub(crate) fn with_empty_cache() -> Self {
        let mut kiln = Self::bare(PathBuf::new());
        kiln.cache = kiln.path("cache");
        fs::create_dir(&kiln.cache).unwrap();
        kiln
    }

    /// With a copy of the shared cache, for tests with their own kernels, which nobody would ever
    /// remove from the shared one.
    pub(crate) fn with_copied_cache() -> Self {
        let mut kiln = Self::new();
        kiln.copy_cache();
        kiln
    }

    /// With its own cache, in which the kernels are those of the shared one: what else kiln keeps
    /// there is this test's.
    pub(crate) fn with_linked_cache() -> Self {
        let mut kiln = Self::new();
        let cache = kiln.path("cache");
        fs::create_dir(&cache).unwrap();
        symlink(kiln.cache.join("kernels"), cache.join("kernels")).unwrap();
        kiln.cache = cache;
        kiln
    }

    /// For a user who is not root: `nobody` if the tests run as root. Has a copy of everything that
    /// root's directories may hide.
    pub(crate) fn as_ordinary_user() -> Self {
        let mut kiln = Self::new();
        if !nix::unistd::geteuid().is_root() {
            return kiln;
        }
        let copied = kiln.copy_program();
        kiln.copy_cache();
        kiln.binary = copied.join("kiln");
        kiln.config = copied.join("kernels.toml");
        kiln.user = Some(NOBODY);
        give(kiln.dir.path(), NOBODY);
        kiln
    }

    /// Copies the program and the checkout's kernels to a directory of this test, and returns that.
    pub(crate) fn copy_program(&self) -> PathBuf {
        let copied = self.path("copied");
        fs::create_dir(&copied).unwrap();
        fs::copy(&self.binary, copied.join("kiln")).unwrap();
        for name in ["kernels.toml", "kernels.lock"] {
            fs::copy(checkout().join(name), copied.join(name)).unwrap();
        }
        copied
    }

    fn copy_cache(&mut self) {
        let cache = self.path("cache");
        fs::create_dir_all(cache.join("kernels")).unwrap();
        for entry in fs::read_dir(self.cache.join("kernels")).unwrap() {
            let entry = entry.unwrap();
            // Only what is in the catalogue, not what other tests added.
            if entry.file_name().as_encoded_bytes().starts_with(b"apt-") {
                copy_tree(&entry.path(), &cache.join("kernels"));
            }
        }
        self.cache = cache;
    }

    fn bare(cache: PathBuf) -> Self {
        // A short path, because it is for UNIX sockets.
        let dir = tempfile::Builder::new().prefix("kt-").tempdir().unwrap();
        for name in ["home", "tmp", "state", "work"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self {
            dir,
            binary: PathBuf::from(env!("CARGO_BIN_EXE_kiln")),
            config: checkout().join("kernels.toml"),
            cache,
            user: None,
        }
    }

    /// The same with another `kernels.toml`.
    pub(crate) fn config(mut self, file: impl Into<PathBuf>) -> Self {
        self.config = file.into();
        self
    }

    /// A path in this test's own directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The default working directory of commands.
    pub(crate) fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// The kernel cache.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// Writes a file below [`work`](Self::work), creates its directories, and returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        if let Some(user) = self.user {
            give(&self.work(), user);
        }
        path
    }

    /// The same, executable.
    pub(crate) fn program(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A command that boots VMs, one at a time: it waits for its turn on this
    /// machine.
    pub(crate) fn vm<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Invocation<'_> {
        Invocation {
            boots: true,
            ..self.plain(args)
        }
    }

    /// A command that boots nothing.
    pub(crate) fn plain<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> Invocation<'_> {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .env_clear()
            .env("KILN_ACCEL", "tcg")
            .env("LANG", "C.UTF-8");
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("KILN_CACHE_DIR", &self.cache)
            .env("KILN_CONFIG", &self.config)
            .current_dir(self.work());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        Invocation {
            kiln: self,
            command,
            stdin: Vec::new(),
            deadline: DEADLINE,
            boots: false,
        }
    }

    /// A program of the host, run by this kiln's user in its working directory.
    pub(crate) fn host_command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .current_dir(self.work());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Makes this kiln's user the owner of everything in a directory.
    pub(crate) fn give(&self, path: &Path) {
        if let Some(user) = self.user {
            give(path, user);
        }
    }

    /// `kiln exec -k KERNEL -- sh -c SCRIPT`.
    pub(crate) fn sh(&self, kernel: &str, script: &str) -> Invocation<'_> {
        self.vm(["exec", "-k", kernel, "--", "/bin/sh", "-c", script])
    }

    /// Checks that no process is left with this test's directory in its arguments or environment;
    /// waits some seconds for the last to end.
    pub(crate) fn assert_nothing_left(&self) {
        left::assert_none(self.dir.path());
    }

    /// Checks that kiln's temporary directory is empty again.
    pub(crate) fn assert_no_temporary_files(&self) {
        let left: Vec<_> = fs::read_dir(self.path("tmp"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(left.is_empty(), "temporary files are left: {left:?}");
    }
}

/// An invocation of `kiln` that is being prepared.
#[derive(Debug)]
pub(crate) struct Invocation<'a> {
    /// Its directory must outlive the command.
    kiln: &'a Kiln,
    command: Command,
    stdin: Vec<u8>,
    deadline: Duration,
    boots: bool,
}

impl Invocation<'_> {
    /// One more argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// More arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// A variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Run by another program, such as `unshare`, which gets it as its last arguments.
    pub(crate) fn by(mut self, program: &[&str]) -> Self {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .env_clear();
        for (name, value) in self.command.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        if let Some(dir) = self.command.get_current_dir() {
            command.current_dir(dir);
        }
        if let Some(user) = self.kiln.user {
            command.uid(user).gid(user);
        }
        self.command = command;
        self
    }

    /// Its working directory.
    pub(crate) fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// What it reads from stdin; nothing otherwise.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// How long it may take before it is killed and the test fails.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Output {
        let stdin = std::mem::take(&mut self.stdin);
        let mut running = self.start();
        running.write_stdin(stdin);
        running.wait()
    }

    /// Starts it and leaves it running; killed when dropped. Its stdin stays
    /// open until the test closes it.
    pub(crate) fn start(self) -> Running {
        let slot = self.boots.then(slots::take);
        Running::start(self.command, self.deadline, slot)
    }

    /// The same with nothing on stdin.
    pub(crate) fn start_without_stdin(self) -> Running {
        let mut running = self.start();
        running.write_stdin(Vec::new());
        running
    }

    /// The bare command, for tests that connect its streams themselves, and the VM's slot, to hold
    /// until it has ended.
    pub(crate) fn into_command(self) -> (Command, Option<Slot>) {
        let slot = self.boots.then(slots::take);
        (self.command, slot)
    }
}

/// Runs a command from [`Invocation::into_command`], with nothing on stdin.
pub(crate) fn run_command(command: Command, slot: Option<Slot>) -> Output {
    let mut running = Running::start(command, DEADLINE, slot);
    running.write_stdin(Vec::new());
    running.wait()
}

/// The root of this checkout.
pub(crate) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Upstream's tests of Debian's bpftrace, from its source package.
pub(crate) fn upstream_tests() -> PathBuf {
    let tests = checkout().join("target/bpftrace/tests");
    assert!(
        tests.join("runtime").is_dir(),
        "{} is missing: `make bpftrace` gets it",
        tests.display()
    );
    tests
}

/// Fetches the kernels once, so that no test's deadline pays for it.
fn fetch_kernels() {
    static FETCHED: OnceLock<()> = OnceLock::new();
    FETCHED.get_or_init(|| {
        let cache = shared_cache();
        fs::create_dir_all(&cache).unwrap();
        let kiln = Kiln::bare(cache);
        let selected = KERNELS.into_iter().flat_map(|kernel| ["-k", kernel]);
        let args = ["kernels", "fetch"].into_iter().chain(selected);
        kiln.plain(args).deadline(FETCH).run().assert_code(0);
    });
}

fn copy_tree(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-R").arg(from).arg(to).status();
    assert!(status.unwrap().success(), "cp -R {}", from.display());
}

/// Makes `user` the owner of everything in a directory.
fn give(dir: &Path, user: u32) {
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry.unwrap();
        if !entry.path_is_symlink() {
            chown(entry.path(), Some(user), Some(user)).unwrap();
        }
    }
}
