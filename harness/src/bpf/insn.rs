//! BPF instructions (Linux: `Documentation/bpf/standardization/instruction-set.rst`).

/// Bytes of one instruction slot.
pub const SIZE: usize = 8;

/// Instruction classes: the low three bits of the opcode.
pub mod class {
    /// 64-bit immediate loads and legacy packet access.
    pub const LD: u8 = 0;
    /// Loads into a register.
    pub const LDX: u8 = 1;
    /// Stores of an immediate.
    pub const ST: u8 = 2;
    /// Stores of a register.
    pub const STX: u8 = 3;
    /// 32-bit arithmetic.
    pub const ALU: u8 = 4;
    /// 64-bit jumps.
    pub const JMP: u8 = 5;
    /// 32-bit jumps.
    pub const JMP32: u8 = 6;
    /// 64-bit arithmetic.
    pub const ALU64: u8 = 7;
}

/// Loads a 64-bit immediate; takes two slots.
pub const LD_IMM64: u8 = 0x18;
/// A call.
pub const CALL: u8 = 0x85;
/// The end of a program or subprogram.
pub const EXIT: u8 = 0x95;
/// Unconditional jump by the offset.
pub const JA: u8 = 0x05;
/// Unconditional jump by the immediate.
pub const JA32: u8 = 0x06;
/// Conditional jump whose condition only the kernel knows (`may_goto`).
pub const JCOND: u8 = 0xe5;

/// `src` of a call of a function of the object (`BPF_PSEUDO_CALL`).
pub const PSEUDO_CALL: u8 = 1;
/// `src` of a call of a kernel function (`BPF_PSEUDO_KFUNC_CALL`).
pub const PSEUDO_KFUNC_CALL: u8 = 2;
/// `src` of a 64-bit immediate that is the address of a function of the object
/// (`BPF_PSEUDO_FUNC`).
pub const PSEUDO_FUNC: u8 = 4;

/// One slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// The opcode.
    pub code: u8,
    /// Destination register.
    pub dst: u8,
    /// Source register, or what kind of immediate this is.
    pub src: u8,
    /// Offset of a memory access or jump.
    pub off: i16,
    /// The immediate.
    pub imm: i32,
}

impl Insn {
    /// The instruction of these eight bytes, little-endian.
    pub fn parse(bytes: [u8; SIZE]) -> Self {
        let [code, registers, off0, off1, imm0, imm1, imm2, imm3] = bytes;
        Self {
            code,
            dst: registers & 0xf,
            src: registers >> 4,
            off: i16::from_le_bytes([off0, off1]),
            imm: i32::from_le_bytes([imm0, imm1, imm2, imm3]),
        }
    }

    /// All instructions in `code`; trailing bytes are left out.
    pub fn parse_all(code: &[u8]) -> Vec<Self> {
        let (slots, _) = code.as_chunks::<SIZE>();
        slots.iter().map(|slot| Self::parse(*slot)).collect()
    }

    /// Its class, see [`class`].
    pub fn class(self) -> u8 {
        self.code & 7
    }

    /// Whether the second operand is a register.
    pub fn uses_src(self) -> bool {
        self.code & 8 != 0
    }

    /// Bytes of a memory access.
    pub fn access_size(self) -> u32 {
        match self.code & 0x18 {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            _ => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_read_as_the_kernel_lays_it_out() {
        // r1 = *(u32 *)(r10 - 4)
        let load = Insn::parse([0x61, 0xa1, 0xfc, 0xff, 0, 0, 0, 0]);
        assert_eq!((load.class(), load.dst, load.src), (class::LDX, 1, 10));
        assert_eq!((load.off, load.access_size()), (-4, 4));
        assert_eq!(Insn::parse_all(&[0; 17]).len(), 2);
    }
}
