//! The result for programs.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::on_kernel::OnKernel;
use crate::bpf::Report;
use crate::run::load::Loaded;

#[derive(Serialize)]
struct Document<'a> {
    objects: Vec<OfFile<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scripts: Vec<OfFile<'a>>,
}

#[derive(Serialize)]
struct OfFile<'a> {
    #[serde(flatten)]
    file: File<'a>,
    kernels: Vec<OfKernel<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum File<'a> {
    Object(&'a Path),
    Script(&'a Path),
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
pub(super) fn render(files: &[PathBuf], kernels: &[OnKernel]) -> String {
    let mut document = Document {
        objects: Vec::new(),
        scripts: Vec::new(),
    };
    for (index, file) in files.iter().enumerate() {
        let cells = || {
            let kernels = kernels.iter();
            kernels.filter_map(|kernel| Some((kernel, kernel.cells.get(index)?)))
        };
        let kernels = cells().map(|(kernel, cell)| OfKernel {
            kernel: &kernel.name,
            release: kernel.release.as_deref(),
            report: &cell.report,
            known: cell.known.as_deref(),
            loaded: cell.loaded.as_ref(),
        });
        let kernels = kernels.collect();
        if cells().any(|(_, cell)| cell.is_script) {
            let file = File::Script(file);
            document.scripts.push(OfFile { file, kernels });
        } else {
            let file = File::Object(file);
            document.objects.push(OfFile { file, kernels });
        }
    }
    // Paths that are not UTF-8 are the only thing that JSON cannot have.
    let mut text = serde_json::to_string_pretty(&document)
        .unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }).to_string());
    text.push('\n');
    text
}
