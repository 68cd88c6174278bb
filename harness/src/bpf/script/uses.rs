//! What of kernels a script uses, by name.

use super::probe::{Target, is_pattern};
use super::read::Script;
use super::walk::Walk;
use crate::bpf::Uses;
use crate::bpf::kernel::KernelTypes;

/// What a script uses of a kernel with these types: only they tell which types are behind the
/// members that it reads.
pub fn uses(script: &Script, types: KernelTypes<'_>) -> Uses {
    let mut uses = Uses::default();
    let content = &script.with_btf;
    for probe in &content.probes {
        for point in &probe.points {
            let name = match &point.target {
                Target::Kprobe { function: name, .. } | Target::Function { name, .. } => {
                    if !is_pattern(name) {
                        uses.functions.insert(name.clone());
                    }
                    continue;
                }
                Target::Iterator(name) => {
                    uses.functions.insert(format!("bpf_iter_{name}"));
                    continue;
                }
                Target::Tracepoint { event, .. } | Target::RawTracepoint(event) => event,
                Target::Elsewhere => continue,
            };
            if !is_pattern(name) {
                uses.tracepoints.insert(name.clone());
            }
        }
        for access in &probe.accesses {
            for point in &probe.points {
                // What is missing is used all the same.
                let _ = Walk::new(types, content, &mut |passed, member| {
                    let name = passed.ty.name();
                    if !name.is_empty() {
                        let members = uses.types.entry(name.to_owned()).or_default();
                        members.insert(member.to_owned());
                    }
                })
                .access(access, &point.target);
            }
        }
    }
    uses
}
