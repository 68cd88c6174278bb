//! `vmlinux.h`: all types of a kernel as one C header, each after what it needs.
//!
//! In the order of bpftool (`btf dump … format c`): by id, but what a type holds by value comes
//! before it, and what it only points to is declared first.

use super::c::{NotC, Uniques, Writer};
use super::raw::Kind;
use super::types::{Btf, Type, TypeId};

const BEGIN: &str = "#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

";

const END: &str = "#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
";

/// Types within each other, by value or in prototypes.
const MAX_DEPTH: usize = 512;

/// Visits of types: a kernel takes less than a million.
const MAX_STEPS: usize = 20_000_000;

/// The types of `btf`, those of its base among them, as a C header.
pub fn header(btf: &Btf) -> Result<String, NotC> {
    let mut header = Header::new(btf);
    for id in 1..btf.end_id() {
        header.queue.clear();
        header.order(TypeId(id), false)?;
        for id in std::mem::take(&mut header.queue) {
            header.write(id, None)?;
        }
    }
    Ok(format!("{BEGIN}{}{END}", header.writer.text))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ordered {
    No,
    Now,
    Yes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    No,
    Now,
    Yes,
}

#[derive(Debug, Clone, Copy)]
struct State {
    ordered: Ordered,
    written: Written,
    /// `struct name;`, or the whole of a typedef.
    is_declared: bool,
    /// Another type refers to it.
    is_referred_to: bool,
}

struct Header<'a> {
    btf: &'a Btf,
    writer: Writer<'a>,
    states: Vec<State>,
    queue: Vec<TypeId>,
    depth: usize,
    steps: usize,
}

impl<'a> Header<'a> {
    fn new(btf: &'a Btf) -> Self {
        let mut writer = Writer::new(btf);
        writer.uniques = Some(Uniques::default());
        let state = State {
            ordered: Ordered::No,
            written: Written::No,
            is_declared: false,
            is_referred_to: false,
        };
        let mut states = vec![state; btf.end_id() as usize];
        states[0] = State {
            ordered: Ordered::Yes,
            written: Written::Yes,
            ..state
        };
        for id in 1..btf.end_id() {
            for (_, id) in btf.ty(TypeId(id)).references() {
                states[id.0 as usize].is_referred_to = true;
            }
        }
        Self {
            btf,
            writer,
            states,
            queue: Vec::new(),
            depth: 0,
            steps: 0,
        }
    }

    fn state(&mut self, id: TypeId) -> &mut State {
        // Every id that is mentioned was checked to exist.
        let index = (id.0 as usize).min(self.states.len() - 1);
        &mut self.states[index]
    }

    fn enter(&mut self, id: TypeId) -> Result<(), NotC> {
        self.depth += 1;
        self.steps += 1;
        if self.depth > MAX_DEPTH {
            return Err(NotC::TooDeep(id));
        }
        if self.steps > MAX_STEPS {
            return Err(NotC::TooManySteps(MAX_STEPS));
        }
        Ok(())
    }

    /// Puts what has to be defined for a type into the queue, and the type behind it. Says whether
    /// it is needed as a whole: behind a pointer, a struct with a name is not.
    fn order(&mut self, id: TypeId, behind_pointer: bool) -> Result<bool, NotC> {
        self.enter(id)?;
        let strong = self.order_entered(id, behind_pointer);
        self.depth -= 1;
        strong
    }

    fn order_entered(&mut self, id: TypeId, behind_pointer: bool) -> Result<bool, NotC> {
        let ty = self.btf.ty(id);
        match self.state(id).ordered {
            Ordered::Yes => return Ok(true),
            Ordered::Now if ty.kind().is_composite() && behind_pointer && !ty.is_anonymous() => {
                return Ok(false);
            }
            Ordered::Now => return Err(NotC::Loop(id)),
            Ordered::No => {}
        }
        match ty.kind() {
            Kind::Ptr => {
                let strong = self.order_target(ty, true)?;
                self.state(id).ordered = Ordered::Yes;
                Ok(strong)
            }
            Kind::Array => {
                let (element, ..) = ty.array().unwrap_or_default();
                self.order(element, false)
            }
            Kind::Struct | Kind::Union => {
                if behind_pointer && !ty.is_anonymous() {
                    return Ok(false);
                }
                self.state(id).ordered = Ordered::Now;
                for member in ty.members() {
                    self.order(member.type_id, false)?;
                }
                if !ty.is_anonymous() {
                    self.queue.push(id);
                }
                self.state(id).ordered = Ordered::Yes;
                Ok(true)
            }
            Kind::Enum | Kind::Enum64 | Kind::Fwd => {
                if !ty.is_anonymous() || !self.state(id).is_referred_to {
                    self.queue.push(id);
                }
                self.state(id).ordered = Ordered::Yes;
                Ok(true)
            }
            Kind::Typedef => {
                let strong = self.order_target(ty, behind_pointer)?;
                if behind_pointer && !strong {
                    return Ok(false);
                }
                self.queue.push(id);
                self.state(id).ordered = Ordered::Yes;
                Ok(true)
            }
            kind if kind.is_modifier() => self.order_target(ty, behind_pointer),
            Kind::FuncProto => {
                let mut strong = self.order_target(ty, behind_pointer)?;
                for param in ty.params() {
                    strong |= self.order(param.type_id, behind_pointer)?;
                }
                Ok(strong)
            }
            _ => {
                self.state(id).ordered = Ordered::Yes;
                Ok(false)
            }
        }
    }

    fn order_target(&mut self, ty: Type<'a>, behind_pointer: bool) -> Result<bool, NotC> {
        self.order(ty.target_id().unwrap_or_default(), behind_pointer)
    }

    /// Writes a type for which everything is there, with the declarations that it needs. `within`
    /// is the type that it is written for.
    fn write(&mut self, id: TypeId, within: Option<TypeId>) -> Result<(), NotC> {
        self.enter(id)?;
        let written = self.write_entered(id, within);
        self.depth -= 1;
        written
    }

    fn write_entered(&mut self, id: TypeId, within: Option<TypeId>) -> Result<(), NotC> {
        let ty = self.btf.ty(id);
        match self.state(id).written {
            Written::Yes => return Ok(()),
            Written::Now => return self.declare(ty, within),
            Written::No => {}
        }
        match ty.kind() {
            Kind::Enum | Kind::Enum64 => {
                if within.is_none() {
                    self.define(ty)?;
                }
                self.state(id).written = Written::Yes;
            }
            Kind::Fwd => {
                self.writer.tag(ty);
                self.end();
                self.state(id).written = Written::Yes;
            }
            Kind::Typedef => {
                self.state(id).written = Written::Now;
                self.write(ty.target_id().unwrap_or_default(), Some(id))?;
                if !self.state(id).is_declared && !is_of_compiler(ty) {
                    self.define(ty)?;
                }
                self.state(id).written = Written::Yes;
            }
            Kind::Struct | Kind::Union => {
                self.state(id).written = Written::Now;
                if within.is_none() || ty.is_anonymous() {
                    let within = if ty.is_anonymous() { within } else { Some(id) };
                    for member in ty.members() {
                        self.write(member.type_id, within)?;
                    }
                } else if !self.state(id).is_declared && within != Some(id) {
                    self.writer.tag(ty);
                    self.end();
                    self.state(id).is_declared = true;
                }
                if within.is_none() {
                    self.define(ty)?;
                    self.state(id).written = Written::Yes;
                } else {
                    self.state(id).written = Written::No;
                }
            }
            Kind::Array => {
                let (element, ..) = ty.array().unwrap_or_default();
                self.write(element, within)?;
            }
            Kind::Ptr => self.write(ty.target_id().unwrap_or_default(), within)?,
            kind if kind.is_modifier() => {
                self.write(ty.target_id().unwrap_or_default(), within)?;
            }
            Kind::FuncProto => {
                self.write(ty.target_id().unwrap_or_default(), within)?;
                for param in ty.params() {
                    self.write(param.type_id, within)?;
                }
            }
            _ => self.state(id).written = Written::Yes,
        }
        Ok(())
    }

    /// Declares a type that is being written.
    fn declare(&mut self, ty: Type<'a>, within: Option<TypeId>) -> Result<(), NotC> {
        if self.state(ty.id()).is_declared {
            return Ok(());
        }
        match ty.kind() {
            Kind::Struct | Kind::Union if within == Some(ty.id()) => return Ok(()),
            Kind::Struct | Kind::Union if ty.is_anonymous() => return Err(NotC::Loop(ty.id())),
            Kind::Struct | Kind::Union => {
                self.writer.tag(ty);
                self.end();
            }
            Kind::Typedef if is_of_compiler(ty) => {}
            Kind::Typedef => self.define(ty)?,
            _ => return Ok(()),
        }
        self.state(ty.id()).is_declared = true;
        Ok(())
    }

    fn define(&mut self, ty: Type<'a>) -> Result<(), NotC> {
        self.writer.define(ty)?;
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        self.writer.text.push_str(";\n\n");
    }
}

/// Whether every compiler has this typedef.
fn is_of_compiler(ty: Type<'_>) -> bool {
    ty.name() == "__builtin_va_list"
}
