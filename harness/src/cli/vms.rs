//! `kiln ps`, `logs`, `stop`, `dump` and `gdb`: the VMs that run now, from another terminal.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::input::{self, Interrupts};
use super::text_or_json::TextOrJson;
use super::{Failure, output};
use crate::child::Supervised;
use crate::exit_code;
use crate::report::escape;
use crate::vm::card::{self, ADMIN_SOCKET, Card, Running};
use crate::vm::hold::Hold;
use crate::vm::qmp::Qmp;

/// How long QEMU may take to answer somebody new.
const CONNECT: Duration = Duration::from_secs(10);
/// How often to look for more of a console.
const LOOK: Duration = Duration::from_millis(200);
/// How long a VM may take to end.
const END: Duration = Duration::from_secs(30);

/// List the running VMs of this user.
#[derive(Debug, Args)]
#[command(
    after_help = "An id, or the name of a kernel that only one VM has, names a VM for kiln logs, stop, dump and gdb."
)]
pub(super) struct PsArgs {
    /// How to print them
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

impl PsArgs {
    /// Lists them.
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let running = card::running();
        if self.format == TextOrJson::Json {
            let all: Vec<serde_json::Value> = running.iter().map(as_json).collect();
            output::line(&serde_json::Value::from(all).to_string())?;
            return Ok(exit_code::OK);
        }
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(["VM", "KERNEL", "RELEASE", "UP", "QEMU", "KILN", "GDB"]);
        for vm in &running {
            table.add_row([
                vm.id.clone(),
                escape::line(&vm.card.kernel).into_owned(),
                escape::line(&vm.card.release).into_owned(),
                format!("{} s", age(&vm.card)),
                vm.card.qemu.to_string(),
                vm.card.kiln.to_string(),
                vm.card.gdb.clone().unwrap_or_default(),
            ]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        output::line(&table.trim_fmt())?;
        Ok(exit_code::OK)
    }
}

fn as_json(vm: &Running) -> serde_json::Value {
    let mut json = serde_json::to_value(&vm.card).unwrap_or_default();
    json["id"] = vm.id.clone().into();
    json["dir"] = vm.dir.to_string_lossy().into();
    json
}

fn age(card: &Card) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
        .as_secs()
        .saturating_sub(card.started)
}

/// The one running VM of this name.
fn find(name: &str) -> Result<Running, Failure> {
    let running = card::running();
    let known: Vec<String> = running.iter().map(described).collect();
    let mut found = card::named(running, name);
    match (found.pop(), found.is_empty()) {
        (Some(vm), true) => Ok(vm),
        (Some(vm), false) => {
            found.push(vm);
            let all: Vec<String> = found.iter().map(described).collect();
            Err(Failure::new(
                exit_code::USAGE,
                format!("{} VMs run kernel {name}: {}", all.len(), all.join(", ")),
            )
            .hint("name one by its id"))
        }
        (None, _) => {
            let failure = Failure::new(
                exit_code::SETUP_FAILED,
                format!("there is no running VM {name}: it has ended, or is another user's"),
            );
            Err(if known.is_empty() {
                failure.hint("no VM of yours runs; `kiln ps` lists them")
            } else {
                failure.hint(format!("these run: {}", known.join(", ")))
            })
        }
    }
}

fn described(vm: &Running) -> String {
    format!("{} ({})", vm.id, vm.card.kernel)
}

/// Print the console of a running VM.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The VM: an id of kiln ps, or the name of its kernel
    vm: String,
    /// Go on until the VM ends
    #[arg(short, long)]
    follow: bool,
}

impl LogsArgs {
    /// Prints it.
    pub(super) async fn run(&self) -> Result<u8, Failure> {
        let vm = find(&self.vm)?;
        let mut interrupts = Interrupts::listen()?;
        let failed = |error: std::io::Error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot read {}: {error}", vm.card.console.display()),
            )
        };
        let mut log = std::fs::File::open(&vm.card.console).map_err(failed)?;
        loop {
            // Before reading: what it writes last is read, too.
            let runs = self.follow && vm.dir.join(ADMIN_SOCKET).exists() && is_up(vm.card.qemu);
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes).map_err(failed)?;
            let text = String::from_utf8_lossy(&bytes).replace('\r', "");
            output::print("the console", &escape::block(&text))?;
            if !runs {
                return Ok(exit_code::OK);
            }
            tokio::select! {
                signal = interrupts.next() => return Ok(input::code_of(signal)),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

/// Whether a process is there.
fn is_up(pid: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok()
}

/// Stop a running VM.
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// The VM: an id of kiln ps, or the name of its kernel
    vm: String,
}

impl StopArgs {
    /// Stops it, and waits for its end.
    pub(super) async fn run(&self) -> Result<u8, Failure> {
        let vm = find(&self.vm)?;
        admin(&vm).await?.quit().await?;
        let ended = async {
            while is_up(vm.card.qemu) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(END, ended).await.map_err(|_| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("the VM did not end within {} s", END.as_secs()),
            )
            .hint(format!("end its QEMU: kill -9 {}", vm.card.qemu))
        })?;
        Ok(exit_code::OK)
    }
}

/// Connects to QEMU, beside the kiln that runs the VM.
async fn admin(vm: &Running) -> Result<Qmp, Failure> {
    let (qmp, _) = Qmp::connect(&vm.dir.join(ADMIN_SOCKET), CONNECT)
        .await
        .map_err(|error| {
            Failure::from(error)
                .hint("another `kiln dump` or `kiln gdb` may be at work with this VM")
        })?;
    Ok(qmp)
}

/// Takes hold of a VM, so that its kiln does not take it for hung while it is stopped.
fn hold(vm: &Running) -> Result<Hold, Failure> {
    let hold = Hold::take(&vm.dir).map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot take hold of VM {}: {error}", vm.id),
        )
    })?;
    hold.ok_or_else(|| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("somebody else debugs or dumps VM {}", vm.id),
        )
        .hint("wait until they have ended")
    })
}

/// Write the memory of a running VM into a file for crash or drgn.
#[derive(Debug, Args)]
#[command(
    after_help = "The file is a compressed vmcore in kdump's format; the VM stands still meanwhile.

Example:
  kiln dump 6.1 && crash vmlinux vmcore"
)]
pub(super) struct DumpArgs {
    /// The VM: an id of kiln ps, or the name of its kernel
    vm: String,
    /// The file, which must not exist
    #[arg(short, long, value_name = "FILE", default_value = "vmcore")]
    output: PathBuf,
}

impl DumpArgs {
    /// Dumps it.
    pub(super) async fn run(&self) -> Result<u8, Failure> {
        let vm = find(&self.vm)?;
        let failed = |why: String| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!(
                    "cannot dump VM {} to {}: {why}",
                    vm.id,
                    self.output.display()
                ),
            )
        };
        let path = std::path::absolute(&self.output).map_err(|error| failed(error.to_string()))?;
        // QEMU would overwrite it.
        private_file(&path).map_err(|error| failed(error.to_string()))?;
        let _hold = hold(&vm)?;
        let dumped = match admin(&vm).await {
            Ok(qmp) => qmp.dump(&path).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = dumped {
            // Half a dump is of no use.
            let _ = std::fs::remove_file(&path);
            return Err(Failure {
                hints: failure.hints,
                ..failed(failure.message)
            }
            .hint("the file system needs room for the memory that the guest uses, compressed"));
        }
        let size = path.metadata().map_or(0, |meta| meta.len()) >> 20;
        output::note(&format!("kiln: {} ({size} MiB)", path.display()));
        Ok(exit_code::OK)
    }
}

/// Creates a file that only the user may read.
fn private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut options = std::fs::File::options();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(())
}

/// Open gdb on the kernel of a running VM.
#[derive(Debug, Args)]
#[command(
    after_help = "The VM stands still while gdb is attached, and goes on afterwards. --gdb of kiln exec, shell and
run turns off the randomization of the kernel's addresses (nokaslr), without which symbols have
other ones.

Examples:
  kiln gdb 6.1 --vmlinux ../linux/vmlinux
  kiln gdb 8sJ2xa -- -batch -ex bt"
)]
pub(super) struct GdbArgs {
    /// The VM: an id of kiln ps, or the name of its kernel
    vm: String,
    /// The kernel with debug information [default: vmlinux of the build tree that the kernel is of]
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,
    /// gdb to use
    #[arg(long, value_name = "PATH", default_value = "gdb")]
    gdb: PathBuf,
    /// Further arguments for gdb
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

impl GdbArgs {
    /// Runs gdb; its status is ours.
    pub(super) async fn run(&self) -> Result<u8, Failure> {
        let vm = find(&self.vm)?;
        let hold = hold(&vm)?;
        let own = vm.dir.join("stub.sock");
        let qmp = if vm.card.gdb.is_some() {
            None
        } else {
            let qmp = admin(&vm).await?;
            let listen = format!("gdbserver unix:{},server=on,wait=off", own.display());
            human(&qmp, &listen).await?;
            output::note(
                "kiln: this VM was started without --gdb: its kernel's addresses may not be those of the symbols",
            );
            Some(qmp)
        };
        let target = vm.card.gdb.clone().unwrap_or(own.display().to_string());
        let mut gdb = tokio::process::Command::new(&self.gdb);
        match self.vmlinux.clone().or_else(|| vmlinux(&vm.card)) {
            Some(vmlinux) => drop(gdb.arg(vmlinux)),
            None => output::note(&format!(
                "kiln: nothing says where the debug information of {} is: name it with --vmlinux FILE",
                vm.card.release
            )),
        }
        gdb.args(["-ex", "set confirm off", "-ex"])
            .arg(format!("target remote {target}"))
            .args(&self.arguments)
            .stdin(Stdio::inherit());
        // Ctrl-C is gdb's; it has the terminal, so it stays in our process group.
        let _interrupts = Interrupts::listen()?;
        let status = Supervised::in_our_group(gdb).await.map_err(|error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot run {}: {error}", self.gdb.display()),
            )
            .hint("install gdb, or name it with --gdb PATH")
        });
        if let Some(qmp) = qmp {
            let _ = human(&qmp, "gdbserver none").await;
            // A gdb that was killed leaves the VM standing.
            let _ = qmp.cont().await;
            let _ = std::fs::remove_file(&own);
        }
        drop(hold);
        let status = status?;
        Ok(status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(exit_code::OWN_FAILURE))
    }
}

/// Runs a monitor command that prints nothing if all goes well.
async fn human(qmp: &Qmp, command: &str) -> Result<(), Failure> {
    let said = qmp.human(command).await?;
    // It says so when it has stopped to listen.
    if said.trim().is_empty() || said.contains("Waiting for gdb") || said.contains("Disabled") {
        return Ok(());
    }
    Err(Failure::new(
        exit_code::SETUP_FAILED,
        format!("QEMU cannot open gdb's stub: {}", said.trim()),
    ))
}

/// `vmlinux` of the build tree that the kernel was taken from.
fn vmlinux(card: &Card) -> Option<PathBuf> {
    let path = card.cwd.join(&card.kernel);
    let above = path.ancestors().take(4);
    let mut places = above.map(|dir| dir.join("vmlinux"));
    places.find(|vmlinux| vmlinux.is_file())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_dump_is_the_users_alone_and_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmcore");
        private_file(&path).unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(private_file(&path).is_err());
    }
}
