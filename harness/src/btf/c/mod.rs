//! Types as C: the declaration of one, in the words and the layout of bpftool (libbpf's
//! `btf_dump`), so that what kiln prints can be compared with it line by line.

mod layout;

use std::collections::HashMap;
use std::fmt::Write as _;

use super::raw::Kind;
use super::types::{Btf, Type, TypeId};

/// More bytes than all types of a kernel, one definition or one name make: types that hold others
/// twice, and so on, would fill the memory.
const MAX_HEADER: usize = 32 << 20;
const MAX_DEFINITION: usize = 512 << 10;
const MAX_NAME: usize = 64 << 10;

/// Anonymous types within each other that are written; kernels have about ten.
const MAX_NESTING: usize = 64;

/// Types that cannot be written as C.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotC {
    /// More text than there is room for.
    #[error("the types make more than {0} bytes of C")]
    TooLong(usize),
    /// A struct that is almost empty.
    #[error("a struct has a gap of {0} bytes")]
    Gap(u64),
    /// Types that hold others many times over.
    #[error("the types lead to more than {0} others")]
    TooManySteps(usize),
    /// Anonymous types within each other.
    #[error("type {0} is more than {MAX_NESTING} anonymous types deep")]
    TooDeep(TypeId),
    /// A struct or union that is part of itself, and has no name by which to say so.
    #[error("type {0} is anonymous and refers to itself")]
    Loop(TypeId),
}

/// The type as C names it where nothing is declared: `struct page *`, `char[16]`. Anonymous structs
/// are `struct {...}`.
pub fn type_name(ty: Type<'_>) -> String {
    declaration(ty, "")
}

/// A declaration of `name` with this type, such as `char comm[16]`; anonymous structs are
/// `struct {...}`.
pub fn declaration(ty: Type<'_>, name: &str) -> String {
    let mut writer = Writer::new(ty.btf());
    writer.skips_anonymous = true;
    writer.limit = MAX_NAME;
    if writer.declare(ty.id(), name, 0).is_err() {
        // Prototypes within prototypes.
        return format!("{name} /* a type of more than {MAX_NAME} bytes */");
    }
    writer.text
}

/// The definition of a type, the prototype of a function or the declaration of a variable, as
/// bpftool prints it.
pub fn definition(ty: Type<'_>) -> Result<String, NotC> {
    let mut writer = Writer::new(ty.btf());
    writer.limit = MAX_DEFINITION;
    writer.define(ty)?;
    writer.text.push(';');
    Ok(writer.text)
}

/// Writes C.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    btf: &'a Btf,
    pub(super) text: String,
    /// How long the text may become.
    limit: usize,
    /// Set to tell types of one name apart, as a header must.
    pub(super) uniques: Option<Uniques>,
    skips_anonymous: bool,
    nesting: usize,
    alignments: HashMap<TypeId, u32>,
}

/// How often each name was given. A second type of one name is called `name___2`.
#[derive(Debug, Default)]
pub(super) struct Uniques {
    tags: HashMap<String, u32>,
    identifiers: HashMap<String, u32>,
    given: HashMap<TypeId, String>,
}

/// A name that may have been given before.
fn unique(counts: &mut HashMap<String, u32>, name: &str) -> String {
    let count = counts.entry(name.to_owned()).or_insert(0);
    *count += 1;
    if *count > 1 {
        format!("{name}___{count}")
    } else {
        name.to_owned()
    }
}

impl<'a> Writer<'a> {
    pub(super) fn new(btf: &'a Btf) -> Self {
        Self {
            btf,
            text: String::new(),
            limit: MAX_HEADER,
            uniques: None,
            skips_anonymous: false,
            nesting: 0,
            alignments: HashMap::new(),
        }
    }

    /// Writes a definition without the semicolon.
    pub(super) fn define(&mut self, ty: Type<'a>) -> Result<(), NotC> {
        match ty.kind() {
            Kind::Struct | Kind::Union => self.composite(ty, 0),
            Kind::Enum | Kind::Enum64 => {
                self.enumeration(ty, 0);
                Ok(())
            }
            Kind::Typedef => self.typedef(ty),
            Kind::Fwd => {
                self.tag(ty);
                Ok(())
            }
            Kind::Func => self.declare(ty.target_id().unwrap_or_default(), ty.name(), 0),
            Kind::Var => {
                self.text.push_str("extern ");
                self.declare(ty.target_id().unwrap_or_default(), ty.name(), 0)
            }
            _ => self.declare(ty.id(), "", 0),
        }
    }

    pub(super) fn typedef(&mut self, ty: Type<'a>) -> Result<(), NotC> {
        let name = self.name(ty);
        self.text.push_str("typedef ");
        // Older compilers say that it is void.
        if ty.name() == "__gnuc_va_list" && ty.target_id() == Some(TypeId::VOID) {
            self.text.push_str("__builtin_va_list __gnuc_va_list");
            return Ok(());
        }
        self.declare(ty.target_id().unwrap_or_default(), &name, 0)
    }

    /// `struct name`, `union name` or `enum name`.
    pub(super) fn tag(&mut self, ty: Type<'a>) {
        let word = match ty.kind() {
            Kind::Union => "union",
            Kind::Fwd if ty.kind_flag() => "union",
            Kind::Enum | Kind::Enum64 => "enum",
            _ => "struct",
        };
        self.text.push_str(word);
        if ty.is_anonymous() {
            self.text.push_str(" {...}");
        } else {
            self.text.push(' ');
            let name = self.name(ty);
            self.text.push_str(&name);
        }
    }

    fn name(&mut self, ty: Type<'a>) -> String {
        let Some(uniques) = &mut self.uniques else {
            return ty.name().to_owned();
        };
        if ty.is_anonymous() {
            return String::new();
        }
        if let Some(name) = uniques.given.get(&ty.id()) {
            return name.clone();
        }
        let counts = if ty.kind() == Kind::Typedef {
            &mut uniques.identifiers
        } else {
            &mut uniques.tags
        };
        let name = unique(counts, ty.name());
        uniques.given.insert(ty.id(), name.clone());
        name
    }

    /// Writes a declaration of `name`, which may be empty; definitions within are indented by
    /// `level`.
    pub(super) fn declare(&mut self, id: TypeId, name: &str, level: usize) -> Result<(), NotC> {
        if self.text.len() > self.limit {
            return Err(NotC::TooLong(self.limit));
        }
        // From the name inwards, to the type that is written first.
        let mut chain = Vec::new();
        let mut ty = self.btf.ty(id);
        loop {
            chain.push(ty);
            let next = match ty.kind() {
                Kind::Ptr | Kind::FuncProto => ty.target_id(),
                kind if kind.is_modifier() => ty.target_id(),
                Kind::Array => ty.array().map(|(element, ..)| element),
                _ => None,
            };
            match next {
                Some(id) => ty = self.btf.ty(id),
                None => break,
            }
        }
        self.chain(&mut chain, name, level)
    }

    /// Writes a chain of types, the last one first.
    fn chain(&mut self, chain: &mut Vec<Type<'a>>, name: &str, level: usize) -> Result<(), NotC> {
        // A chain in brackets begins without a space.
        let mut after_pointer = true;
        while let Some(ty) = chain.pop() {
            match ty.kind() {
                Kind::Ptr => {
                    self.text.push_str(if after_pointer { "*" } else { " *" });
                    after_pointer = true;
                    continue;
                }
                Kind::Const => self.text.push_str(" const"),
                Kind::Volatile => self.text.push_str(" volatile"),
                Kind::Restrict => self.text.push_str(" restrict"),
                Kind::TypeTag => {
                    self.qualifiers(chain);
                    let _ = write!(
                        self.text,
                        " __attribute__((btf_type_tag(\"{}\")))",
                        ty.name()
                    );
                }
                Kind::Array => return self.array(ty, chain, name, after_pointer, level),
                Kind::FuncProto => return self.prototype(ty, chain, name, after_pointer, level),
                Kind::Void => {
                    self.qualifiers(chain);
                    self.text.push_str("void");
                }
                Kind::Struct | Kind::Union if ty.is_anonymous() && !self.skips_anonymous => {
                    self.qualifiers(chain);
                    self.composite(ty, level)?;
                }
                Kind::Enum | Kind::Enum64 if ty.is_anonymous() && !self.skips_anonymous => {
                    self.qualifiers(chain);
                    self.enumeration(ty, level);
                }
                Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Fwd => {
                    self.qualifiers(chain);
                    self.tag(ty);
                }
                _ => {
                    self.qualifiers(chain);
                    let name = if ty.kind() == Kind::Typedef {
                        self.name(ty)
                    } else {
                        ty.name().to_owned()
                    };
                    self.text.push_str(&name);
                }
            }
            after_pointer = false;
        }
        self.declared(name, after_pointer);
        Ok(())
    }

    fn declared(&mut self, name: &str, after_pointer: bool) {
        if !name.is_empty() && !after_pointer {
            self.text.push(' ');
        }
        self.text.push_str(name);
    }

    /// `const` and the like of the type that comes now.
    fn qualifiers(&mut self, chain: &mut Vec<Type<'a>>) {
        while let Some(ty) = chain.last() {
            self.text.push_str(match ty.kind() {
                Kind::Const => "const ",
                Kind::Volatile => "volatile ",
                Kind::Restrict => "restrict ",
                _ => break,
            });
            chain.pop();
        }
    }

    /// Qualifiers of an array or a function, which C has no place for.
    fn without_qualifiers(chain: &mut Vec<Type<'a>>) {
        while chain.last().is_some_and(|ty| ty.kind().is_modifier()) {
            chain.pop();
        }
    }

    fn array(
        &mut self,
        ty: Type<'a>,
        chain: &mut Vec<Type<'a>>,
        name: &str,
        after_pointer: bool,
        level: usize,
    ) -> Result<(), NotC> {
        let (_, _, count) = ty.array().unwrap_or_default();
        Self::without_qualifiers(chain);
        match chain.last() {
            None => self.declared(name, after_pointer),
            Some(outer) => {
                let is_array = outer.kind() == Kind::Array;
                if !name.is_empty() && !after_pointer {
                    self.text.push(' ');
                }
                if !is_array {
                    self.text.push('(');
                }
                self.chain(chain, name, level)?;
                if !is_array {
                    self.text.push(')');
                }
            }
        }
        let _ = write!(self.text, "[{count}]");
        Ok(())
    }

    fn prototype(
        &mut self,
        ty: Type<'a>,
        chain: &mut Vec<Type<'a>>,
        name: &str,
        after_pointer: bool,
        level: usize,
    ) -> Result<(), NotC> {
        Self::without_qualifiers(chain);
        if chain.is_empty() {
            self.declared(name, after_pointer);
        } else {
            self.text.push_str(" (");
            self.chain(chain, name, level)?;
            self.text.push(')');
        }
        self.text.push('(');
        let last = ty.len().wrapping_sub(1);
        let takes_nothing =
            ty.is_empty() || (ty.len() == 1 && ty.params().all(|p| p.type_id == TypeId::VOID));
        if takes_nothing {
            self.text.push_str("void");
        } else {
            for (index, param) in ty.params().enumerate() {
                if index > 0 {
                    self.text.push_str(", ");
                }
                if index == last && param.type_id == TypeId::VOID {
                    self.text.push_str("...");
                } else {
                    self.declare(param.type_id, param.name, level)?;
                }
            }
        }
        self.text.push(')');
        Ok(())
    }

    fn line(&mut self, level: usize) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n('\t', level));
    }

    fn composite(&mut self, ty: Type<'a>, level: usize) -> Result<(), NotC> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(NotC::TooDeep(ty.id()));
        }
        let is_struct = ty.kind() == Kind::Struct;
        let packed = is_struct && self.is_packed(ty);
        self.text
            .push_str(if is_struct { "struct " } else { "union " });
        if !ty.is_anonymous() {
            let name = self.name(ty);
            self.text.push_str(&name);
            self.text.push(' ');
        }
        self.text.push('{');
        let (mut end, mut after_bitfield) = (0_u64, false);
        for member in ty.members() {
            let bits = u64::from(member.bitfield_bits);
            let offset = u64::from(member.bit_offset);
            let align = if packed {
                1
            } else {
                self.align(member.type_id)
            };
            self.padding(end, offset, align, after_bitfield && bits != 0, level + 1)?;
            self.line(level + 1);
            self.declare(member.type_id, member.name, level + 1)?;
            after_bitfield = bits != 0;
            if after_bitfield {
                let _ = write!(self.text, ": {bits}");
                end = offset + bits;
            } else {
                let size = self.btf.ty(member.type_id).size().unwrap_or_default();
                end = offset.saturating_add(size.saturating_mul(8));
            }
            self.text.push(';');
        }
        let size = u64::from(ty.own_size().unwrap_or_default());
        if is_struct {
            let align = self.align(ty.id());
            self.padding(end, size * 8, align, false, level + 1)?;
        }
        if !ty.is_empty() || size != 0 {
            self.line(level);
        }
        self.text.push('}');
        if packed {
            self.text.push_str(" __attribute__((packed))");
        }
        self.nesting -= 1;
        Ok(())
    }

    fn enumeration(&mut self, ty: Type<'a>, level: usize) {
        self.text.push_str("enum ");
        if !ty.is_anonymous() {
            let name = self.name(ty);
            self.text.push_str(&name);
            self.text.push(' ');
        }
        if ty.is_empty() && !ty.is_anonymous() {
            // Declared elsewhere only.
            self.text.pop();
            return;
        }
        self.text.push('{');
        let suffix = match (ty.kind(), ty.is_signed_enum()) {
            (Kind::Enum64, true) => "LL",
            (Kind::Enum64, false) => "ULL",
            _ => "",
        };
        for value in ty.enumerators() {
            self.line(level + 1);
            let name = match &mut self.uniques {
                Some(uniques) => unique(&mut uniques.identifiers, value.name),
                None => value.name.to_owned(),
            };
            let _ = write!(self.text, "{name} = {}{suffix},", value.value);
        }
        self.line(level);
        self.text.push('}');
        match ty.own_size() {
            // Smaller than `int` without an attribute only by -fshort-enums.
            Some(1) => self.text.push_str(" __attribute__((mode(byte)))"),
            // Values of 32 bits do not make it wide by themselves.
            Some(8) if self.btf.pointer_size() == 8 && is_narrow(ty) => {
                self.text.push_str(" __attribute__((mode(word)))");
            }
            _ => {}
        }
    }
}

/// Whether no value of an enum has a bit above the lower 32.
fn is_narrow(ty: Type<'_>) -> bool {
    let narrow = 0..=i128::from(u32::MAX);
    ty.kind() == Kind::Enum || ty.enumerators().all(|value| narrow.contains(&value.value))
}
