//! What a CO-RE relocation asks.

use std::fmt;

/// What a CO-RE relocation asks (`enum bpf_core_relo_kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelocKind {
    /// The offset of a field in bytes.
    FieldOffset,
    /// The size of a field in bytes.
    FieldSize,
    /// Whether there is such a field.
    FieldExists,
    /// Whether a field is signed.
    FieldSigned,
    /// The left shift that brings a bitfield to the top of 64 bits.
    FieldLeftShift,
    /// The right shift that brings it down again.
    FieldRightShift,
    /// The type's id in the object's BTF.
    TypeIdLocal,
    /// The type's id in the kernel's BTF.
    TypeIdTarget,
    /// Whether there is such a type.
    TypeExists,
    /// The size of a type in bytes.
    TypeSize,
    /// Whether there is such an enum value.
    EnumValueExists,
    /// The number that an enum value is.
    EnumValue,
    /// Whether the kernel's type has everything that the object's has.
    TypeMatches,
}

impl RelocKind {
    /// In the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::FieldOffset,
        Self::FieldSize,
        Self::FieldExists,
        Self::FieldSigned,
        Self::FieldLeftShift,
        Self::FieldRightShift,
        Self::TypeIdLocal,
        Self::TypeIdTarget,
        Self::TypeExists,
        Self::TypeSize,
        Self::EnumValueExists,
        Self::EnumValue,
        Self::TypeMatches,
    ];

    /// The kind with this number; `None` for one that is newer than kiln.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Whether it is about a field.
    pub fn is_field(self) -> bool {
        matches!(
            self,
            Self::FieldOffset
                | Self::FieldSize
                | Self::FieldExists
                | Self::FieldSigned
                | Self::FieldLeftShift
                | Self::FieldRightShift
        )
    }

    /// Whether it is about an enum value.
    pub fn is_enum_value(self) -> bool {
        matches!(self, Self::EnumValueExists | Self::EnumValue)
    }

    /// Whether it is about a whole type.
    pub fn is_type(self) -> bool {
        !self.is_field() && !self.is_enum_value()
    }

    /// As in libbpf's log.
    pub fn name(self) -> &'static str {
        match self {
            Self::FieldOffset => "byte_off",
            Self::FieldSize => "byte_sz",
            Self::FieldExists => "field_exists",
            Self::FieldSigned => "signed",
            Self::FieldLeftShift => "lshift_u64",
            Self::FieldRightShift => "rshift_u64",
            Self::TypeIdLocal => "local_type_id",
            Self::TypeIdTarget => "target_type_id",
            Self::TypeExists => "type_exists",
            Self::TypeSize => "type_size",
            Self::EnumValueExists => "enumval_exists",
            Self::EnumValue => "enumval_value",
            Self::TypeMatches => "type_matches",
        }
    }
}

impl fmt::Display for RelocKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
