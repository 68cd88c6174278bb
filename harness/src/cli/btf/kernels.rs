//! The kernels that a question is about, and their BTF.

use crate::blocking::blocking;
use crate::btf::{self, Kernel};
use crate::cli::Failure;
use crate::cli::context::Context;
use crate::config::Selected;
use crate::exit_code;
use crate::hint::{Hint, with_causes};
use crate::kernel::{self, Progress};
use crate::report::escape;

/// The kernels that `-k` selects; all of kernels.toml without one.
pub(super) async fn select(
    context: &Context,
    kernels: &[String],
) -> Result<Vec<Selected>, Failure> {
    let selected = if kernels.is_empty() {
        let all = context.catalogue.kernels.iter().cloned();
        all.map(Selected::Named).collect()
    } else {
        context.select(kernels).await?
    };
    if selected.is_empty() {
        let failure = Failure::new(exit_code::NOTHING_SELECTED, "no kernel is selected");
        return Err(failure.hint("name one with -k: `kiln kernels list` shows them"));
    }
    context.fetch(&selected).await;
    Ok(selected)
}

/// Does `work` with the BTF of each kernel, several at once, and keeps only what it gives: the BTF
/// of twenty kernels would fill the memory.
pub(super) async fn each<T: Send + 'static>(
    context: &Context,
    selected: Vec<Selected>,
    work: impl Fn(&Selected, Result<Kernel, btf::Error>) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let context = context.clone();
    blocking(move || {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        kernel::at_once(&selected, workers, |selected| {
            work(selected, open(&context, selected))
        })
    })
    .await
}

pub(super) fn open(context: &Context, selected: &Selected) -> Result<Kernel, btf::Error> {
    let progress = Progress::stderr();
    btf::open(&context.catalogue, selected, &context.cache, &progress)
}

/// Why a kernel could not be asked, in a line.
pub(super) fn reason(error: &btf::Error) -> String {
    escape::line(&with_causes(error)).into_owned()
}

/// The failure of one kernel.
pub(super) fn failure(kernel: &str, error: &btf::Error) -> Failure {
    let mut failure = Failure::new(
        exit_code::SETUP_FAILED,
        format!("kernel {kernel}: {}", with_causes(error)),
    );
    failure.hints = error.hints();
    failure
}

/// The failure of a kernel that was built without BTF.
pub(super) fn without_btf(kernel: &str) -> Failure {
    let failure = Failure::new(
        exit_code::TESTS_FAILED,
        format!("kernel {kernel}: this kernel has no BTF"),
    );
    failure.hint("it is in kernels that were built with CONFIG_DEBUG_INFO_BTF=y")
}
