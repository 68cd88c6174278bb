//! Everything that is done with BTF, for the fuzz target.

use std::path::Path;
use std::sync::LazyLock;

use super::diff::{self, Filter};
use super::kernel::{KernelBtf, RawModule};
use super::query::Query;
use super::{ask, c, header, show};

/// Of every kind; read once, since globs take longer than small kernels do.
static QUESTIONS: LazyLock<Vec<Query>> = LazyLock::new(|| {
    let texts = [
        "*", "*.*", "*.*.a[1]", "func:*", "enum:*.*", "enum:*", "tp:*", "kfunc:*", "var:*",
    ];
    texts
        .iter()
        .filter_map(|text| Query::parse(text).ok())
        .collect()
});

/// Reads a kernel and a module out of `input`, and asks everything of them. Where the kernel's BTF
/// ends is said by the first two bytes; behind the module's is its distilled base, from where the
/// next two bytes say.
pub fn exercise(input: &[u8]) {
    let Some((&[a, b, c, d], rest)) = input.split_first_chunk() else {
        return;
    };
    let split = |bytes: &[u8], at: [u8; 2]| {
        let (first, second) = bytes.split_at(usize::from(u16::from_le_bytes(at)).min(bytes.len()));
        (first.to_vec(), second.to_vec())
    };
    let (vmlinux, module) = split(rest, [a, b]);
    let (module, base) = split(&module, [c, d]);
    let modules = if module.is_empty() {
        Vec::new()
    } else {
        vec![RawModule {
            name: "module".to_owned(),
            path: "module".into(),
            btf: module,
            base: (!base.is_empty()).then_some(base),
        }]
    };
    let Ok(kernel) = KernelBtf::read(Path::new("vmlinux"), vmlinux, modules) else {
        return;
    };
    for query in QUESTIONS.iter() {
        if let Ok(answers) = ask(&kernel, query) {
            let said = show::Said {
                kernel: "k".to_owned(),
                release: None,
                answers: Ok(Some(answers)),
            };
            let _ = show::Shown::new(query, vec![said]).text(true);
        }
        let _ = show::near(&kernel, query);
    }
    for unit in kernel.units() {
        let Ok(btf) = kernel.unit(unit) else {
            return;
        };
        for ty in btf.own() {
            let _ = (ty.size(), c::type_name(ty), c::declaration(ty, "name"));
            for (_, id) in ty.references() {
                assert!(btf.get(id).is_some(), "{ty:?} refers to nothing");
            }
        }
        let _ = header(btf);
    }
    let same = diff::compare(&kernel, &kernel, &Filter::default());
    assert!(
        same.is_ok_and(|changes| changes.is_empty()),
        "it differs from itself"
    );
}
