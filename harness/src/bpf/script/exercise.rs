//! Everything that is done with a script, for the fuzz target and its like.

use std::sync::OnceLock;

use super::{Script, check, uses};
use crate::bpf::Facts;
use crate::btf::KernelBtf;

/// Reads a script out of `input`, and checks it against a small kernel and against one without
/// BTF. Returns what is said of it.
pub fn exercise(input: &str, types: Option<&[u8]>) -> String {
    let script = Script::parse("script.bt", input.to_owned());
    let btf = types.and_then(|types| KernelBtf::of_image(types.to_vec()).ok());
    let kernel = Facts {
        name: "kernel".to_owned(),
        release: Some("6.1.0".to_owned()),
        btf,
        config: None,
        image: None,
        of_image: OnceLock::new(),
    };
    if let Some(types) = kernel.types() {
        let _ = uses(&script, types);
    }
    let report = check(&script, &kernel);
    report.findings.iter().map(ToString::to_string).collect()
}
