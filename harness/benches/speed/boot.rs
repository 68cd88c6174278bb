//! A bare boot, `kiln exec -- /bin/true`, and the same in a restored guest where QEMU can save one.

use std::path::Path;
use std::time::{Duration, Instant};

use kiln::internals::bare_boot::BareVm;

use crate::cost::{Cost, Samples, children, compare, exec};
use crate::{KILN, Result, verdict};

/// How long `kiln exec` may take, relative to a bare boot.
const TARGET: f64 = 1.2;

/// How long it may take in a restored guest.
const RESTORED_TARGET: f64 = 0.6;

/// The ways.
const BARE: &str = "bare boot to power-off";
const EXEC: &str = "kiln exec -- /bin/true";
const RESTORED: &str = "kiln exec --snapshot -- /bin/true";

/// Far longer than any boot: anything longer is a hang.
const DEADLINE: Duration = Duration::from_secs(120);

/// One kernel and its ways.
struct Contest {
    kernel: String,
    vm: BareVm,
    bare: Samples,
    exec: Samples,
    restored: Option<Samples>,
}

/// Alternates bare boots and `kiln exec`, kernel after kernel, `rounds` times.
pub(crate) async fn measure(kernels: &[String], rounds: u32) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("kiln-bench-").tempdir()?;
    let mut contests = Vec::new();
    for (number, kernel) in kernels.iter().enumerate() {
        let dir = dir.path().join(number.to_string());
        let vm = BareVm::prepare(kernel, Path::new(KILN), &dir, DEADLINE).await?;
        // Not measured: fills kiln's caches and the host's page cache.
        exec(&["-k", kernel]).await?;
        bare_boot(&vm).await?;
        let mut restored = None;
        if vm.can_be_saved() {
            // Saves the guest, unless it is saved.
            restore(kernel).await?;
            restored = Some(Samples::default());
        }
        contests.push(Contest {
            kernel: kernel.clone(),
            vm,
            bare: Samples::default(),
            exec: Samples::default(),
            restored,
        });
    }
    for round in 1..=rounds {
        eprintln!("bench: boots, round {round} of {rounds}");
        for contest in &mut contests {
            contest.bare.add(&bare_boot(&contest.vm).await?);
            contest.exec.add(&exec(&["-k", &contest.kernel]).await?);
            if let Some(restored) = &mut contest.restored {
                restored.add(&restore(&contest.kernel).await?);
            }
        }
    }
    for contest in &contests {
        println!(
            "{} under {}, median of {rounds} (shortest to longest)",
            contest.kernel,
            contest.vm.accelerator()
        );
        let ways = [
            (EXEC, Some(&contest.exec), TARGET),
            (RESTORED, contest.restored.as_ref(), RESTORED_TARGET),
        ];
        for (way, samples, target) in ways {
            let Some(samples) = samples else { continue };
            let bare = &contest.bare;
            compare("wall time", [BARE, way], &bare.wall, &samples.wall);
            compare("CPU time", [BARE, way], &bare.cpu, &samples.cpu);
            println!(
                "  target for the wall time: at most {target}: {}",
                verdict(samples.wall.median_over(&bare.wall) <= target)
            );
        }
    }
    Ok(())
}

/// `kiln exec --snapshot`, from kiln's start to its end.
async fn restore(kernel: &str) -> Result<Cost> {
    exec(&["--snapshot", "-k", kernel]).await
}

/// From QEMU's start to its end.
async fn bare_boot(vm: &BareVm) -> Result<Cost> {
    let (start, cpu) = (Instant::now(), children()?);
    tokio::time::timeout(DEADLINE, vm.boot())
        .await
        .map_err(|_| "a bare boot hangs")??;
    Ok(Cost {
        wall: start.elapsed(),
        cpu: children()?.saturating_sub(cpu),
    })
}
