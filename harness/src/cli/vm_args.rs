//! Options of all subcommands that boot VMs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::Failure;
use super::context::Context;
use super::env_args::EnvArgs;
use super::root_args::RootArgs;
use super::scratch_dir::scratch_dir;
use super::stay::StayArgs;
use crate::arch::Arch;
use crate::config::{
    Asked, AskedDevices, Machine, MemorySize, ShareKind, Transport, VmSettings, taken_qemu_arg,
};
use crate::environment::Passed;
use crate::guest::root::Root;
use crate::kernel::KernelImage;
use crate::run::command::Environment;
use crate::scratch::Scratch;
use crate::vm::args::MAX_SOCKET_PATH;
use crate::vm::extras::{Disk, Extras, MOST_DISKS, Network};
use crate::vm::kernel_log::Patterns;
use crate::vm::launch::{Common, Launch};
use crate::vm::spec::{AccelChoice, GdbStub, VmConfig};
use crate::vm::trace::{Trace, TraceEvent};

/// Default boot deadline. Under TCG on a busy machine with two cores, a boot took 5 to 25 s.
const BOOT_TIMEOUT: Duration = Duration::from_secs(120);

/// Default of `--hang-timeout`. A guest sends a sign of life every two seconds; on a busy machine
/// under TCG a second may take ten.
const HANG_TIMEOUT: &str = "60s";

/// Directories of programs that every root should have.
const SYSTEM_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

/// How VMs are made.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "VM options")]
pub(super) struct VmArgs {
    /// Accelerator
    #[arg(long, value_enum, default_value_t, env = "KILN_ACCEL")]
    pub(super) accel: AccelChoice,
    /// Guest memory, such as 512M or 2G [default: kernels.toml, else 2G]
    #[arg(long, value_name = "SIZE")]
    pub(super) memory: Option<MemorySize>,
    /// Number of vCPUs [default: kernels.toml, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(super) cpus: Option<u32>,
    /// CPU model of the guest, as for QEMU's -cpu; max has every feature that can be emulated
    /// [default: the host's with KVM, else an old and fast one]
    #[arg(long, value_name = "MODEL", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) cpu: Option<String>,
    /// Machine of QEMU [default: kernels.toml, else microvm]
    #[arg(long, value_enum)]
    pub(super) machine: Option<Machine>,
    /// How virtio devices reach the kernel [default: kernels.toml, else mmio
    /// where the kernel has it]
    #[arg(long, value_enum)]
    pub(super) transport: Option<Transport>,
    /// How directories reach the kernel [default: kernels.toml, else virtiofs
    /// where the kernel has it]
    #[arg(long, value_enum)]
    pub(super) share: Option<ShareKind>,
    /// Share this directory writable, at the same path
    #[arg(long, value_name = "DIR")]
    pub(super) rw: Vec<PathBuf>,
    /// Which variables a command gets
    #[command(flatten)]
    pub(super) env: EnvArgs,
    /// QEMU to use
    #[arg(long, value_name = "PATH", env = "KILN_QEMU")]
    pub(super) qemu: Option<PathBuf>,
    /// Append to the kernel's command line, after what kernels.toml appends
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub(super) append: Vec<String>,
    /// Append one argument to QEMU's command line, after those of kernels.toml; may be repeated
    #[arg(long = "qemu-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub(super) qemu_args: Vec<String>,
    /// Print QEMU's command line and start nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Let gdb attach: on a UNIX socket of this path, or on a port of the loopback interface
    /// [default: a socket in the VM's own directory]. Turns off the randomization of the kernel's
    /// addresses
    #[arg(long, value_name = "SOCKET|PORT", num_args = 0..=1, require_equals = true, default_missing_value = "", value_parser = parse_gdb)]
    pub(super) gdb: Option<GdbStub>,
    /// Give the guest a network. It reaches nothing but the named ports of the host's loopback
    /// interface, at 10.0.2.100
    #[arg(long, value_name = "PORT,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(super) network: Option<Network>,
    /// Add an empty disk, /dev/vda and so on, with this file system on it, such as 1G or 1G,ext4;
    /// it goes with the VM
    #[arg(long, value_name = "SIZE[,FORMAT]")]
    pub(super) disk: Vec<Disk>,
    /// Keep the core of each program that crashes, and say which it is; longer ones than SIZE are
    /// cut off [default: 256M]
    #[arg(long, value_name = "SIZE", num_args = 0..=1, require_equals = true, default_missing_value = "256M")]
    pub(super) cores: Option<MemorySize>,
    /// Record these events of the kernel while a command or test runs, such as
    /// sched:sched_switch or sched:*, for trace-cmd and Perfetto
    #[arg(long, value_name = "EVENT,…", value_delimiter = ',')]
    pub(super) trace: Vec<TraceEvent>,
    /// Record them while the kernel boots, too
    #[arg(long, requires = "trace")]
    pub(super) trace_boot: bool,
    /// What kiln has no use for
    #[arg(long, hide = true)]
    pub(super) systemd: bool,
    /// Write the memory of a guest that panics into the VM's log directory
    #[arg(long)]
    pub(super) dump_on_panic: bool,
    /// Restore the guest that was saved after an earlier boot like this one; without a saved guest,
    /// boot and save it. Needs QEMU 8.2 or later, and TCG
    #[arg(long, env = "KILN_VM_SNAPSHOT", value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) snapshot: bool,
    /// How long the guest may show no sign of life before it counts as hung, such as 90s
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse, default_value = HANG_TIMEOUT)]
    pub(super) hang_timeout: Duration,
    /// How long the guest may take to boot, such as 90s or 5m
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    pub(super) boot_timeout: Option<Duration>,
    /// What happens to the VM of a command that failed
    #[arg(skip)]
    pub(super) stay: StayArgs,
    /// Where the logs of a VM go [default: into its temporary directory]
    #[arg(skip)]
    pub(super) logs: Option<PathBuf>,
    // Keep this last: options after a group with a heading would appear under that heading.
    /// What the guest sees
    #[command(flatten)]
    pub(super) root: RootArgs,
}

/// Reads `--gdb`.
fn parse_gdb(text: &str) -> Result<GdbStub, String> {
    if text.is_empty() {
        return Ok(GdbStub::Socket(None));
    }
    if text.chars().all(|c| c.is_ascii_digit()) {
        let port = text.parse().ok().filter(|port| *port > 0);
        return port
            .map(GdbStub::Port)
            .ok_or_else(|| "a port is a number from 1 to 65535".to_owned());
    }
    let path = std::path::absolute(text).map_err(|error| error.to_string())?;
    let length = path.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        return Err(format!(
            "the path of a socket has at most {MAX_SOCKET_PATH} bytes, and this has {length}: choose a shorter one"
        ));
    }
    Ok(GdbStub::Socket(Some(path)))
}

impl VmArgs {
    /// Checks what all VMs have in common, before any kernel is ready.
    pub(super) async fn check(
        &self,
        context: &Context,
        visible: &[PathBuf],
    ) -> Result<(), Failure> {
        self.check_possible()?;
        let scratch = scratch_dir()?;
        let common = Common {
            arch: Arch::default(),
            qemu: self.qemu.as_deref(),
            accel: self.accel,
            root: &self.root.root(),
            visible,
            writable: &self.rw,
            scratch: scratch.path(),
            cache: context.cache.root(),
        };
        Ok(common.check().await?)
    }

    /// Settings of the VMs of the kernel of this name: options come before `kernels.toml`.
    pub(super) fn settings(&self, context: &Context, kernel: &str) -> VmSettings {
        let asked = VmSettings {
            memory: self.memory.map(|value| Asked::option(value, "--memory")),
            cpus: self.cpus.map(|value| Asked::option(value, "--cpus")),
            cpu: self.cpu.clone().map(|value| Asked::option(value, "--cpu")),
            devices: AskedDevices {
                machine: self.machine.map(|value| Asked::option(value, "--machine")),
                transport: self
                    .transport
                    .map(|value| Asked::option(value, "--transport")),
                share: self.share.map(|value| Asked::option(value, "--share")),
            },
            ..VmSettings::default()
        };
        asked.or(&context.catalogue.settings_of(kernel))
    }

    /// Finds what cannot be had: arguments for QEMU that kiln sets itself, too many disks, an init
    /// system.
    pub(super) fn check_possible(&self) -> Result<(), Failure> {
        if self.systemd {
            return Err(Failure::new(
                crate::exit_code::USAGE,
                "--systemd: kiln's guests have no init system, only kiln's own",
            )
            .hint("run the daemon that a test needs as a part of its command, or use systemd-vmspawn or mkosi for whole systems"));
        }
        if self.disk.len() > MOST_DISKS {
            return Err(Failure::new(
                crate::exit_code::USAGE,
                format!("{} disks; a VM has at most {MOST_DISKS}", self.disk.len()),
            ));
        }
        self.check_snapshot()?;
        for (index, arg) in self.qemu_args.iter().enumerate() {
            let value = self.qemu_args.get(index + 1).map(String::as_str);
            if let Some(taken) = taken_qemu_arg(arg, value) {
                return Err(Failure::new(
                    crate::exit_code::USAGE,
                    format!("--qemu-arg: {taken}"),
                ));
            }
        }
        Ok(())
    }

    /// Finds options of VMs that have to boot.
    fn check_snapshot(&self) -> Result<(), Failure> {
        let boots = [
            ("--gdb", self.gdb.is_some()),
            ("--network", self.network.is_some()),
            ("--disk", !self.disk.is_empty()),
            ("--trace-boot", self.trace_boot),
            ("--qemu-arg", !self.qemu_args.is_empty()),
        ];
        match boots.into_iter().find(|(_, is_set)| *is_set) {
            Some((option, _)) if self.snapshot => Err(Failure::new(
                crate::exit_code::USAGE,
                format!("{option} is for a VM that boots, and --snapshot restores one"),
            )
            .hint("leave out one of the two, or unset KILN_VM_SNAPSHOT")),
            _ => Ok(()),
        }
    }

    /// Everything about one VM.
    pub(super) fn launch(
        &self,
        context: &Context,
        kernel: KernelImage,
        visible: &[PathBuf],
        dir: &Scratch,
        log_dir: &Path,
    ) -> Launch {
        let settings = self.settings(context, &kernel.name);
        // The last word is the command line's.
        let kernel_args = settings.append.iter().map(|asked| asked.value.clone());
        let qemu_args = settings.qemu_args.iter().flat_map(|asked| &asked.value);
        Launch {
            config: VmConfig {
                kernel_args: kernel_args.chain(self.append.clone()).collect(),
                qemu_args: qemu_args.chain(&self.qemu_args).cloned().collect(),
                kernel_log: Patterns::for_kernel(&context.catalogue.kernel_log, &kernel.name),
                kernel,
                accel: self.accel,
                settings,
                qemu: self.qemu.clone(),
                hang_timeout: self.hang_timeout,
                dump_on_panic: self.dump_on_panic,
                gdb: self.gdb.clone(),
                extras: Extras {
                    network: self.network.clone(),
                    disks: self.disk.clone(),
                    cores: self.cores,
                    trace: (!self.trace.is_empty()).then(|| Trace {
                        events: self.trace.clone(),
                        boot: self.trace_boot,
                    }),
                },
                snapshot: self.snapshot,
            },
            root: self.root.root(),
            visible: visible.to_vec(),
            writable: self.rw.clone(),
            edited: false,
            kiln: PathBuf::from("/proc/self/exe"),
            dir: dir.path().to_owned(),
            lease: dir.lease(),
            log_dir: log_dir.to_owned(),
            cache: context.cache.root().to_owned(),
            boot_timeout: self.boot_timeout.unwrap_or(BOOT_TIMEOUT),
        }
    }

    /// The options of the VM alone, without those of the command that runs in it.
    pub(super) fn of_vm(&self) -> Self {
        Self {
            env: EnvArgs::default(),
            stay: StayArgs::default(),
            logs: None,
            ..self.clone()
        }
    }

    /// Whether the host has this path but a guest with this working directory does not see it.
    pub(super) fn hides(&self, path: &Path, cwd: &Path) -> bool {
        let Ok(path) = path.canonicalize() else {
            return false;
        };
        let is_shared = |dir: &Path| dir.canonicalize().is_ok_and(|dir| path.starts_with(dir));
        !self.root.root().shows(&path)
            && !is_shared(cwd)
            && !self.rw.iter().any(|dir| is_shared(dir))
    }

    /// What of the host's environment reaches the guest, and what does not.
    pub(super) fn passed(&self) -> Passed {
        self.env.passed(self.root.root() == Root::Host)
    }

    /// The environment of a command: root's, then what is passed on, then the user's `--env`.
    pub(super) fn environment(&self) -> Result<Environment, Failure> {
        let mut environment: Environment = vec![
            (b"HOME".to_vec(), b"/root".to_vec()),
            (b"USER".to_vec(), b"root".to_vec()),
            (b"LOGNAME".to_vec(), b"root".to_vec()),
            (b"PATH".to_vec(), self.path().into_encoded_bytes()),
        ];
        for name in ["TERM", "LANG", "LC_ALL", "TZ", "NO_COLOR"] {
            if let Some(value) = std::env::var_os(name) {
                environment.push((name.into(), value.into_encoded_bytes()));
            }
        }
        for (name, value) in self.root.nix.variables() {
            environment.retain(|(other, _)| other != name.as_bytes());
            environment.push((name.clone().into(), value.clone().into()));
        }
        for (name, value) in self.passed().variables {
            environment.retain(|(other, _)| *other != name.as_encoded_bytes());
            environment.push((name.into_encoded_bytes(), value.into_encoded_bytes()));
        }
        self.env.set(&mut environment)?;
        Ok(environment)
    }

    /// `PATH` in the guest: the user's own if the root is the host's or Nix's, then the system's
    /// directories.
    pub(super) fn path(&self) -> OsString {
        let mut path = OsString::new();
        if let Some(dirs) = self.root.nix.path() {
            for dir in dirs {
                path.push(dir);
                path.push(":");
            }
        } else if !matches!(self.root.root(), Root::Dir(_))
            && let Some(own) = std::env::var_os("PATH")
        {
            path.push(own);
            path.push(":");
        }
        path.push(SYSTEM_PATH);
        path
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        vm: VmArgs,
    }

    fn check(words: &[&str]) -> Result<(), Failure> {
        let line = Line::try_parse_from([&["kiln"], words].concat()).unwrap();
        line.vm.check_possible()
    }

    #[test]
    fn what_needs_a_boot_does_not_go_with_snapshots() {
        for word in ["--gdb", "--network", "--disk=1G", "--qemu-arg=-s"] {
            assert!(check(&[word]).is_ok(), "{word}");
            let failure = check(&[word, "--snapshot"]).unwrap_err();
            assert_eq!(failure.code, crate::exit_code::USAGE);
            assert!(!failure.hints.is_empty());
            let (option, _) = word.split_once('=').unwrap_or((word, ""));
            assert!(failure.message.starts_with(option), "{}", failure.message);
        }
        let traced = ["--trace=sched", "--trace-boot"];
        assert!(check(&traced).is_ok());
        assert!(check(&[&traced[..], &["--snapshot"]].concat()).is_err());
        assert!(check(&["--snapshot", "--trace=sched", "--cores", "--memory=1G"]).is_ok());
    }
}
