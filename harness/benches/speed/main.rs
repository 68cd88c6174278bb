//! Measures what kiln costs in addition to what cannot be avoided.
//!
//! `make bench` runs this. Everything that is compared is measured alternately in one run, on the
//! same machine: figures of one machine say nothing about another, but ratios do.
//!
//! ```text
//! cargo bench --bench speed -- --rounds 9 -k 6.1 -k 6.12
//! ```

mod boot;
mod btf;
mod cost;
mod jobs;
mod list;
mod memory;
mod overhead;
mod reuse;
mod sample;
mod suite;
mod transports;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// The program under measurement, built with the same profile as this one.
const KILN: &str = env!("CARGO_BIN_EXE_kiln");

/// The error of any measurement, reported once, at the end.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Measures kiln and prints figures and ratios.
#[derive(Debug, Parser)]
struct Options {
    /// How often each thing is measured; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Kernels, by their names in kernels.toml
    #[arg(short, long = "kernel", default_values_t = ["6.1".to_owned(), "6.12".to_owned()])]
    kernels: Vec<String>,
    /// What to measure; all by default
    #[arg(long, value_enum)]
    only: Option<Subject>,
    /// An earlier kiln to compare the suite with
    #[arg(long, value_name = "KILN")]
    before: Option<PathBuf>,
    /// Which tests of the suite, as in `kiln run -t`
    #[arg(long, value_name = "FILTER", default_value = ".")]
    tests: String,
    /// Cargo passes this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Subject {
    Boot,
    Memory,
    List,
    Overhead,
    Reuse,
    Jobs,
    /// Takes long: not measured unless asked for
    Suite,
    Transports,
    Btf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let measured = tokio::runtime::Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(measure(&options)));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Result<()> {
    // Where kernels.toml is, wherever cargo started this.
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::set_current_dir(&workspace)?;
    let wanted = |subject| options.only.is_none_or(|only| only == subject);
    if wanted(Subject::Boot) {
        boot::measure(&options.kernels, options.rounds).await?;
    }
    if wanted(Subject::Memory) {
        let kernel = options.kernels.first().ok_or("no kernel was named")?;
        memory::measure(kernel).await?;
    }
    if wanted(Subject::List) {
        list::measure(options.rounds)?;
    }
    if wanted(Subject::Overhead) {
        let kernel = options.kernels.first().ok_or("no kernel was named")?;
        overhead::measure(kernel, options.rounds)?;
    }
    if wanted(Subject::Reuse) {
        let kernel = options.kernels.first().ok_or("no kernel was named")?;
        reuse::measure(kernel, options.rounds)?;
    }
    if wanted(Subject::Jobs) {
        jobs::measure()?;
    }
    if options.only == Some(Subject::Suite) {
        let kernel = options.kernels.first().ok_or("no kernel was named")?;
        suite::measure(kernel, options.before.as_deref(), &options.tests)?;
    }
    if wanted(Subject::Transports) {
        transports::measure(options.rounds).await?;
    }
    if wanted(Subject::Btf) {
        btf::measure(&options.kernels, options.rounds)?;
    }
    Ok(())
}

/// `met` or `missed`: a measurement is not a test, so a miss is only reported.
fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}
