//! An object against a kernel: would it load, and would its programs attach?

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};

use super::elf::Reference;
use super::externs::{self, Resolved};
use super::facts::Facts;
use super::insn::{CALL, PSEUDO_CALL};
use super::kernel::KernelTypes;
use super::object::{Object, Program};
use super::reach::{self, Known, Place, Reached, World};
use super::relocate::{self, Relocated, Relocation, Spec, Value};
use super::report::{Finding, Level, RelocationReport, RelocationState, Report, Source, Verdict};
use super::section::Target;
use super::{struct_ops, targets};

/// Checks an object against a kernel.
pub fn check(object: &Object, kernel: &Facts) -> Report {
    if kernel.btf.is_none()
        && let Some(why) = needs_btf(object)
    {
        return Report {
            verdict: Verdict::NoBtf,
            findings: vec![Finding {
                level: Level::Refused,
                program: None,
                section: None,
                function: None,
                insn: None,
                source: None,
                subject: "BTF".to_owned(),
                reason: format!("this kernel has none, and the object has {why}"),
            }],
            relocations: Vec::new(),
            modules: Vec::new(),
        };
    }
    let mut check = Check {
        object,
        kernel,
        findings: Vec::new(),
    };
    let externs = externs::resolve(object, kernel);
    check.externs(&externs);
    check.targets();
    let relocated = kernel
        .types()
        .map(|types| relocate::relocate(object, types));
    let walked = Walked::new(object, &externs, relocated.as_ref());
    let mut relocations = Vec::new();
    if let Some(relocated) = &relocated {
        for relocation in &relocated.relocations {
            let state = check.relocation(relocation, &walked);
            relocations.push(check.report(relocation, state));
        }
    }
    check.calls(&externs, &walked);
    let modules = modules(&externs, relocated.as_ref());
    let mut findings = check.findings;
    findings.sort_by_key(|finding| finding.level);
    Report {
        verdict: Verdict::of(&findings),
        findings,
        relocations,
        modules,
    }
}

/// What of an object cannot do without the kernel's BTF (libbpf: `obj_needs_vmlinux_btf`).
fn needs_btf(object: &Object) -> Option<&'static str> {
    let mut relocations = object.ext.relocations.iter();
    if relocations.any(|section| !section.records.is_empty()) {
        return Some("CO-RE relocations");
    }
    if externs::need_btf(object) {
        return Some("names of kernel functions or variables with types");
    }
    if struct_ops::has_any(object) {
        return Some("struct_ops");
    }
    let mut programs = object.programs.iter();
    let by_btf = programs.any(|program| {
        !program.kind.optional
            && matches!(
                program.kind.target,
                Target::Function { .. }
                    | Target::TypedTracepoint { .. }
                    | Target::Lsm(_)
                    | Target::Iterator(_)
            )
    });
    by_btf.then_some("programs that attach by BTF")
}

/// The modules whose types an object uses.
fn modules(externs: &[Resolved], relocated: Option<&Relocated<'_, '_>>) -> Vec<String> {
    let of_externs = externs.iter().filter_map(|found| found.module.clone());
    let of_types = relocated
        .into_iter()
        .flat_map(|relocated| &relocated.relocations);
    let of_types = of_types.filter_map(|relocation| relocation.answer.as_ref().ok()?.module);
    let all: BTreeSet<String> = of_externs.chain(of_types.map(str::to_owned)).collect();
    all.into_iter().collect()
}

/// What each program reaches, with the constants of `.rodata` as they are, and without them.
struct Walked<'o> {
    programs: Vec<(&'o Program, Reached)>,
    without_constants: Vec<Reached>,
}

impl<'o> Walked<'o> {
    fn new(
        object: &'o Object,
        externs: &[Resolved],
        relocated: Option<&Relocated<'_, '_>>,
    ) -> Self {
        let plain;
        let insns = if let Some(relocated) = relocated {
            &relocated.code
        } else {
            let code = object.elf.code.iter();
            plain = code
                .map(|(&index, code)| (index, code.insns.clone()))
                .collect();
            &plain
        };
        let invalid: HashSet<Place> = invalid(relocated)
            .map(|one| (one.section, one.insn))
            .collect();
        let known: Vec<Known> = externs.iter().map(|found| found.known.clone()).collect();
        let mut world = World {
            code: &object.elf.code,
            insns,
            invalid: &invalid,
            data: &object.elf.data,
            externs: &known,
            constants: true,
            left: Cell::new(reach::STEPS),
        };
        let loaded = object
            .programs
            .iter()
            .filter(|program| !program.kind.optional);
        let programs: Vec<_> = loaded
            .map(|program| {
                let entry = (program.section, program.function.start);
                (program, reach::reached(&world, entry))
            })
            .collect();
        world.constants = false;
        // Only where something is out of reach does it matter why.
        let dead = invalid
            .iter()
            .any(|&place| programs.iter().all(|(_, reached)| !reached.has(place)));
        let without_constants = if dead {
            let entries = programs.iter();
            let entries = entries.map(|(program, _)| (program.section, program.function.start));
            entries.map(|entry| reach::reached(&world, entry)).collect()
        } else {
            Vec::new()
        };
        Self {
            programs,
            without_constants,
        }
    }

    /// The programs that reach a place.
    fn reaching(&self, place: Place) -> impl Iterator<Item = &'o Program> + '_ {
        let reaching = self
            .programs
            .iter()
            .filter(move |(_, reached)| reached.has(place));
        reaching.map(|(program, _)| *program)
    }

    /// Whether only a constant of `.rodata` keeps programs from a place.
    fn only_constants_guard(&self, place: Place) -> bool {
        self.without_constants
            .iter()
            .any(|reached| reached.has(place))
    }
}

/// The relocations whose instruction has become invalid.
fn invalid<'r, 'o, 'k>(
    relocated: Option<&'r Relocated<'o, 'k>>,
) -> impl Iterator<Item = &'r Relocation<'o, 'k>> {
    let all = relocated
        .into_iter()
        .flat_map(|relocated| &relocated.relocations);
    all.filter(|relocation| relocation.answer.as_ref().is_ok_and(|answer| !answer.valid))
}

struct Check<'o> {
    object: &'o Object,
    kernel: &'o Facts,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn externs(&mut self, externs: &[Resolved]) {
        for found in externs {
            if let Some((level, reason)) = &found.finding {
                self.findings.push(Finding {
                    level: *level,
                    program: None,
                    section: None,
                    function: None,
                    insn: None,
                    source: None,
                    subject: found.subject.clone(),
                    reason: reason.clone(),
                });
            }
        }
    }

    fn targets(&mut self) {
        for program in &self.object.programs {
            if program.kind.optional {
                continue;
            }
            if let Some(told) = targets::check(&program.kind, self.kernel) {
                let finding = Finding {
                    level: told.level,
                    subject: told.subject,
                    reason: told.reason,
                    ..self.about(Some(program), None)
                };
                self.findings.push(finding);
            }
        }
        for told in struct_ops::check(self.object, self.kernel) {
            let finding = Finding {
                level: told.level,
                subject: told.subject,
                reason: told.reason,
                ..self.about(None, None)
            };
            self.findings.push(finding);
        }
    }

    fn relocation(&mut self, one: &Relocation<'_, '_>, walked: &Walked<'_>) -> RelocationState {
        let place = (one.section, one.insn);
        let subject = match (&one.local, one.kind) {
            (Some(local), _) => local.path(),
            (None, Some(kind)) => format!("relocation {kind}"),
            (None, None) => "relocation".to_owned(),
        };
        let answer = match &one.answer {
            Ok(answer) if answer.valid => return RelocationState::Resolved,
            Ok(answer) => answer,
            Err(error) => {
                let program = walked.reaching(place).next();
                let finding = Finding {
                    level: Level::Refused,
                    subject,
                    reason: error.to_string(),
                    ..self.about(program, Some(place))
                };
                self.findings.push(finding);
                return RelocationState::Refused;
            }
        };
        let reason = match (&answer.missing, answer.value) {
            (Some(missing), _) => missing.clone(),
            (None, Value::Number(number)) => format!(
                "it has {} bytes in this kernel, not {}, and an access of {} bytes would give \
                 another value",
                number.sizes.1, number.sizes.0, number.sizes.0
            ),
            (None, Value::Poison) => "this kernel has nothing for it".to_owned(),
        };
        let reaching: Vec<&Program> = walked.reaching(place).collect();
        if reaching.is_empty() {
            let reason = if walked.only_constants_guard(place) {
                format!(
                    "{reason}; a constant of the object, which its loader may change, guards it"
                )
            } else {
                reason
            };
            let finding = Finding {
                level: Level::Guarded,
                subject,
                reason,
                ..self.about(None, Some(place))
            };
            self.findings.push(finding);
            return RelocationState::Guarded;
        }
        for program in reaching {
            let finding = Finding {
                level: Level::Refused,
                subject: subject.clone(),
                reason: reason.clone(),
                ..self.about(Some(program), Some(place))
            };
            self.findings.push(finding);
        }
        RelocationState::Invalid
    }

    /// Calls of what the kernel does not have: helpers by their number, kfuncs by their name.
    fn calls(&mut self, externs: &[Resolved], walked: &Walked<'_>) {
        let last = self.kernel.types().and_then(KernelTypes::last_helper);
        let mut told = HashSet::new();
        for (program, reached) in &walked.programs {
            let mut places: Vec<Place> = reached.places().collect();
            places.sort_unstable();
            for place in places {
                let Some(code) = self.object.elf.code.get(&place.0) else {
                    continue;
                };
                let Some(call) = code.insns.get(place.1).filter(|insn| insn.code == CALL) else {
                    continue;
                };
                let missing = match code.references.get(&place.1) {
                    Some(Reference::Extern(index)) if call.src == PSEUDO_CALL => {
                        let found = externs.get(*index);
                        let found = found.filter(|found| found.known == Known::Nothing);
                        found.map(|found| (found.subject.clone(), "it is called without a check"))
                    }
                    None if call.src == 0 && last.is_some_and(|last| call.imm > last) => Some((
                        format!("helper #{}", call.imm),
                        "it is newer than this kernel",
                    )),
                    _ => None,
                };
                if let Some((subject, reason)) = missing
                    && told.insert((program.name.clone(), place))
                {
                    let reason = format!("this kernel does not have it, and {reason}");
                    let finding = Finding {
                        level: Level::Refused,
                        subject,
                        reason,
                        ..self.about(Some(program), Some(place))
                    };
                    self.findings.push(finding);
                }
            }
        }
    }

    /// The places that a finding is about; what it says is still to come.
    fn about(&self, program: Option<&Program>, place: Option<Place>) -> Finding {
        let of_place = place.and_then(|place| {
            let code = self.object.elf.code.get(&place.0)?;
            Some((code, code.function_at(place.1)?, place))
        });
        let section = program
            .map(|program| program.section)
            .or(place.map(|place| place.0));
        let section = section.and_then(|section| self.object.elf.code.get(&section));
        let own = |program: &Program, place: Place| {
            program.section == place.0
                && of_place.is_some_and(|(_, at, _)| at.start == program.function.start)
        };
        let function =
            of_place.filter(|(.., place)| !program.is_some_and(|program| own(program, *place)));
        let source = place.and_then(|place| self.object.line(place.0, place.1));
        Finding {
            level: Level::Unsure,
            program: program.map(|program| program.name.clone()),
            section: section.map(|section| section.name.clone()),
            function: function.map(|(_, function, _)| function.name.clone()),
            insn: of_place.map(|(_, function, place)| place.1 - function.start),
            source: source.map(|line| Source {
                file: line.file.to_owned(),
                line: line.number,
                column: line.column,
                text: line.text.to_owned(),
            }),
            subject: String::new(),
            reason: String::new(),
        }
    }

    fn report(&self, one: &Relocation<'_, '_>, state: RelocationState) -> RelocationReport {
        let code = self.object.elf.code.get(&one.section);
        let function = code.and_then(|code| code.function_at(one.insn));
        let answer = one.answer.as_ref().ok();
        let target = answer.and_then(|answer| answer.target.as_ref());
        RelocationReport {
            function: function.map_or_else(String::new, |function| function.name.clone()),
            section: code.map_or_else(String::new, |code| code.name.clone()),
            number: one.number,
            insn: one.insn - function.map_or(0, |function| function.start),
            local: one.local.as_ref().map_or_else(String::new, Spec::in_log),
            target: target.map(Spec::in_log),
            module: answer.and_then(|answer| answer.module).map(str::to_owned),
            value: answer
                .filter(|answer| answer.valid)
                .and_then(|answer| match answer.value {
                    Value::Number(number) => Some(number.new),
                    Value::Poison => None,
                }),
            state,
        }
    }
}
