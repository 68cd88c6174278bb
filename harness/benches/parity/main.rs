//! Compares upstream's engine with ours, verdict by verdict.
//!
//! `make parity` runs bpftrace's runtime tests with upstream's own Python engine in one VM, runs
//! `kiln run` on the same kernel, and compares. Every difference must have a named explanation;
//! otherwise it fails.
//!
//! ```text
//! cargo bench --bench parity -- --kernel 6.1 -t '^call\.' --resume
//! ```

mod compare;
mod explain;
mod ours;
mod row;
mod upstream;
mod verdicts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use kiln::internals::modules_before_tests;

use verdicts::{Results, Selection};

/// The program under test, built with the same profile as this one.
pub(crate) const KILN: &str = env!("CARGO_BIN_EXE_kiln");

/// Below a kernel's directory: our verdicts without rules.
const COMPAT: &str = "compat";

/// The error of any step, reported once, at the end.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Compares the verdicts of upstream's engine with kiln's.
#[derive(Debug, Parser)]
struct Options {
    /// Kernels, by their names in kernels.toml
    #[arg(short, long = "kernel", default_values_t = ["6.1".to_owned(), "6.12".to_owned()])]
    kernels: Vec<String>,
    /// Only these tests, as for `kiln run -t`
    #[arg(short = 't', long = "filter", allow_hyphen_values = true)]
    filters: Vec<String>,
    /// Run only one engine
    #[arg(long, value_enum)]
    only: Option<Engine>,
    /// Continue where an earlier call stopped, with its results in --dir
    #[arg(long)]
    resume: bool,
    /// Run nothing: compare the results of earlier calls in --dir
    #[arg(long)]
    compare: bool,
    /// Directory for the results, with a subdirectory for each kernel
    #[arg(long, default_value = "target/parity")]
    dir: PathBuf,
    /// Number of kiln's VMs at the same time; upstream's engine has one
    #[arg(short, long, default_value_t = 2)]
    jobs: u16,
    /// Multiply the time limits of both engines by this
    #[arg(long, default_value_t = 5.5)]
    scale: f64,
    /// How often both run a test again if its verdicts differ without a rule
    #[arg(long, default_value_t = 2)]
    reruns: u32,
    /// Cargo passes this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Engine {
    Upstream,
    Ours,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match compare_all(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("parity: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every difference has an explanation.
fn compare_all(options: &Options) -> Result<bool> {
    let workspace = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    std::env::set_current_dir(&workspace)?;
    fs::create_dir_all(&options.dir)?;
    let dir = fs::canonicalize(&options.dir)?;
    let ids = selected(&options.filters)?;
    let selection = Selection {
        tests: workspace.join("target/bpftrace/tests"),
        ids: (!options.filters.is_empty()).then(|| ids.clone()),
        modules: modules_before_tests(&workspace.join("kernels.toml"))?,
        scale: options.scale,
        jobs: options.jobs,
        resume: options.resume,
        compat: false,
    };
    let mut explained = true;
    for kernel in &options.kernels {
        let dir = dir.join(kernel);
        run(options, kernel, &selection, &dir)?;
        if options.only.is_some() && !options.compare {
            continue;
        }
        let (upstream, ours) = results(&dir)?;
        let mut rows = compare::rows(&upstream, &ours, &ids);
        without_rules(options, kernel, &selection, &dir, &mut rows)?;
        if !options.compare {
            rerun(options, kernel, &selection, &dir, &mut rows)?;
        }
        print!("{}", compare::report(kernel, &rows, &upstream, &ours));
        if selection.ids.is_none() {
            print!("{}", compare::wall_times(&rows, &upstream, &ours));
        }
        explained &= rows.iter().all(|row| !explain::is_unexplained(row));
    }
    Ok(explained)
}

fn run(options: &Options, kernel: &str, selection: &Selection, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    if options.compare {
        return Ok(());
    }
    if options.only != Some(Engine::Ours) {
        upstream::run(kernel, selection, dir)?;
    }
    if options.only != Some(Engine::Upstream) && !(options.resume && ours::is_complete(dir)) {
        // Its content is from the earlier run.
        let compat = dir.join(COMPAT);
        if compat.exists() {
            fs::remove_dir_all(compat)?;
        }
        ours::run(kernel, selection, dir)?;
    }
    Ok(())
}

fn results(dir: &Path) -> Result<(Results, Results)> {
    Ok((upstream::results(dir)?, ours::results(dir)?))
}

/// Runs ours without rules where one had an effect, to see whether it changed the verdict.
fn without_rules(
    options: &Options,
    kernel: &str,
    selection: &Selection,
    dir: &Path,
    rows: &mut [row::Row],
) -> Result<()> {
    let ids: Vec<String> = rows
        .iter()
        .filter(|row| row.may_be_a_rule())
        .map(|row| row.id.clone())
        .collect();
    let dir = dir.join(COMPAT);
    if ids.is_empty() || (options.compare && !dir.exists()) {
        return Ok(());
    }
    let is_there = options.compare || (options.resume && ours::is_complete(&dir));
    if !is_there {
        eprintln!(
            "parity: rules affected {} on {kernel}: running them again without",
            ids.len()
        );
        fs::create_dir_all(&dir)?;
        let selection = Selection {
            ids: Some(ids),
            compat: true,
            ..selection.clone()
        };
        ours::run(kernel, &selection, &dir)?;
    }
    let mut compat = ours::results(&dir)?;
    for row in rows.iter_mut().filter(|row| row.may_be_a_rule()) {
        row.compat = compat.said.remove(&row.id);
    }
    Ok(())
}

/// Runs again what differs without a rule, because many tests depend on time.
fn rerun(
    options: &Options,
    kernel: &str,
    selection: &Selection,
    dir: &Path,
    rows: &mut [row::Row],
) -> Result<()> {
    for round in 1..=options.reruns {
        let ids: Vec<String> = rows
            .iter()
            .filter(|row| explain::is_unexplained(row))
            .map(|row| row.id.clone())
            .collect();
        if ids.is_empty() {
            break;
        }
        eprintln!(
            "parity: {} tests differ on {kernel}: running them again",
            ids.len()
        );
        let dir = dir.join(format!("again-{round}"));
        fs::create_dir_all(&dir)?;
        let selection = Selection {
            ids: Some(ids),
            resume: false,
            ..selection.clone()
        };
        upstream::run(kernel, &selection, &dir)?;
        ours::run(kernel, &selection, &dir)?;
        let (upstream, ours) = results(&dir)?;
        for row in rows.iter_mut().filter(|row| explain::is_unexplained(row)) {
            row.add(&upstream, &ours);
        }
    }
    Ok(())
}

/// The ids that the filters select.
fn selected(filters: &[String]) -> Result<Vec<String>> {
    let mut command = Command::new(KILN);
    command.arg("list").stdin(Stdio::null());
    for filter in filters {
        command.arg("-t").arg(filter);
    }
    let output = command.arg("bpftrace").output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("kiln list ended with {}: {said}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}
