//! A bare boot, and `kiln exec -- /bin/true`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use guest_init::plan::BootPlan;
use kiln::config::Catalogue;
use kiln::guest::init::GUEST_INIT;
use kiln::guest::initramfs;
use kiln::guest::root::Root;
use kiln::kernel::{self, Cache, Progress};
use kiln::vm::launch::Launch;
use kiln::vm::process::QemuProcess;
use kiln::vm::spec::{AccelChoice, VmConfig, VmSpec};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use tokio::process::Command;

use crate::sample::Sample;
use crate::{KILN, Result, verdict};

/// How long `kiln exec` may take, relative to a bare boot.
const TARGET: f64 = 1.2;

/// Far longer than any boot: anything longer is a hang.
const DEADLINE: Duration = Duration::from_secs(120);

/// How long one boot takes.
struct Cost {
    /// From the process's start to its end.
    wall: Duration,
    /// CPU time of it and its children, including QEMU: other work on the machine stretches the
    /// wall time, but hardly this.
    cpu: Duration,
}

/// Samples of one way to boot.
#[derive(Default)]
struct Samples {
    wall: Sample,
    cpu: Sample,
}

impl Samples {
    fn add(&mut self, cost: &Cost) {
        self.wall.add(cost.wall);
        self.cpu.add(cost.cpu);
    }
}

/// One kernel and its two ways.
struct Contest {
    kernel: String,
    spec: VmSpec,
    bare: Samples,
    exec: Samples,
}

/// Alternates bare boots and `kiln exec`, kernel after kernel, `rounds` times.
pub(crate) async fn measure(kernels: &[String], rounds: u32) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("kiln-bench-").tempdir()?;
    let mut contests = Vec::new();
    for (number, kernel) in kernels.iter().enumerate() {
        let spec = bare_spec(kernel, &dir.path().join(number.to_string())).await?;
        // Not measured: fills kiln's caches and the host's page cache.
        exec(kernel).await?;
        bare_boot(&spec).await?;
        contests.push(Contest {
            kernel: kernel.clone(),
            spec,
            bare: Samples::default(),
            exec: Samples::default(),
        });
    }
    for round in 1..=rounds {
        eprintln!("bench: boots, round {round} of {rounds}");
        for contest in &mut contests {
            contest.bare.add(&bare_boot(&contest.spec).await?);
            contest.exec.add(&exec(&contest.kernel).await?);
        }
    }
    for contest in &contests {
        println!(
            "{} under {}, median of {rounds} (shortest to longest)",
            contest.kernel, contest.spec.accelerator
        );
        let (bare, exec) = (&contest.bare, &contest.exec);
        compare("wall time", &bare.wall, &exec.wall);
        compare("CPU time", &bare.cpu, &exec.cpu);
        println!(
            "  target for the wall time: at most {TARGET}: {}",
            verdict(exec.wall.median_over(&bare.wall) <= TARGET)
        );
    }
    Ok(())
}

fn compare(what: &str, bare: &Sample, exec: &Sample) {
    println!("  {what:<10} bare boot to power-off  {bare}");
    println!("  {what:<10} kiln exec -- /bin/true  {exec}");
    println!(
        "  {what:<10} ratio                   {:7.2}    (of the shortest {:.2})",
        exec.median_over(bare),
        exec.shortest_over(bare)
    );
}

/// The VM that kiln makes for `kernel`, but with an init that powers off at once, without shares
/// and control port.
async fn bare_spec(kernel: &str, dir: &Path) -> Result<VmSpec> {
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
            memory: catalogue.defaults.memory.bytes(),
            cpus: catalogue.defaults.cpus,
            cpu: None,
            qemu: None,
            kernel_args: Vec::new(),
            qemu_args: Vec::new(),
            devices: kiln::config::AskedDevices::default(),
            hang_timeout: std::time::Duration::from_secs(60),
            dump_on_panic: false,
            kernel_log: kiln::vm::kernel_log::Patterns::default(),
        },
        root: Root::default_here(),
        visible: Vec::new(),
        writable: Vec::new(),
        edited: false,
        kiln: PathBuf::from(KILN),
        dir: dir.to_owned(),
        lease: None,
        log_dir: dir.to_owned(),
        cache: cache.root().to_owned(),
        boot_timeout: DEADLINE,
    };
    let mut spec = launch.prepare().await?.spec;
    spec.initramfs = dir.join("bare-initramfs");
    let plan = BootPlan {
        probe: true,
        ..BootPlan::default()
    };
    initramfs::build(&spec.initramfs, GUEST_INIT, &plan, &[])?;
    spec.virtiofs.clear();
    spec.control_socket = None;
    Ok(spec)
}

/// From QEMU's start to its end.
async fn bare_boot(spec: &VmSpec) -> Result<Cost> {
    let (start, cpu) = (Instant::now(), children()?);
    let mut qemu = QemuProcess::start(spec).await?;
    let status = tokio::time::timeout(DEADLINE, qemu.wait())
        .await
        .map_err(|_| format!("a bare boot of {} hangs", spec.kernel.name))??;
    let cost = Cost {
        wall: start.elapsed(),
        cpu: children()?.saturating_sub(cpu),
    };
    if !status.success() {
        return Err(format!("a bare boot ended with {status}: {}", qemu.messages()).into());
    }
    Ok(cost)
}

/// From kiln's start to its end.
async fn exec(kernel: &str) -> Result<Cost> {
    let (start, cpu) = (Instant::now(), children()?);
    let output = Command::new(KILN)
        .args(["exec", "-k", kernel, "--", "/bin/true"].map(OsStr::new))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let cost = Cost {
        wall: start.elapsed(),
        cpu: children()?.saturating_sub(cpu),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("kiln exec ended with {}: {said}", output.status).into());
    }
    Ok(cost)
}

/// CPU time of all children that have ended, and of theirs.
fn children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros)?))
}
