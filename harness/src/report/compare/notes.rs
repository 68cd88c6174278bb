//! What a reader must know of two runs before their tests.

use super::error::CompareError;
use crate::report::results::RunResults;

/// Why two runs without a common test have none.
pub(super) fn nothing_in_common(
    before: &RunResults,
    after: &RunResults,
    common: &[String],
) -> CompareError {
    let kernels = |run: &RunResults| match run.kernels.join(", ") {
        names if names.is_empty() => "none".to_owned(),
        names => names,
    };
    let why = if before.results.is_empty() || after.results.is_empty() {
        let empty = if before.results.is_empty() {
            before
        } else {
            after
        };
        format!(": {} has no verdict", empty.name)
    } else if common.is_empty() {
        format!(": kernels {} and {}", kernels(before), kernels(after))
    } else {
        String::new()
    };
    CompareError::NothingInCommon {
        before: before.name.clone(),
        after: after.name.clone(),
        why,
    }
}

/// Kernels and programs that are not the same under one name.
pub(super) fn different(before: &RunResults, after: &RunResults, common: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    for kernel in common {
        let image = |run: &RunResults| {
            run.images
                .iter()
                .find(|image| image.kernel == *kernel)
                .cloned()
        };
        if let (Some(was), Some(is)) = (image(before), image(after))
            && was.sha256 != is.sha256
        {
            notes.push(if was.release == is.release {
                format!("kernel {kernel}: different images of {}", is.release)
            } else {
                format!(
                    "kernel {kernel}: {} before, {} after",
                    was.release, is.release
                )
            });
        }
    }
    for is in &after.suites {
        let was = before.suites.iter().find(|was| was.suite == is.suite);
        if let Some(was) = was
            && was.version != is.version
        {
            let word =
                |version: &Option<String>| version.clone().unwrap_or_else(|| "unknown".to_owned());
            notes.push(format!(
                "suite {}: version {} before, {} after",
                is.suite,
                word(&was.version),
                word(&is.version)
            ));
        }
    }
    notes
}
