//! Why libbpf would refuse a whole object.

/// Why libbpf would refuse the object for one relocation, whether or not the instruction is ever
/// reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelocError {
    /// Its number is of no known kind.
    #[error("relocation of the unknown kind {0}")]
    UnknownKind(u32),
    /// The object's own BTF does not have what it says.
    #[error("the relocation does not fit the object's own BTF: {0}")]
    BadSpec(String),
    /// It is about a type without a name.
    #[error("the relocation is about a type without a name")]
    Anonymous,
    /// Types of the kernel with the same name give different answers.
    #[error("ambiguous: {0}")]
    Ambiguous(String),
    /// A type of the kernel cannot be compared.
    #[error("{0} cannot be compared")]
    Incomparable(String),
    /// A bitfield lies across more than 64 bits.
    #[error("no load of at most 64 bits reads the bitfield")]
    WideBitfield,
    /// An element of an array was asked for something that only fields have.
    #[error("an element of an array has no {0}")]
    OfElement(&'static str),
    /// The instruction is not one that it can be about.
    #[error("the instruction cannot be relocated: {0}")]
    BadInsn(String),
    /// The types are so entangled that nobody waits for the answer.
    #[error("its types are too entangled to compare")]
    TooLong,
}
