//! Compares the ways in which a guest gets its devices and files: virtio-mmio with PCI, virtiofs with
//! 9p, and all that a poor kernel lacks at once with the usual way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use walkdir::WalkDir;

use crate::cost::{Samples, compare, exec, kiln};
use crate::jobs::{selection, verdicts};
use crate::{KILN, Result, verdict};

/// Debian's kernel that is not for clouds has every way in, as modules.
const GENERIC: &str = "[kernels.generic]
apt = { suite = \"bookworm-security\", package = \"linux-image-6.1.0-*[0-9]-amd64\" }
";

/// How long `kiln exec` may take over PCI, relative to virtio-mmio.
const PCI: f64 = 1.1;
/// How long over 9p, relative to virtiofs.
const NINE_P: f64 = 1.5;
/// How long the smoke selection may take over PCI and 9p without overlayfs, relative to the usual
/// way.
const POOR: f64 = 1.3;

/// Boots with each, one after the other, `rounds` times; then runs the smoke selection both ways.
pub(crate) async fn measure(rounds: u32) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("kiln-bench-").tempdir()?;
    let kernels = Kernels::prepare(dir.path())?;
    let [usual, poor] =
        [&kernels.usual, &kernels.poor].map(|path| path.to_str().unwrap_or_default());
    let ways: [(&str, &[&str]); 3] = [
        (
            "virtio-mmio, virtiofs",
            &["--transport", "mmio", "--share", "virtiofs"],
        ),
        (
            "PCI, virtiofs",
            &["--transport", "pci", "--share", "virtiofs"],
        ),
        ("virtio-mmio, 9p", &["--transport", "mmio", "--share", "9p"]),
    ];
    let mut samples: [Samples; 3] = Default::default();
    for round in 0..=rounds {
        if round > 0 {
            eprintln!("bench: transports, round {round} of {rounds}");
        }
        for ((_, options), samples) in ways.iter().zip(&mut samples) {
            let cost = exec(&[&["-k", usual], *options].concat()).await?;
            // The first fills kiln's caches and the host's page cache.
            if round > 0 {
                samples.add(&cost);
            }
        }
    }
    let [mmio, pci, nine_p] = &samples;
    println!(
        "kiln exec -- /bin/true on Debian's generic 6.1, median of {rounds} (shortest to longest)"
    );
    for (other, name, target) in [(pci, ways[1].0, PCI), (nine_p, ways[2].0, NINE_P)] {
        let names = [ways[0].0, name];
        compare("wall time", names, &mmio.wall, &other.wall);
        compare("CPU time", names, &mmio.cpu, &other.cpu);
        let met = verdict(other.wall.median_over(&mmio.wall) <= target);
        println!("  target for the wall time: at most {target}: {met}");
    }
    smoke(dir.path(), usual, poor).await
}

/// Runs the smoke selection once each way, since a run takes minutes.
async fn smoke(dir: &Path, usual: &str, poor: &str) -> Result<()> {
    let filter = selection()?;
    let mut all = Vec::new();
    let mut counts: Vec<BTreeMap<String, usize>> = Vec::new();
    for (name, kernel, options) in [
        ("usual", usual, &[][..]),
        ("poor", poor, &["--transport", "pci", "--share", "9p"][..]),
    ] {
        eprintln!("bench: the smoke selection on the {name} kernel");
        let run_dir = dir.join(name);
        let directory = run_dir.to_str().unwrap_or_default();
        let fixed = [
            "run",
            "-j",
            "1",
            "-t",
            &filter,
            "-k",
            kernel,
            "--run-dir",
            directory,
        ];
        let args = [&fixed, options, &["bpftrace"]].concat();
        let mut samples = Samples::default();
        // 100: tests failed, which takes as long.
        samples.add(&kiln(args, &[0, 100]).await?);
        all.push(samples);
        counts.push(verdicts(&run_dir)?);
    }
    let ([usual, poor], [before, after]) = (&all[..], &counts[..]) else {
        return Err("two runs have two times".into());
    };
    if before != after {
        eprintln!("bench: the verdicts differ: {before:?}, then {after:?}");
    }
    println!("the smoke selection on Debian's generic 6.1: {after:?}");
    let names = ["virtio-mmio, virtiofs, overlayfs", "PCI, 9p, tmpfs"];
    compare("wall time", names, &usual.wall, &poor.wall);
    compare("CPU time", names, &usual.cpu, &poor.cpu);
    let met = verdict(poor.wall.median_over(&usual.wall) <= POOR);
    println!("  target for the wall time: at most {POOR}: {met}");
    Ok(())
}

/// Directories with the same kernel, with and without overlayfs.
struct Kernels {
    usual: PathBuf,
    poor: PathBuf,
}

impl Kernels {
    fn prepare(dir: &Path) -> Result<Self> {
        let config = dir.join("kernels.toml");
        fs::write(&config, GENERIC)?;
        let output = Command::new(KILN)
            .args(["kernels", "fetch", "-k", "generic", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        let fetched = String::from_utf8(output.stdout)?;
        let fields: Vec<&str> = fetched.trim_end().split('\t').collect();
        let ["generic", release, image] = fields[..] else {
            return Err(
                format!("kiln kernels fetch ended with {}: {fetched}", output.status).into(),
            );
        };
        let image = Path::new(image);
        let modules = image.with_file_name("modules").join(release);
        let [usual, poor] = ["usual", "poor"].map(|name| dir.join("k").join(name));
        link(image, &modules, release, &usual, &[])?;
        link(image, &modules, release, &poor, &["overlay.ko"])?;
        Ok(Self { usual, poor })
    }
}

/// Makes a directory like an unpacked package, of links, without the files of these names.
fn link(image: &Path, modules: &Path, release: &str, to: &Path, without: &[&str]) -> Result<()> {
    let target = to.join("lib/modules").join(release);
    fs::create_dir_all(to.join("boot"))?;
    hard_link(image, &to.join(format!("boot/vmlinuz-{release}")))?;
    for entry in WalkDir::new(modules) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        // kiln makes the lists of modules itself, and asks for what modules.order lists.
        let made = name == "modules.kiln" || name == "modules.dep" || name == "modules.order";
        let path = target.join(entry.path().strip_prefix(modules)?);
        if entry.file_type().is_dir() {
            fs::create_dir_all(path)?;
        } else if entry.file_type().is_file() && !made && !without.contains(&&*name) {
            hard_link(entry.path(), &path)?;
        }
    }
    Ok(())
}

/// Copies where the temporary directory is on another file system.
fn hard_link(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to)?;
    }
    Ok(())
}
