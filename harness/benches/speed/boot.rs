//! A bare boot, and `kiln exec -- /bin/true`.

use std::path::{Path, PathBuf};
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

use crate::cost::{Cost, Samples, children, compare, exec};
use crate::{KILN, Result, verdict};

/// How long `kiln exec` may take, relative to a bare boot.
const TARGET: f64 = 1.2;

/// The two ways.
const BARE: &str = "bare boot to power-off";
const EXEC: &str = "kiln exec -- /bin/true";

/// Far longer than any boot: anything longer is a hang.
const DEADLINE: Duration = Duration::from_secs(120);

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
        exec(&["-k", kernel]).await?;
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
            contest.exec.add(&exec(&["-k", &contest.kernel]).await?);
        }
    }
    for contest in &contests {
        println!(
            "{} under {}, median of {rounds} (shortest to longest)",
            contest.kernel, contest.spec.accelerator
        );
        let (bare, exec) = (&contest.bare, &contest.exec);
        let ways = [BARE, EXEC];
        compare("wall time", ways, &bare.wall, &exec.wall);
        compare("CPU time", ways, &bare.cpu, &exec.cpu);
        println!(
            "  target for the wall time: at most {TARGET}: {}",
            verdict(exec.wall.median_over(&bare.wall) <= TARGET)
        );
    }
    Ok(())
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
            settings: catalogue.defaults.clone(),
            qemu: None,
            kernel_args: Vec::new(),
            qemu_args: Vec::new(),
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
