//! From a VM's configuration to a running VM: everything is resolved and written here, and then
//! booted.

mod boot;
mod error;
mod restore;
mod rising;
mod start;

pub use error::Error;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use guest_init::plan::{BootPlan, Cores, FileSystem};

use super::accel::{self, ProbeInput};
use super::arch::{self, platform};
use super::args;
use super::extras::CORES;
use super::means::Means;
use super::qemu::Qemu;
use super::snapshot::{self, Memory, Snapshot};
use super::spec::{AccelChoice, GdbStub, NinePSpec, VirtiofsSpec, VmConfig, VmSpec};
use super::trace::{BOOT, TRACES, Trace};
use crate::arch::Arch;
use crate::blocking::blocking;
use crate::config::ShareKind;
use crate::guest::init;
use crate::guest::initramfs;
use crate::guest::layout::{Layout, LayoutRequest, SharedDir};
use crate::guest::nodes;
use crate::guest::root::Root;
use crate::guest::share::ShareConfig;
use crate::kernel::facts::{Facts, Presence};
use crate::kernel::modules::ModuleFile;
use crate::scratch::Lease;

/// The option of kernels that can trace events.
const EVENT_TRACING: &str = "EVENT_TRACING";

/// What all VMs of one command have in common, whatever their kernels.
#[derive(Debug)]
pub struct Common<'a> {
    /// What their kernels run on.
    pub arch: Arch,
    /// QEMU binary; `None` means the one on `PATH`.
    pub qemu: Option<&'a Path>,
    /// The requested accelerator.
    pub accel: AccelChoice,
    /// The guest's root.
    pub root: &'a Root,
    /// Directories to show at the same path, copy-on-write.
    pub visible: &'a [PathBuf],
    /// Directories to show at the same path, writable.
    pub writable: &'a [PathBuf],
    /// A directory of our own.
    pub scratch: &'a Path,
    /// The user's cache.
    pub cache: &'a Path,
}

impl Common<'_> {
    /// Finds problems that would prevent every VM from starting: no QEMU, no KVM although required,
    /// a directory that cannot be shared.
    pub async fn check(&self) -> Result<(), Error> {
        Layout::new(&LayoutRequest {
            root: self.root,
            visible: self.visible,
            writable: self.writable,
            modules: None,
            hostname: "kiln",
            scratch: self.scratch,
        })?;
        let qemu = Qemu::find_remembered(self.qemu, self.arch, self.cache).await?;
        accel::settled(self.accel, &qemu, self.cache)?;
        Ok(())
    }
}

/// The complete request for a VM and its guest.
#[derive(Debug)]
pub struct Launch {
    /// The VM.
    pub config: VmConfig,
    /// The guest's root.
    pub root: Root,
    /// Directories to show at the same path, copy-on-write.
    pub visible: Vec<PathBuf>,
    /// Directories to show at the same path, writable.
    pub writable: Vec<PathBuf>,
    /// Whether the guest should soon see changes on the host in files that are not shared writable.
    pub edited: bool,
    /// The `kiln` binary that serves the shares.
    pub kiln: PathBuf,
    /// The VM's own directory, with a short path, for sockets.
    pub dir: PathBuf,
    /// Holds that directory while something is written into it.
    pub lease: Option<Lease>,
    /// Where to keep console and messages.
    pub log_dir: PathBuf,
    /// The user's cache.
    pub cache: PathBuf,
    /// From QEMU's start to hello.
    pub boot_timeout: Duration,
}

/// A VM that is ready to be started: all files are written, all names chosen.
#[derive(Debug)]
pub struct Prepared {
    /// The VM.
    pub spec: VmSpec,
    /// The QEMU it runs on.
    pub qemu: Qemu,
    /// A note for the user about the choice of accelerator, if any.
    pub accel_note: Option<String>,
    shares: Vec<ShareConfig>,
    boot_timeout: Duration,
    /// Boxed: every future of a start holds one of these.
    snapshot: Option<Box<Snapshot>>,
}

/// What the guest sees, and how.
struct LaidOut {
    layout: Layout,
    means: Means,
}

impl Prepared {
    /// A memory that can be saved, for one start of the VM.
    fn memory(&self) -> Result<Memory, Error> {
        Memory::new(self.spec.memory).map_err(Error::Memory)
    }
}

impl Launch {
    /// Resolves everything; starts nothing except, on first use, the accelerator probe.
    pub async fn prepare(self) -> Result<Prepared, Error> {
        // It mostly sleeps: do the rest meanwhile.
        let arch = self.config.kernel.arch;
        let counter_khz = tokio::task::spawn_blocking(move || arch::counter_khz(arch));
        let launch = Arc::new(self);
        let laying_out = Arc::clone(&launch);
        let (mut laid_out, boot_modules, (shares, nine_p)) = blocking(move || {
            let (laid_out, boot_modules) = laying_out.lay_out()?;
            let served = laying_out.serve(&laid_out.layout, laid_out.means.share)?;
            Ok::<_, Error>((laid_out, boot_modules, served))
        })
        .await?;
        let mut plan = std::mem::take(&mut laid_out.layout.plan);
        let chosen = launch.config.qemu.as_deref();
        let qemu = Qemu::find_remembered(chosen, arch, &launch.cache).await?;
        qemu.check(arch, &laid_out.means.needs_of_qemu())?;
        let choice = launch.choose_accelerator(&qemu, &laid_out.means).await?;
        let waits = launch.waits(&qemu, &choice, &laid_out.means, &plan)?;
        let in_initramfs = if waits {
            BootPlan {
                control: plan.control,
                waits,
                ..BootPlan::default()
            }
        } else {
            std::mem::take(&mut plan)
        };
        let initramfs = launch.pack("initramfs", in_initramfs, boot_modules).await?;
        let settings = &launch.config.settings;
        let spec = VmSpec {
            qemu: qemu.path.clone(),
            accelerator: choice.accelerator,
            memory: settings.memory(),
            cpus: settings.cpus(),
            cpu: settings.cpu.as_ref().map(|asked| asked.value.clone()),
            kernel: launch.config.kernel.clone(),
            initramfs,
            virtiofs: shares
                .iter()
                .map(|share| VirtiofsSpec {
                    tag: share.tag.clone(),
                    socket: share.socket.clone(),
                })
                .collect(),
            nine_p,
            means: laid_out.means,
            asked: [settings.reasons(), launch.config.extras.reasons()].concat(),
            qmp_socket: launch.dir.join("qmp.sock"),
            control_socket: Some(launch.dir.join("control.sock")),
            console_log: launch.log_dir.join("console.log"),
            qemu_log: launch.log_dir.join("qemu.log"),
            // Only a panic could make it fail; a guest can do without the number.
            counter_khz: counter_khz.await.unwrap_or_default(),
            hang_timeout: launch.config.hang_timeout,
            dump_on_panic: launch.config.dump_on_panic,
            gdb: launch.config.gdb.clone().map(|stub| match stub {
                GdbStub::Socket(None) => GdbStub::Socket(Some(launch.dir.join("gdb.sock"))),
                other => other,
            }),
            kernel_log: launch.config.kernel_log.clone(),
            extras: launch.config.extras.clone(),
            qemu_sandbox: qemu.sandbox,
            // The user has the last word.
            kernel_args: [
                launch.config.kernel.parameters(),
                // Else addresses are not those of the symbols.
                launch
                    .config
                    .gdb
                    .iter()
                    .map(|_| "nokaslr".to_owned())
                    .collect(),
                launch
                    .config
                    .extras
                    .trace
                    .iter()
                    .flat_map(Trace::kernel_args)
                    .collect(),
                launch.config.kernel_args.clone(),
            ]
            .concat(),
            qemu_args: launch.config.qemu_args.clone(),
            memory_file: None,
            incoming: false,
        };
        let length = args::kernel_command_line(&spec).len();
        let limit = platform(arch).max_command_line;
        if length > limit {
            return Err(Error::CommandLine {
                limit,
                kernel: spec.kernel.name,
                length,
            });
        }
        let mut snapshot = None;
        if waits {
            let (spec, qemu, cache) = (spec.clone(), qemu.clone(), launch.cache.clone());
            let made = blocking(move || Snapshot::of(&spec, &qemu, plan, &cache));
            snapshot = Some(Box::new(made.await?));
        }
        Ok(Prepared {
            spec,
            qemu,
            accel_note: choice.notice(),
            shares,
            boot_timeout: launch.boot_timeout,
            snapshot,
        })
    }

    /// Whether the guest waits for its plan, so that it can be saved.
    fn waits(
        &self,
        qemu: &Qemu,
        choice: &accel::Choice,
        means: &Means,
        plan: &BootPlan,
    ) -> Result<bool, Error> {
        if !self.config.snapshot {
            return Ok(false);
        }
        snapshot::check(qemu, choice.accelerator)?;
        if let Some(reason) = snapshot::unfit(&self.config, means, plan) {
            let kernel = &self.config.kernel.name;
            tracing::info!("{kernel} boots, and is not saved: {reason}");
            return Ok(false);
        }
        Ok(true)
    }

    /// Creates the VM's directories, reads the kernel's modules and plans what the guest sees.
    fn lay_out(&self) -> Result<(LaidOut, Vec<ModuleFile>), Error> {
        for dir in [&self.dir, &self.log_dir] {
            std::fs::create_dir_all(dir).map_err(|source| Error::Directory {
                path: dir.clone(),
                source,
            })?;
        }
        let kernel = &self.config.kernel;
        let facts = Facts::of(kernel).map_err(|source| Error::Modules {
            kernel: kernel.name.clone(),
            source,
        })?;
        let settings = &self.config.settings;
        let means = Means::choose(&settings.devices, &facts).map_err(|source| Error::Means {
            kernel: kernel.name.clone(),
            source: Box::new(source),
        })?;
        tracing::info!(
            "{}: {means}{}; chosen by {}",
            kernel.name,
            also(&settings.reasons()),
            facts.source()
        );
        let extras = &self.config.extras;
        extras.make_disks(&self.dir)?;
        let boot_modules =
            means
                .modules(&facts, &extras.modules())
                .map_err(|source| Error::Modules {
                    kernel: kernel.name.clone(),
                    source,
                })?;
        let [cores_dir, traces_dir] = [CORES, TRACES].map(|name| self.log_dir.join(name));
        let cores = extras.cores.map(|limit| Cores {
            dir: cores_dir.to_string_lossy().into_owned(),
            limit: limit.bytes(),
        });
        if extras.trace.is_some() && facts.option(EVENT_TRACING) == Presence::Missing {
            return Err(Error::NoTrace {
                kernel: kernel.name.clone(),
            });
        }
        let boot_trace = extras.trace.as_ref().filter(|trace| trace.boot);
        let boot_trace = boot_trace.map(|_| traces_dir.join(BOOT).to_string_lossy().into_owned());
        let mut writable = self.writable.clone();
        let wanted = [
            (cores.is_some(), cores_dir),
            (extras.trace.is_some(), traces_dir),
        ];
        for (_, dir) in wanted.into_iter().filter(|(is_wanted, _)| *is_wanted) {
            std::fs::create_dir_all(&dir).map_err(|source| Error::Directory {
                path: dir.clone(),
                source,
            })?;
            writable.push(dir);
        }
        let mut layout = Layout::new(&LayoutRequest {
            root: &self.root,
            visible: &self.visible,
            writable: &writable,
            modules: kernel
                .modules
                .as_deref()
                .map(|dir| (kernel.release.as_str(), dir)),
            hostname: &hostname(&kernel.name),
            scratch: &self.dir,
        })?;
        if let Some(config) = &kernel.config {
            layout.show_config(&kernel.release, config)?;
        }
        layout.plan.nodes = nodes::nodes(facts.index().static_nodes());
        layout.plan.files = match means.share {
            ShareKind::Virtiofs => FileSystem::Virtiofs,
            ShareKind::NineP => FileSystem::NineP {
                edited: self.edited,
            },
        };
        layout.plan.cores = cores;
        layout.plan.boot_trace = boot_trace;
        layout.plan.network = extras.network.is_some();
        layout.plan.control = means.control;
        layout.plan.no_overlay = !means.overlay;
        if means.overlay {
            layout.plan.writable.clear();
        }
        Ok((LaidOut { layout, means }, boot_modules))
    }

    /// The processes that serve the shares, or what QEMU is to serve by itself.
    fn serve(
        &self,
        layout: &Layout,
        kind: ShareKind,
    ) -> Result<(Vec<ShareConfig>, Vec<NinePSpec>), Error> {
        if kind == ShareKind::Virtiofs {
            let shares = layout.shares.iter().map(|shared| self.share(shared));
            return Ok((shares.collect::<Result<_, _>>()?, Vec::new()));
        }
        let shares = layout.shares.iter().map(|shared| self.nine_p(shared));
        Ok((Vec::new(), shares.collect::<Result<_, _>>()?))
    }

    /// A directory for QEMU to serve.
    fn nine_p(&self, shared: &SharedDir) -> Result<NinePSpec, Error> {
        if shared.only.is_some() {
            return Err(Error::Part {
                kernel: self.config.kernel.name.clone(),
                dir: shared.dir.clone(),
            });
        }
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        if shared.writable
            && let Err(error) = rustix::fs::access(&shared.dir, access)
        {
            return Err(Error::NotWritable {
                dir: shared.dir.clone(),
                source: error.into(),
            });
        }
        Ok(NinePSpec {
            tag: shared.tag.clone(),
            dir: shared.dir.clone(),
            writable: shared.writable,
        })
    }

    /// The process that serves a directory.
    fn share(&self, shared: &SharedDir) -> Result<ShareConfig, Error> {
        let only = match &shared.only {
            None => None,
            Some(names) => {
                let path = self.dir.join(format!("{}.only", shared.tag));
                let text = names.join("\n");
                std::fs::write(&path, text).map_err(|source| Error::Directory {
                    path: path.clone(),
                    source,
                })?;
                Some(path)
            }
        };
        Ok(ShareConfig {
            kiln: self.kiln.clone(),
            tag: shared.tag.clone(),
            dir: shared.dir.clone(),
            writable: shared.writable,
            only,
            edited: self.edited,
            socket: self.dir.join(format!("{}.sock", shared.tag)),
            log: self.log_dir.join(format!("share-{}.log", shared.tag)),
        })
    }

    /// Packs an initramfs in the VM's directory. The packing goes on if nobody waits for it any
    /// longer, and the directory then waits for it.
    async fn pack(
        &self,
        name: &str,
        plan: BootPlan,
        modules: Vec<ModuleFile>,
    ) -> Result<PathBuf, Error> {
        let initramfs = self.dir.join(name);
        let (dest, lease) = (initramfs.clone(), self.lease.clone());
        let init = init::of(self.config.kernel.arch);
        blocking(move || {
            let _lease = lease;
            initramfs::build(&dest, init, &plan, &modules)
        })
        .await?;
        Ok(initramfs)
    }

    async fn choose_accelerator(&self, qemu: &Qemu, means: &Means) -> Result<accel::Choice, Error> {
        if let Some(choice) = accel::settled(self.config.accel, qemu, &self.cache)? {
            return Ok(choice);
        }
        let plan = BootPlan {
            probe: true,
            ..BootPlan::default()
        };
        let initramfs = self.pack("probe-initramfs", plan, Vec::new()).await?;
        let input = ProbeInput {
            qemu,
            kernel: &self.config.kernel,
            initramfs: &initramfs,
            means,
            cache_dir: &self.cache,
        };
        Ok(accel::choose(self.config.accel, input).await?)
    }
}

/// What stands behind the means: `; memory 4G by --memory`.
fn also(asked: &[String]) -> String {
    let words = asked.iter().flat_map(|asked| ["; ", asked]);
    words.collect()
}

/// A host name from a kernel's name: `kiln-6-1`.
fn hostname(kernel: &str) -> String {
    let name = Path::new(kernel)
        .file_name()
        .map_or_else(|| kernel.into(), |name| name.to_string_lossy());
    let letters = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(50)
        .collect::<String>();
    format!("kiln-{letters}")
}
