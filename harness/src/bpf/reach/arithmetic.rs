//! What instructions make of numbers.

use super::state::Val;
use crate::bpf::insn::{Insn, class};

const ADD: u8 = 0x00;
const SUB: u8 = 0x10;
const MUL: u8 = 0x20;
const DIV: u8 = 0x30;
const OR: u8 = 0x40;
const AND: u8 = 0x50;
const LSH: u8 = 0x60;
const RSH: u8 = 0x70;
const NEG: u8 = 0x80;
const MOD: u8 = 0x90;
const XOR: u8 = 0xa0;
const MOV: u8 = 0xb0;
const ARSH: u8 = 0xc0;

/// What an arithmetic instruction leaves in its register.
pub(super) fn compute(insn: Insn, left: Val, right: Val) -> Val {
    let right = if insn.uses_src() {
        right
    } else {
        Val::immediate(insn)
    };
    let wide = insn.class() == class::ALU64;
    let operation = insn.code & 0xf0;
    match (operation, left, right) {
        (MOV, _, right) if insn.off == 0 && wide => right,
        (MOV, _, Val::Number(right)) => Val::Number(match insn.off {
            0 => right & 0xffff_ffff,
            bits @ (8 | 16 | 32) => sign_extended(right, bits.cast_unsigned().into(), wide),
            _ => return Val::Unknown,
        }),
        (ADD, left, Val::Number(right)) if wide => left.moved(right),
        (ADD, Val::Number(left), right) if wide => right.moved(left),
        (SUB, left, Val::Number(right)) if wide => left.moved(right.wrapping_neg()),
        (AND | MUL, Val::Number(0), _) | (AND | MUL, _, Val::Number(0)) => Val::Number(0),
        (NEG, Val::Number(left), _) => Val::Number(narrowed(left.wrapping_neg(), wide)),
        (_, Val::Number(left), Val::Number(right)) if insn.off == 0 => {
            result(operation, left, right, wide).map_or(Val::Unknown, Val::Number)
        }
        // Signed division, and swapped bytes.
        _ => Val::Unknown,
    }
}

/// The result on 64 bits, or on the low 32 bits of both numbers.
fn result(operation: u8, left: u64, right: u64, wide: bool) -> Option<u64> {
    let bits = if wide { 64 } else { 32 };
    let (left, right) = (narrowed(left, wide), narrowed(right, wide));
    let shift = low(right) & (bits - 1);
    let result = match operation {
        ADD => left.wrapping_add(right),
        SUB => left.wrapping_sub(right),
        MUL => left.wrapping_mul(right),
        DIV => left.checked_div(right).unwrap_or(0),
        MOD => left.checked_rem(right).unwrap_or(left),
        OR => left | right,
        AND => left & right,
        XOR => left ^ right,
        LSH => left << shift,
        RSH => left >> shift,
        ARSH => (sign_extended(left, bits, true).cast_signed() >> shift).cast_unsigned(),
        _ => return None,
    };
    Some(narrowed(result, wide))
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(0)
}

fn narrowed(value: u64, wide: bool) -> u64 {
    if wide { value } else { value & 0xffff_ffff }
}

fn sign_extended(value: u64, bits: u32, wide: bool) -> u64 {
    let shift = 64 - bits;
    let extended = (value << shift).cast_signed() >> shift;
    narrowed(extended.cast_unsigned(), wide)
}

/// Whether a conditional jump is taken; `None` where that is unknown.
pub(super) fn compare(insn: Insn, left: Val, right: Val) -> Option<bool> {
    let (Val::Number(mut left), Val::Number(mut right)) = (left, right) else {
        return None;
    };
    let (mut signed_left, mut signed_right) = (left.cast_signed(), right.cast_signed());
    if insn.class() == class::JMP32 {
        (left, right) = (left & 0xffff_ffff, right & 0xffff_ffff);
        signed_left = low(left).cast_signed().into();
        signed_right = low(right).cast_signed().into();
    }
    Some(match insn.code & 0xf0 {
        0x10 => left == right,
        0x20 => left > right,
        0x30 => left >= right,
        0x40 => left & right != 0,
        0x50 => left != right,
        0x60 => signed_left > signed_right,
        0x70 => signed_left >= signed_right,
        0xa0 => left < right,
        0xb0 => left <= right,
        0xc0 => signed_left < signed_right,
        0xd0 => signed_left <= signed_right,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_operations_see_only_the_low_halves_and_wide_ones_see_all() {
        let high = 7 << 32;
        for (operation, left, right, narrow, wide) in [
            (ADD, 0xffff_ffff, 2, 1, 0x1_0000_0001),
            (SUB, high, 1, 0xffff_ffff, high - 1),
            (DIV, high | 9, high | 2, 4, 1),
            (DIV, 9, high, 0, 0),
            (MOD, high | 9, high, 9, 9),
            (LSH, 1, 33, 2, 1 << 33),
            (RSH, high | 8, 3, 1, (high | 8) >> 3),
            (ARSH, 0x8000_0000, 4, 0xf800_0000, 0x0800_0000),
            (ARSH, 1 << 63, 4, 0, 0xf800_0000_0000_0000),
        ] {
            assert_eq!(result(operation, left, right, false), Some(narrow));
            assert_eq!(result(operation, left, right, true), Some(wide));
        }
    }
}
