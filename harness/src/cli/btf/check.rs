//! `kiln btf check`: would an object or a script load on each kernel?

mod json;
mod load;
mod on_kernel;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};

use self::on_kernel::{Cell, OnKernel, name_of};
use super::kernels::select;
use crate::blocking::blocking;
use crate::bpf::{Facts, Input, Verdict};
use crate::btf::versions::sort_by_release;
use crate::cli::Failure;
use crate::cli::context::Context;
use crate::cli::input::{self, Interrupts};
use crate::cli::output;
use crate::cli::vm_args::VmArgs;
use crate::config::Selected;
use crate::exit_code;
use crate::kernel::{self, Progress};
use crate::report::TerminalStyle;
use crate::run::expectations::{self, Expectations, Subject};
use crate::suite::TestId;
use crate::suite::glob::matching;

/// The suite that files are of in `expectations.toml`.
const SUITE: &str = "btf";

/// Check on which kernels BPF objects and bpftrace scripts load, without booting anything.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  kiln btf check -k 5.10 -k 6.1 -k 6.12 runqslower.bpf.o
  kiln btf check -k 'debian:series' --format json *.bpf.o
  kiln btf check -k @quick --load prog.bpf.o
  kiln btf check -k @quick --load tools/*.bt")]
pub(super) struct CheckArgs {
    /// Kernel: a name or glob of kernels.toml, @group, POOL:VERSION such as debian:6.18, host, or a
    /// path: a build tree, an image, raw BTF, or a directory of raw BTF [default: all of
    /// kernels.toml]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// Also tell of what kernels lack and programs check for
    #[arg(long)]
    all: bool,
    /// Boot the kernels as well, load the objects there, and let bpftrace attach the scripts
    #[arg(long)]
    load: bool,
    /// Load an object with this command, in which {object} stands for the file [default: bpftool
    /// prog loadall]
    #[arg(long, value_name = "CMD", requires = "load")]
    loader: Option<String>,
    /// The bpftrace for scripts, a program or an AppImage [default: that of a suite in
    /// kernels.toml, else the one on PATH]
    #[arg(long, value_name = "PATH", requires = "load")]
    bpftrace: Option<PathBuf>,
    /// Known results [default: expectations.toml beside kernels.toml]
    #[arg(long, value_name = "FILE")]
    expectations: Option<PathBuf>,
    /// BPF objects, as `clang -g -O2 -target bpf` makes them, and bpftrace scripts, *.bt; may be
    /// globs
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How VMs are made, with --load
    #[command(flatten)]
    vm: VmArgs,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// A table, then the reasons
    #[default]
    Text,
    /// Everything, for programs
    Json,
}

impl CheckArgs {
    /// Checks every file on every kernel; returns the exit code.
    pub(super) async fn run(mut self, context: &Context) -> Result<u8, Failure> {
        let files = std::mem::take(&mut self.files);
        let cwd = context.cwd.clone();
        let read = blocking(move || {
            let files = files.into_iter().map(|file| matched(&cwd, file));
            let files = files.collect::<Result<Vec<_>, Failure>>()?.concat();
            let inputs = files.iter().map(|path| Input::read(path));
            let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
            Ok::<_, Failure>((files, inputs))
        });
        let (files, inputs) = read.await?;
        self.files = files;
        let inputs = Arc::new(inputs);
        let expectations = self.expectations(context)?;
        let mut interrupts = Interrupts::listen()?;
        if self.load {
            tokio::select! {
                resolved = self.vm.root.resolve(context) => resolved?,
                signal = interrupts.next() => return Ok(input::code_of(signal)),
            }
        }
        let selected = tokio::select! {
            selected = select(context, &self.kernels) => selected?,
            signal = interrupts.next() => return Ok(input::code_of(signal)),
        };
        let checked = {
            let (context, selected, inputs) = (context.clone(), selected.clone(), inputs.clone());
            blocking(move || check_all(&context, &selected, &inputs))
        };
        let mut kernels = tokio::select! {
            checked = checked => checked?,
            signal = interrupts.next() => return Ok(input::code_of(signal)),
        };
        for kernel in &mut kernels {
            for (cell, file) in kernel.cells.iter_mut().zip(&self.files) {
                let release = kernel.release.as_deref().unwrap_or(&kernel.name);
                cell.known = known(&expectations, file, release);
            }
        }
        if self.load {
            let loaded = self.load(context, &selected, &inputs, &mut kernels, &mut interrupts);
            if let Some(code) = loaded.await? {
                return Ok(code);
            }
        }
        sort_by_release(&mut kernels, |kernel| kernel.release.as_deref());
        self.print(&kernels)?;
        Ok(code(&kernels))
    }

    fn expectations(&self, context: &Context) -> Result<Expectations, Failure> {
        let file = match &self.expectations {
            Some(file) => context.cwd.join(file),
            None => context.beside(expectations::FILE_NAME),
        };
        Ok(Expectations::load(&file, self.expectations.is_some())?)
    }

    fn print(&self, kernels: &[OnKernel]) -> Result<(), Failure> {
        let text = match self.format {
            Format::Text => {
                let width = TerminalStyle::detect().width;
                text::render(&self.files, kernels, self.all, width)
            }
            Format::Json => json::render(&self.files, kernels),
        };
        output::print("the result", &text)
    }
}

/// The file of this name. If no such file exists, the name is a glob, for where no shell expands
/// it.
fn matched(cwd: &Path, file: PathBuf) -> Result<Vec<PathBuf>, Failure> {
    let name = file.to_string_lossy();
    if !name.contains(['*', '?']) || cwd.join(&file).exists() {
        return Ok(vec![file]);
    }
    Ok(matching(cwd, &name)?)
}

fn known(expectations: &Expectations, file: &Path, release: &str) -> Option<String> {
    let id = TestId::new(SUITE, name_of(file));
    let known = expectations.known(Subject {
        id: &id,
        suite: SUITE,
        release,
        bpftrace: None,
    });
    known.map(|known| known.reason.clone())
}

/// 100 where a file fails on a kernel; also where nothing could be told of one for want of BTF.
fn code(kernels: &[OnKernel]) -> u8 {
    let mut cells = kernels.iter().flat_map(|kernel| &kernel.cells);
    let files = kernels.first().map_or(0, |kernel| kernel.cells.len());
    let without = |index: usize| {
        let mut cells = kernels.iter().filter_map(|kernel| kernel.cells.get(index));
        cells.all(|cell| cell.report.verdict == Verdict::NoBtf && cell.known.is_none())
    };
    if cells.any(Cell::is_bad) || (0..files).any(without) {
        exit_code::TESTS_FAILED
    } else {
        exit_code::OK
    }
}

/// Checks all files on all kernels, some at once.
fn check_all(
    context: &Context,
    selected: &[Selected],
    inputs: &[Input],
) -> Result<Vec<OnKernel>, Failure> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let checked = kernel::at_once(selected, workers, |selected| {
        check_on(context, selected, inputs)
    });
    checked.into_iter().collect()
}

fn check_on(context: &Context, selected: &Selected, inputs: &[Input]) -> Result<OnKernel, Failure> {
    let progress = Progress::stderr();
    let facts = Facts::load(&context.catalogue, selected, &context.cache, &progress)?;
    let cells = inputs.iter().map(|input| Cell {
        report: input.check(&facts),
        is_script: input.script().is_some(),
        known: None,
        loaded: None,
    });
    Ok(OnKernel {
        cells: cells.collect(),
        name: facts.name,
        release: facts.release,
    })
}
