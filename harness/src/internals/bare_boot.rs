//! VMs whose init powers off at once, for `benches/speed` and
//! `tests/firmware.rs`.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guest_init::plan::BootPlan;

use crate::arch::Arch;
use crate::config::{Catalogue, VmSettings};
use crate::guest::init::GUEST_INIT;
use crate::guest::initramfs;
use crate::guest::root::Root;
use crate::kernel::{self, Cache, KernelImage, Progress};
use crate::vm::accelerator::Accelerator;
use crate::vm::arch::counter_khz;
use crate::vm::args;
use crate::vm::extras::Extras;
use crate::vm::kernel_log::Patterns;
use crate::vm::launch::Launch;
use crate::vm::means::Means;
use crate::vm::process::QemuProcess;
use crate::vm::snapshot;
use crate::vm::spec::{AccelChoice, VmConfig, VmSpec};

/// How long a guest may be silent: as `kiln exec` has it.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);

/// Writes an initramfs whose init powers off at once, and is `extra` bytes
/// longer than needed.
pub fn write_initramfs(dest: &Path, extra: usize) -> Result<(), Box<dyn Error>> {
    let plan = BootPlan {
        probe: true,
        ..BootPlan::default()
    };
    // The kernel ignores what follows an ELF file's segments.
    let init = [GUEST_INIT, &vec![0xff; extra]].concat();
    Ok(initramfs::build(dest, &init, &plan, &[])?)
}

/// The VM that kiln makes for a kernel, but without shares and control port,
/// and with an init that powers off at once. For `benches/speed`.
pub struct BareVm {
    spec: VmSpec,
    saves: bool,
}

impl BareVm {
    /// A VM of the kernel of this name; its files are in `dir`. `kiln` is the
    /// program that would serve its shares, and `boot_timeout` limits the probe
    /// for an accelerator.
    pub async fn prepare(
        kernel: &str,
        kiln: &Path,
        dir: &Path,
        boot_timeout: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let cwd = std::env::current_dir()?;
        let catalogue = Catalogue::discover(None, &cwd)?;
        let cache = Cache::from_env()?;
        let selected = catalogue.select(&[kernel], &cwd)?;
        let [selected] = selected.as_slice() else {
            return Err(format!("{kernel} is not one kernel").into());
        };
        let image = kernel::provide(&catalogue, selected, &cache, &Progress::stderr())?;
        let launch = Launch {
            config: VmConfig {
                kernel: image,
                accel: AccelChoice::Auto,
                settings: VmSettings {
                    memory: catalogue.defaults.memory.clone(),
                    cpus: catalogue.defaults.cpus.clone(),
                    ..VmSettings::default()
                },
                // As `kiln exec` has it.
                qemu: std::env::var_os("KILN_QEMU").map(PathBuf::from),
                kernel_args: Vec::new(),
                qemu_args: Vec::new(),
                hang_timeout: HANG_TIMEOUT,
                dump_on_panic: false,
                gdb: None,
                kernel_log: Patterns::default(),
                extras: Extras::default(),
                snapshot: false,
            },
            root: Root::default_here(),
            visible: Vec::new(),
            writable: Vec::new(),
            edited: false,
            kiln: kiln.to_owned(),
            dir: dir.to_owned(),
            lease: None,
            log_dir: dir.to_owned(),
            cache: cache.root().to_owned(),
            boot_timeout,
        };
        let prepared = launch.prepare().await?;
        let mut spec = prepared.spec;
        let saves = snapshot::check(&prepared.qemu, spec.accelerator).is_ok();
        spec.initramfs = dir.join("bare-initramfs");
        write_initramfs(&spec.initramfs, 0)?;
        spec.virtiofs.clear();
        spec.control_socket = None;
        Ok(Self { spec, saves })
    }

    /// Whether its QEMU can save a guest (`kiln exec --snapshot`).
    pub fn can_be_saved(&self) -> bool {
        self.saves
    }

    /// `kvm` or `tcg`.
    pub fn accelerator(&self) -> String {
        self.spec.accelerator.to_string()
    }

    /// Boots it, until QEMU has ended. Dropping the future kills QEMU.
    pub async fn boot(&self) -> Result<(), Box<dyn Error>> {
        let mut qemu = QemuProcess::start(&self.spec).await?;
        let status = qemu.wait().await?;
        if !status.success() {
            return Err(format!("a bare boot ended with {status}: {}", qemu.messages()).into());
        }
        Ok(())
    }
}

/// A boot without kiln: only its QEMU command line. For `tests/firmware.rs`.
pub struct DirectBoot {
    /// The QEMU binary.
    pub qemu: PathBuf,
    /// The kernel's image, with a PVH entry.
    pub image: PathBuf,
    /// Its initramfs.
    pub initramfs: PathBuf,
    /// A directory for sockets.
    pub dir: PathBuf,
    /// More arguments for QEMU.
    pub qemu_args: Vec<String>,
}

impl DirectBoot {
    /// QEMU's command line, for TCG.
    pub fn command(self) -> Vec<OsString> {
        args::command(&VmSpec {
            qemu: self.qemu,
            accelerator: Accelerator::Tcg,
            memory: 512 << 20,
            cpus: 1,
            cpu: None,
            kernel: KernelImage {
                name: "direct".to_owned(),
                arch: Arch::X86_64,
                release: "unknown".to_owned(),
                image: self.image,
                modules: None,
                module_index: None,
                config: None,
            },
            initramfs: self.initramfs,
            virtiofs: Vec::new(),
            nine_p: Vec::new(),
            means: Means::default(),
            asked: Vec::new(),
            qmp_socket: self.dir.join("qmp"),
            control_socket: None,
            console_log: self.dir.join("console"),
            qemu_log: self.dir.join("qemu.log"),
            counter_khz: counter_khz(Arch::X86_64),
            hang_timeout: HANG_TIMEOUT,
            dump_on_panic: false,
            gdb: None,
            kernel_log: Patterns::default(),
            extras: Extras::default(),
            qemu_sandbox: false,
            kernel_args: Vec::new(),
            qemu_args: self.qemu_args,
            memory_file: None,
            incoming: false,
        })
    }
}
