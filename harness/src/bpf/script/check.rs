//! A script against a kernel.

use std::collections::BTreeSet;

use super::path::{Access, Root};
use super::probe::{AttachPoint, Target};
use super::read::{Content, Probe, Script};
use super::targets;
use super::walk::{Missing, Walk};
use crate::bpf::facts::Facts;
use crate::bpf::kernel::KernelTypes;
use crate::bpf::report::{Finding, Level, Report, Source, Verdict};
use crate::bpf::targets::Told;

/// Checks a script against a kernel: what it attaches to and the fields that it reads, as far as
/// both can be told.
pub fn check(script: &Script, kernel: &Facts) -> Report {
    let mut check = Check {
        script,
        kernel,
        has_btf: kernel.types().is_some_and(KernelTypes::are_listed),
        findings: Vec::new(),
        modules: BTreeSet::new(),
    };
    let types = kernel.types();
    let verdict = match needs_btf(&script.without_btf) {
        Some((at, why)) if !check.has_btf => {
            let reason = match types {
                Some(_) => format!(
                    "bpftrace finds none on this kernel, which does not list it as those from \
                     5.11 do, and the script {why}"
                ),
                None => format!("this kernel has none, and the script {why}"),
            };
            check.add(Level::Refused, None, at, "BTF".to_owned(), reason);
            Verdict::NoBtf
        }
        _ => {
            let content = if check.has_btf {
                &script.with_btf
            } else {
                &script.without_btf
            };
            for probe in &content.probes {
                check.probe(probe, content, types);
            }
            check.findings.sort_by_key(|finding| finding.level);
            Verdict::of(&check.findings)
        }
    };
    Report {
        verdict,
        findings: check.findings,
        relocations: Vec::new(),
        modules: check.modules.into_iter().collect(),
    }
}

/// What of a script cannot do without the kernel's BTF, and where.
fn needs_btf(content: &Content) -> Option<(usize, &'static str)> {
    for probe in &content.probes {
        for point in &probe.points {
            if matches!(point.target, Target::Function { .. } | Target::Iterator(_)) {
                return Some((point.at, "has probes that attach by BTF"));
            }
        }
        for access in &probe.accesses {
            if let Root::Cast { name, .. } = &access.path.root
                && !content.is_opaque
                && !content.structs.contains(name)
            {
                return Some((access.at, "reads fields of the kernel's types"));
            }
        }
    }
    None
}

struct Check<'s, 'k> {
    script: &'s Script,
    kernel: &'k Facts,
    /// Whether bpftrace finds BTF on this kernel.
    has_btf: bool,
    findings: Vec<Finding>,
    modules: BTreeSet<String>,
}

impl<'k> Check<'_, 'k> {
    fn probe(&mut self, probe: &Probe, content: &Content, types: Option<KernelTypes<'k>>) {
        let (mut there, mut gone, mut unsure) = (Vec::new(), Vec::new(), Vec::new());
        for point in &probe.points {
            match targets::check(&point.target, self.kernel) {
                Some(told) if told.level == Level::Unattached => gone.push((point, told)),
                Some(told) => unsure.push((point, told)),
                None => {
                    self.modules
                        .extend(targets::module(&point.target, self.kernel));
                    there.push(point);
                }
            }
        }
        for (point, told) in unsure {
            let is_spare = content.may_miss && !there.is_empty();
            let level = if is_spare { Level::Guarded } else { told.level };
            self.point(point, level, told);
        }
        // Points of which nothing is sure may be there.
        let is_all = gone.len() == probe.points.len();
        for (point, mut told) in gone {
            let level = match (is_all, content.may_miss) {
                (true, _) => Level::Unattached,
                (false, true) => Level::Guarded,
                (false, false) => {
                    told.reason
                        .push_str("; whether it must be depends on bpftrace's version");
                    Level::Unsure
                }
            };
            self.point(point, level, told);
        }
        let Some(types) = types.filter(|_| !(is_all && content.may_miss)) else {
            return;
        };
        for access in &probe.accesses {
            if matches!(access.path.root, Root::Cast { .. }) {
                // Without BTF, headers define the types.
                if self.has_btf {
                    self.access(access, None, content, types);
                }
                continue;
            }
            for point in &there {
                self.access(access, Some(point), content, types);
            }
        }
    }

    fn point(&mut self, point: &AttachPoint, level: Level, told: Told) {
        self.add(level, Some(point), point.at, told.subject, told.reason);
    }

    fn access(
        &mut self,
        access: &Access,
        point: Option<&AttachPoint>,
        content: &Content,
        types: KernelTypes<'k>,
    ) {
        let target = point.map_or(&Target::Elsewhere, |point| &point.target);
        let mut modules = BTreeSet::new();
        let missing = Walk::new(types, content, &mut |passed, _| {
            modules.extend(passed.module.map(str::to_owned));
        })
        .access(access, target);
        match missing {
            Some(Missing { subject, reason }) => {
                self.add(Level::Refused, point, access.at, subject, reason);
            }
            None => self.modules.append(&mut modules),
        }
    }

    /// Says something of a place, unless that was said.
    fn add(
        &mut self,
        level: Level,
        point: Option<&AttachPoint>,
        at: usize,
        subject: String,
        reason: String,
    ) {
        let (line, column, text) = self.script.place(at);
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let finding = Finding {
            level,
            program: point.map(|point| point.text.clone()),
            section: None,
            function: None,
            insn: None,
            source: Some(Source {
                file: self.script.name.clone(),
                line: number(line),
                column: number(column),
                text: text.trim().to_owned(),
            }),
            subject,
            reason,
        };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}
