//! What one kernel answers to a question.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::Error;
use super::c::{self, NotC};
use super::kernel::KernelBtf;
use super::names::{Entry, Meaning, Unit};
use super::query::{Pattern, Query, Step, Subject};
use super::raw::Kind;
use super::types::{Btf, Type, TypeId};

/// One thing that a kernel has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Where it is: `vmlinux`, or the modules. Where the image has it, modules that have a copy
    /// are not named.
    #[serde(rename = "in")]
    pub units: Vec<String>,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
}

/// What a thing is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct What {
    /// What it is: `struct`, `member`, `function`, …
    pub kind: &'static str,
    /// For a member behind a pointer: what the offset is counted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// For a member: its offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_offset: Option<u64>,
    /// For a bitfield: how many bits it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitfield_bits: Option<u8>,
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// For a type: how many members or values it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// A type, a prototype or a value.
    pub text: String,
    /// Whether a kernel marks it a kfunc; `None` if its BTF marks none at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_kfunc: Option<bool>,
    /// The declaration in C, with the offsets of members: kernels that differ only in these do not
    /// share an answer.
    pub definition: String,
    #[serde(skip)]
    offsets: Vec<u32>,
}

/// The image, among names of modules.
const IMAGE: &str = "vmlinux";

/// What a kernel has by the name of each thing that was asked for, in order.
pub type Answers = Vec<(String, Vec<Answer>)>;

/// Looks for what `query` asks for in one kernel.
pub fn ask(kernel: &KernelBtf, query: &Query) -> Result<Answers, Error> {
    let mut asked = Asked {
        kernel,
        query,
        answers: Vec::new(),
        places: HashMap::new(),
        kfuncs: None,
    };
    let prefix = query.subject.in_btf(query.name.prefix());
    if let Some(exact) = query.name.exact() {
        let name = query.subject.in_btf(exact);
        for entry in kernel.names().get(&name) {
            asked.entry(exact, entry)?;
        }
    } else {
        for (name, entries) in kernel.names().starting_with(&prefix) {
            let Some(shown) = query.subject.shown(name) else {
                continue;
            };
            if query.name.matches(shown) {
                for entry in entries {
                    asked.entry(shown, entry)?;
                }
            }
        }
    }
    Ok(asked.answers)
}

struct Asked<'a> {
    kernel: &'a KernelBtf,
    query: &'a Query,
    answers: Answers,
    /// Where in the answers a name is.
    places: HashMap<String, usize>,
    /// The functions of the image that are marked as kfuncs; asked for once.
    kfuncs: Option<HashSet<TypeId>>,
}

impl<'a> Asked<'a> {
    fn entry(&mut self, name: &str, entry: Entry) -> Result<(), Error> {
        if !self.query.subject.covers(entry.meaning) {
            return Ok(());
        }
        let ty = self.kernel.ty(entry)?;
        let shown = format!("{}{name}", self.query.subject.word());
        match (self.query.subject, entry.meaning) {
            (_, Meaning::Enumerator) => {
                if self.query.path.is_empty() {
                    let values = ty.enumerators().filter(|value| value.name == name);
                    for value in values {
                        self.add(shown.clone(), entry.unit, Self::value(ty, value.value));
                    }
                }
            }
            (Subject::Type, _) if !self.query.path.is_empty() => {
                let at = At {
                    ty,
                    unit: entry.unit,
                    bit_offset: 0,
                    within: None,
                    bitfield_bits: None,
                };
                self.walk(name.to_owned(), at, &self.query.path, true)?;
            }
            (Subject::Enum, _) if !self.query.path.is_empty() => {
                if let [Step::Member(pattern)] = self.query.path.as_slice() {
                    for value in ty.enumerators().filter(|v| pattern.matches(v.name)) {
                        let name = format!("{shown}.{}", value.name);
                        self.add(name, entry.unit, Self::value(ty, value.value));
                    }
                }
            }
            (Subject::Tracepoint, _) => self.tracepoint(shown, name, entry.unit, ty),
            (Subject::Kfunc, _) => {
                let mut answer = Self::described(ty);
                answer.kind = "kfunc";
                let marked = self.kfuncs(entry.unit)?;
                answer.is_kfunc = marked.map(|marked| marked.contains(&ty.id()));
                if answer.is_kfunc != Some(false) {
                    self.add(shown, entry.unit, answer);
                }
            }
            _ => self.add(shown, entry.unit, Self::described(ty)),
        }
        Ok(())
    }

    fn add(&mut self, name: String, unit: Unit, what: What) {
        let place = *self.places.entry(name).or_insert_with_key(|name| {
            self.answers.push((name.clone(), Vec::new()));
            self.answers.len() - 1
        });
        let Some((_, answers)) = self.answers.get_mut(place) else {
            return;
        };
        let unit = self.kernel.module(unit).unwrap_or(IMAGE);
        match answers.iter_mut().find(|answer| answer.what == what) {
            Some(known)
                if known
                    .units
                    .iter()
                    .any(|known| known == unit || known == IMAGE) => {}
            Some(known) => known.units.push(unit.to_owned()),
            None => answers.push(Answer {
                units: vec![unit.to_owned()],
                what,
            }),
        }
    }

    fn value(ty: Type<'_>, value: i128) -> What {
        let text = if ty.is_anonymous() {
            format!("{value}")
        } else {
            format!("{value} in enum {}", ty.name())
        };
        What::new("value", text)
    }

    /// A type, function or variable.
    fn described(ty: Type<'_>) -> What {
        let definition = c::definition(ty).unwrap_or_else(|error: NotC| format!("/* {error} */"));
        let text = match ty.kind() {
            Kind::Func | Kind::Var => c::declaration(ty.target().unwrap_or(ty), ty.name()),
            Kind::Typedef => c::type_name(ty.target().unwrap_or(ty)),
            _ => c::type_name(ty),
        };
        let has_parts = ty.kind().is_composite() || ty.kind().is_enum();
        What {
            size: ty.size(),
            count: has_parts.then(|| ty.len()),
            definition,
            offsets: ty.members().map(|member| member.bit_offset).collect(),
            ..What::new(word(ty.kind()), text)
        }
    }

    fn tracepoint(&mut self, shown: String, name: &str, unit: Unit, ty: Type<'_>) {
        // typedef → pointer → prototype; the first parameter is the probe's own.
        let proto = ty.resolved().target().unwrap_or(ty).resolved();
        // The names of parameters are in the function that calls the probes.
        let named = self.function(&format!("__traceiter_{name}"), unit);
        let named: Vec<_> = named.into_iter().flat_map(|proto| proto.params()).collect();
        let params: Vec<String> = proto
            .params()
            .enumerate()
            .skip(1)
            .map(|(index, param)| {
                let other = named.get(index).map_or("", |named| named.name);
                let name = if param.name.is_empty() {
                    other
                } else {
                    param.name
                };
                c::declaration(proto.btf().ty(param.type_id), name)
            })
            .collect();
        let text = format!("({})", params.join(", "));
        let mut answer = What::new("tracepoint", text);
        if let Some(event) = self.composite(&format!("trace_event_raw_{name}"), unit) {
            answer.definition = c::definition(event).unwrap_or_default();
            answer.offsets = event.members().map(|member| member.bit_offset).collect();
        }
        self.add(shown, unit, answer);
    }

    /// The prototype of a function in a unit.
    fn function(&self, name: &str, unit: Unit) -> Option<Type<'a>> {
        self.of_kind(name, unit, |kind| kind == Kind::Func)?
            .target()
    }

    /// A struct or union in a unit or in the image.
    fn composite(&self, name: &str, unit: Unit) -> Option<Type<'a>> {
        self.of_kind(name, unit, Kind::is_composite)
    }

    fn of_kind(&self, name: &str, unit: Unit, is: impl Fn(Kind) -> bool) -> Option<Type<'a>> {
        let fits = |entry: &Entry| match entry.meaning {
            Meaning::Type(kind) => is(kind) && (entry.unit == unit || entry.unit == 0),
            Meaning::Enumerator => false,
        };
        // Its own before that of the image.
        let entry = self
            .kernel
            .names()
            .get(name)
            .filter(fits)
            .max_by_key(|entry| entry.unit)?;
        self.kernel.ty(entry).ok()
    }

    /// The functions of a unit that are marked as kfuncs; `None` if none is in the whole image:
    /// pahole marks them since 1.26.
    fn kfuncs(&mut self, unit: Unit) -> Result<Option<HashSet<TypeId>>, Error> {
        let of_image = match self.kfuncs.take() {
            Some(of_image) => of_image,
            None => marked(self.kernel.vmlinux()),
        };
        let found = if of_image.is_empty() {
            None
        } else if unit == 0 {
            Some(of_image.clone())
        } else {
            Some(marked(self.kernel.unit(unit)?))
        };
        self.kfuncs = Some(of_image);
        Ok(found)
    }

    /// Goes along a path of members. `is_first` is false behind the first step.
    fn walk(
        &mut self,
        name: String,
        at: At<'a>,
        path: &[Step],
        is_first: bool,
    ) -> Result<(), Error> {
        let Some((step, rest)) = path.split_first() else {
            self.add(name, at.unit, member(&at));
            return Ok(());
        };
        match step {
            Step::Element(index) => {
                if let Some(at) = at.element(*index) {
                    self.walk(format!("{name}[{index}]"), at, rest, false)?;
                }
            }
            Step::Member(pattern) => {
                let at = self.composite_at(at, is_first);
                for (member, at) in members(&at, pattern) {
                    self.walk(format!("{name}.{member}"), at, rest, false)?;
                }
            }
        }
        Ok(())
    }

    /// The struct or union that is meant by a member access: behind typedefs, pointers, arrays and
    /// forward declarations.
    fn composite_at(&self, mut at: At<'a>, is_first: bool) -> At<'a> {
        // Each round goes one level down, and types were checked to end.
        for _ in 0..64 {
            at.ty = at.ty.resolved();
            match at.ty.kind() {
                Kind::Ptr => {
                    at.ty = at.ty.target().unwrap_or(at.ty);
                    at.bit_offset = 0;
                    at.within = None;
                    if !is_first {
                        at.within = Some(c::type_name(at.ty.resolved()));
                    }
                }
                Kind::Array => {
                    let (element, ..) = at.ty.array().unwrap_or_default();
                    at.ty = at.ty.btf().ty(element);
                }
                Kind::Fwd => match self.composite(at.ty.name(), at.unit) {
                    Some(ty) => at.ty = ty,
                    None => break,
                },
                _ => break,
            }
        }
        at
    }
}

fn member(at: &At<'_>) -> What {
    let inner = at.ty.unqualified();
    let definition = if inner.is_anonymous() && inner.kind().is_composite() {
        c::definition(inner).unwrap_or_default()
    } else {
        String::new()
    };
    What {
        within: at.within.clone(),
        bit_offset: Some(at.bit_offset),
        bitfield_bits: at.bitfield_bits,
        size: at.ty.size(),
        definition,
        ..What::new("member", c::type_name(at.ty))
    }
}

impl What {
    fn new(kind: &'static str, text: String) -> Self {
        Self {
            kind,
            within: None,
            bit_offset: None,
            bitfield_bits: None,
            size: None,
            count: None,
            definition: String::new(),
            text,
            is_kfunc: None,
            offsets: Vec::new(),
        }
    }
}

/// A place on the way to a member.
#[derive(Clone)]
struct At<'a> {
    ty: Type<'a>,
    unit: Unit,
    bit_offset: u64,
    within: Option<String>,
    bitfield_bits: Option<u8>,
}

impl At<'_> {
    fn element(mut self, index: u32) -> Option<Self> {
        let ty = self.ty.resolved();
        let element = match ty.kind() {
            Kind::Array => ty.array()?.0,
            Kind::Ptr => {
                self.bit_offset = 0;
                self.within = Some(format!("{}[]", c::type_name(ty.target()?)));
                ty.target_id()?
            }
            _ => return None,
        };
        self.ty = ty.btf().ty(element);
        let size = self.ty.size()?.checked_mul(8)?;
        let offset = size.checked_mul(u64::from(index))?;
        self.bit_offset = self.bit_offset.checked_add(offset)?;
        Some(self)
    }
}

/// The members of a struct with matching names.
fn members<'a>(at: &At<'a>, pattern: &Pattern) -> Vec<(String, At<'a>)> {
    let mut found = Vec::new();
    at.ty.each_member(&mut |member| {
        if pattern.matches(member.member.name) {
            let within = at.ty.btf().ty(member.within);
            let next = At {
                ty: at.ty.btf().ty(member.member.type_id),
                unit: at.unit,
                bit_offset: at.bit_offset.saturating_add(member.bit_offset),
                within: at.within.clone(),
                bitfield_bits: within.bitfield_of(&member.member),
            };
            found.push((member.member.name.to_owned(), next));
        }
        true
    });
    found
}

/// The functions with the tag `bpf_kfunc`.
fn marked(btf: &Btf) -> HashSet<TypeId> {
    btf.own()
        .filter(|ty| ty.kind() == Kind::DeclTag && ty.name() == "bpf_kfunc")
        .filter_map(|ty| ty.target_id())
        .collect()
}

/// What a kind is called in sentences.
pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Struct => "struct",
        Kind::Union => "union",
        Kind::Enum | Kind::Enum64 => "enum",
        Kind::Typedef => "typedef",
        Kind::Func => "function",
        Kind::Var => "variable",
        Kind::Fwd => "declaration",
        _ => "type",
    }
}
