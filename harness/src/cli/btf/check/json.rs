//! The result for programs.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::OnKernel;
use crate::bpf::Report;
use crate::run::load::Loaded;

#[derive(Serialize)]
struct Document<'a> {
    objects: Vec<OfObject<'a>>,
}

#[derive(Serialize)]
struct OfObject<'a> {
    object: &'a Path,
    kernels: Vec<OfKernel<'a>>,
}

#[derive(Serialize)]
struct OfKernel<'a> {
    kernel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<&'a str>,
    #[serde(flatten)]
    report: &'a Report,
    /// Why it is known that it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<&'a str>,
    /// What the kernel itself said.
    #[serde(skip_serializing_if = "Option::is_none")]
    loaded: Option<&'a Loaded>,
}

/// Everything, as one JSON document.
pub(super) fn render(objects: &[PathBuf], kernels: &[OnKernel]) -> String {
    let objects = objects.iter().enumerate().map(|(index, object)| OfObject {
        object,
        kernels: kernels
            .iter()
            .filter_map(|kernel| {
                let cell = kernel.cells.get(index)?;
                Some(OfKernel {
                    kernel: &kernel.name,
                    release: kernel.release.as_deref(),
                    report: &cell.report,
                    known: cell.known.as_deref(),
                    loaded: cell.loaded.as_ref(),
                })
            })
            .collect(),
    });
    let document = Document {
        objects: objects.collect(),
    };
    // Paths that are not UTF-8 are the only thing that JSON cannot have.
    let mut text = serde_json::to_string_pretty(&document)
        .unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }).to_string());
    text.push('\n');
    text
}
