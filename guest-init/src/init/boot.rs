//! From the kernel's hand-over to hello: plan, modules, root, mounts.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use guest_init::message::{Hello, PROTOCOL_VERSION, Timings};
use guest_init::plan::{BootPlan, Entry, EntryKind, FileSystem, Node, ShareAccess, SharePlan};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::failure::{Context, Failure, console};
use super::mounts::{DEV_LINKS, DEVTMPFS, EARLY, FAVOR_DYNMODS, Mount, Need, SYSTEM};
use super::{clock, cores, laid, layers, mounts, net, nodes, trace, upper};

/// The read-only share that holds the guest's root.
const LOWER: &str = "/lower";
/// Where the overlay is mounted before it becomes `/`.
const NEW_ROOT: &str = "/newroot";
/// tmpfs with the upper layers.
const UPPER: &str = "/upper";
/// The program that the kernel runs to load a module.
const MODPROBE: &str = "/proc/sys/kernel/modprobe";
/// Under the guest's `/run`: lower and upper layers of further shares.
const SHARE_LAYERS: &str = "/run/kiln";

/// When each boot step was complete.
pub(crate) struct Clock {
    pub(crate) timings: Timings,
}

impl Clock {
    /// Starts with the hand-over, which is now.
    pub(crate) fn start() -> Self {
        let mut clock = Self {
            timings: Timings::default(),
        };
        clock.timings.init = clock.now();
        clock
    }

    /// Microseconds since the kernel started its clock.
    #[expect(clippy::unused_self, reason = "reads as a clock at the call sites")]
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(clock::since_boot().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Mounts what the initramfs needs.
pub(crate) fn early_mounts() -> Result<(), Failure> {
    for entry in EARLY {
        mount_entry(entry)?;
    }
    Ok(())
}

/// Reads the boot plan.
pub(crate) fn read_plan(path: &Path) -> Result<BootPlan, Failure> {
    let bytes = fs::read(path).during("read the boot plan", &path.display())?;
    postcard::from_bytes(&bytes).during("read the boot plan", &path.display())
}

/// Loads the boot modules in the given order, and removes their files, which would otherwise stay
/// in the guest's memory.
pub(crate) fn load_modules(modules: &[String]) -> Result<(), Failure> {
    const STAGE: &str = "load a boot module";
    for module in modules {
        let file = File::open(module).during(STAGE, module)?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            // Already loaded at the request of another module, or built in.
            Ok(()) | Err(Errno::EEXIST) => {}
            // No such device: a driver for hardware that this CPU lacks, such as an accelerated
            // checksum; the portable one follows in the list.
            Err(Errno::ENODEV) => console(&format!("{module}: no such device")),
            Err(error) => return Err(error).during(STAGE, module),
        }
        let _ = fs::remove_file(module);
    }
    Ok(())
}

/// Mounts the overlay over the root share and makes it `/`.
pub(crate) fn enter_root(plan: &BootPlan) -> Result<Vec<String>, Failure> {
    const STAGE: &str = "enter the root";
    let Some(tag) = &plan.root_tag else {
        return Ok(Vec::new());
    };
    for directory in [LOWER, NEW_ROOT, UPPER] {
        fs::create_dir_all(directory).during(STAGE, &directory)?;
    }
    let root = match plan.files {
        FileSystem::NineP { .. } => FileSystem::NineP { edited: false },
        FileSystem::Virtiofs => FileSystem::Virtiofs,
    };
    mount_share(root, tag, Path::new(LOWER), ShareAccess::CopyOnWrite)?;
    let entries = &plan.root_entries;
    if plan.no_overlay {
        let mut written: Vec<PathBuf> = laid::WRITTEN.iter().map(PathBuf::from).collect();
        let asked = plan
            .writable
            .iter()
            .map(|path| path.trim_start_matches('/'));
        written.extend(asked.map(PathBuf::from));
        tmpfs(Path::new(LOWER), Path::new(NEW_ROOT), entries, &written)?;
    } else {
        mount_tmpfs(Path::new(UPPER))?;
        overlay(
            Path::new(LOWER),
            Path::new(UPPER),
            Path::new(NEW_ROOT),
            entries,
        )?;
    }
    // switch_root(8): the initramfs cannot be pivoted away, only covered.
    nix::unistd::chdir(NEW_ROOT).during(STAGE, &NEW_ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .during(STAGE, &"move onto /")?;
    nix::unistd::chroot(".").during(STAGE, &"chroot")?;
    nix::unistd::chdir("/").during(STAGE, &"/")?;
    let mut warnings = Vec::new();
    let mut known = None;
    for entry in SYSTEM {
        if entry.need == Need::WhereReady {
            // By now /proc is mounted.
            let known = known
                .get_or_insert_with(|| fs::read_to_string("/proc/filesystems").unwrap_or_default());
            if !is_known(known, entry.fstype) {
                continue;
            }
        }
        // Mounting bpffs makes the kernel run modprobe for `bpf_preload`
        // (kernel/bpf/inode.c), which no distribution has, and a start of
        // modprobe costs a tenth of a second under emulation.
        let quiet = entry.fstype == "bpf";
        let mounted = if quiet {
            without_modprobe(|| mount_entry(entry))
        } else {
            mount_entry(entry)
        };
        match mounted {
            Ok(()) => {}
            Err(failure) if entry.need == Need::Required => return Err(failure),
            Err(_) if entry.need == Need::WhereReady => {}
            Err(failure) => warnings.push(format!("{}: {}", failure.stage, failure.message)),
        }
    }
    for (target, link) in DEV_LINKS {
        // devtmpfs may have a node of that name (ptmx): leave it alone.
        match symlink(target, link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                warnings.push(format!("make {link}: {error}"));
            }
            _ => {}
        }
    }
    for node in &plan.nodes {
        if let Err(error) = make_node(node) {
            warnings.push(format!("make /dev/{}: {error}", node.path));
        }
    }
    for entry in &plan.missing_entries {
        if let Err(error) = upper::add(entry) {
            warnings.push(format!("make {}: {error}", entry.path));
        }
    }
    Ok(warnings)
}

/// Whether `/proc/filesystems` lists a filesystem; each of its lines ends with a name.
fn is_known(filesystems: &str, name: &str) -> bool {
    filesystems
        .lines()
        .any(|line| line.split_whitespace().next_back() == Some(name))
}

/// Creates a node below `/dev` if it is missing, and sets its mode.
fn make_node(node: &Node) -> std::io::Result<()> {
    let path = Path::new("/dev").join(&node.path);
    if let Some(device) = node.device {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let kind = if device.block {
            SFlag::S_IFBLK
        } else {
            SFlag::S_IFCHR
        };
        let number = makedev(device.major.into(), device.minor.into());
        match mknod(&path, kind, Mode::S_IRUSR | Mode::S_IWUSR, number) {
            // Its driver has already created it.
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
    } else if !path.exists() {
        return Ok(());
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(node.mode))
}

/// Further shares, host name, loopback.
pub(crate) fn settle(plan: &BootPlan) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    for (index, share) in plan.shares.iter().enumerate() {
        enter_share(plan, index, share)?;
    }
    if let Err(error) = nix::unistd::sethostname(&plan.hostname) {
        warnings.push(format!("set the host name {}: {error}", plan.hostname));
    }
    if let Err(error) = net::loopback_up() {
        warnings.push(format!("bring up lo: {error}"));
    }
    if let Some(cores) = &plan.cores
        && let Err(error) = cores::set(cores)
    {
        warnings.push(format!("have cores written to {}: {error}", cores.dir));
    }
    if let Some(path) = &plan.boot_trace
        && let Err(error) = trace::keep_boot(path)
    {
        warnings.push(format!("write the trace of the boot to {path}: {error}"));
    }
    if plan.network
        && let Err(error) = net::card_up()
    {
        warnings.push(format!("bring up the network: {error}"));
    }
    Ok(warnings)
}

/// The first message.
pub(crate) fn hello(clock: &Clock, warnings: Vec<String>) -> Result<Hello, Failure> {
    let uname = nix::sys::utsname::uname().during("say hello", &"uname")?;
    Ok(Hello {
        protocol: PROTOCOL_VERSION,
        release: uname.release().to_string_lossy().into_owned(),
        machine: uname.machine().to_string_lossy().into_owned(),
        timings: clock.timings,
        warnings,
    })
}

/// Does something while the kernel may not load modules by itself, which an empty `kernel.modprobe`
/// forbids (kernel doc, admin-guide/sysctl/kernel).
pub(super) fn without_modprobe<T>(work: impl FnOnce() -> T) -> T {
    let before = fs::read(MODPROBE).unwrap_or_default();
    // If this fails, the boot only takes longer.
    let _ = fs::write(MODPROBE, "\n");
    let done = work();
    let _ = fs::write(MODPROBE, before);
    done
}

fn enter_share(plan: &BootPlan, index: usize, share: &SharePlan) -> Result<(), Failure> {
    const STAGE: &str = "mount a share";
    let files = plan.files;
    let target = Path::new(&share.target);
    let layers = PathBuf::from(SHARE_LAYERS).join(index.to_string());
    let mut spread = None;
    if plan.no_overlay && !target.exists() {
        spread = open_up_above(target, &layers.join("above")).during(STAGE, &share.target)?;
    }
    upper::make_above(target, &share.parents).during(STAGE, &share.target)?;
    fs::create_dir_all(target).during(STAGE, &share.target)?;
    match share.access {
        ShareAccess::ReadOnly | ShareAccess::ReadWrite => {
            mount_share(files, &share.tag, target, share.access)?;
            match spread {
                Some(directory) => laid::seal(&directory).during(STAGE, &directory.display()),
                None => Ok(()),
            }
        }
        ShareAccess::CopyOnWrite => {
            let lower = layers.join("lower");
            fs::create_dir_all(&lower).during(STAGE, &lower.display())?;
            mount_share(files, &share.tag, &lower, share.access)?;
            if plan.no_overlay {
                tmpfs(&lower, target, &[], &[PathBuf::new()])
            } else {
                overlay(&lower, &layers, target, &[])
            }
        }
    }
}

/// Lets directories be made in the nearest directory above a mount point, where
/// it is bound read-only. Returns it if it is to be [sealed](laid::seal) when the mount point is
/// made.
fn open_up_above(target: &Path, staging: &Path) -> std::io::Result<Option<PathBuf>> {
    let Some(above) = target.ancestors().skip(1).find(|path| path.is_dir()) else {
        return Ok(None);
    };
    let is_read_only = |path: &Path| {
        let flags = rustix::fs::statvfs(path)?.f_flag;
        Ok::<_, std::io::Error>(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY))
    };
    let real = above.canonicalize()?;
    if !is_read_only(&real)? {
        return Ok(None);
    }
    if above.is_symlink()
        && let Some(parent) = above.parent()
        && !is_read_only(parent)?
    {
        laid::spread(above)?;
        return Ok(Some(above.to_owned()));
    }
    fs::create_dir_all(staging)?;
    laid::open_up(&real, staging)?;
    Ok(None)
}

/// Mounts a tmpfs at `target` in place of an overlay of `lower`: with `entries`,
/// with copies of the directories `written`, relative to it, and with all else
/// read-only.
fn tmpfs(
    lower: &Path,
    target: &Path,
    entries: &[Entry],
    written: &[PathBuf],
) -> Result<(), Failure> {
    const STAGE: &str = "lay a tmpfs";
    mount_tmpfs(target)?;
    let mut hiding = Vec::new();
    let mut plain = entries.to_vec();
    for entry in &mut plain {
        if entry.kind == EntryKind::EmptyDirectory {
            hiding.push(PathBuf::from(entry.path.trim_start_matches('/')));
            // Only an overlay has to be told.
            entry.kind = EntryKind::Directory;
        }
    }
    put_in(&plain, lower, target).during(STAGE, &target.display())?;
    let is_root = target == Path::new(NEW_ROOT);
    let laid =
        laid::lay(lower, target, written, &hiding, is_root).during(STAGE, &target.display())?;
    layers::keep(lower, target, target, laid.copies);
    Ok(())
}

fn mount_tmpfs(target: &Path) -> Result<(), Failure> {
    mount_raw("tmpfs", target, "tmpfs", MsFlags::empty(), "mode=0755")
        .during("mount a tmpfs", &target.display())
}

/// Makes `layer` look like the directory `lower`, except where one of the entries, which it gets,
/// is that directory: a user's own directory is root's in the guest.
fn put_in(entries: &[Entry], lower: &Path, layer: &Path) -> std::io::Result<()> {
    upper::take_over(lower, layer)?;
    upper::lay(entries, lower, layer)?;
    upper::take_over_times(&fs::symlink_metadata(lower)?, layer)
}

/// Mounts an overlay of `lower` with `upper/upper` and `upper/work` at `target`; `upper` is on a
/// tmpfs, and first gets `entries`.
fn overlay(lower: &Path, upper: &Path, target: &Path, entries: &[Entry]) -> Result<(), Failure> {
    const STAGE: &str = "mount an overlay";
    let (layer, work) = (upper.join("upper"), upper.join("work"));
    for directory in [&layer, &work] {
        fs::create_dir_all(directory).during(STAGE, &directory.display())?;
    }
    put_in(entries, lower, &layer).during(STAGE, &target.display())?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        layer.display(),
        work.display()
    );
    mount_raw("overlay", target, "overlay", MsFlags::empty(), &options)
        .during(STAGE, &target.display())?;
    upper::settle(entries, target);
    layers::keep(lower, &layer, target, Vec::new());
    Ok(())
}

/// Mounts a share; all but those that are written through are read-only.
fn mount_share(
    files: FileSystem,
    tag: &str,
    target: &Path,
    access: ShareAccess,
) -> Result<(), Failure> {
    let flags = match access {
        ShareAccess::ReadWrite => MsFlags::empty(),
        ShareAccess::ReadOnly | ShareAccess::CopyOnWrite => MsFlags::MS_RDONLY,
    };
    let (fstype, options) = mounts::of_share(files, access);
    mount_raw(tag, target, fstype, flags, &options).during(
        "mount a share",
        &format_args!("{tag} at {}", target.display()),
    )
}

pub(super) fn mount_entry(entry: &Mount) -> Result<(), Failure> {
    const STAGE: &str = "mount a filesystem";
    let thing = format!("{} at {}", entry.fstype, entry.target);
    // In sysfs, a missing mount point means that the kernel lacks the filesystem.
    if !Path::new(entry.target).is_dir() {
        fs::create_dir_all(entry.target).during(STAGE, &thing)?;
    }
    let mount_with = |options: &str| {
        let target = Path::new(entry.target);
        mount_raw(entry.source, target, entry.fstype, entry.flags, options)
    };
    // An older kernel refuses it.
    if entry.fstype == "cgroup2" && mount_with(FAVOR_DYNMODS).is_ok() {
        return Ok(());
    }
    match mount_with(entry.options) {
        Err(Errno::ENODEV) if entry.fstype == DEVTMPFS => {
            let target = Path::new(entry.target);
            mount_raw(DEVTMPFS, target, "tmpfs", entry.flags, entry.options)
                .during(STAGE, &thing)?;
            nodes::start();
            Ok(())
        }
        mounted => mounted.during(STAGE, &thing),
    }
}

fn mount_raw(
    source: &str,
    target: &Path,
    fstype: &str,
    flags: MsFlags,
    options: &str,
) -> nix::Result<()> {
    let options = CString::new(options).map_err(|_| Errno::EINVAL)?;
    mount(
        Some(source),
        target,
        Some(fstype),
        flags,
        Some(options.as_c_str()),
    )
}
