//! What a relocation makes of its instruction (libbpf: `bpf_core_patch_insn`).

use super::error::RelocError;
use super::value::{Number, Value};
use crate::bpf::insn::{CALL, Insn, LD_IMM64, class};

/// The helper that libbpf calls where an instruction has become invalid: 0xbad2310, "bad relo".
const POISON: i32 = 195_896_080;

/// The call that stands for an instruction that the kernel has nothing for.
const POISONED: Insn = Insn {
    code: CALL,
    dst: 0,
    src: 0,
    off: 0,
    imm: POISON,
};

/// Patches the instruction `at`; returns whether it is still one.
pub(super) fn patch(insns: &mut [Insn], at: usize, value: Value) -> Result<bool, RelocError> {
    let bad = |why: String| Err(RelocError::BadInsn(why));
    let Some(&before) = insns.get(at) else {
        return bad("it lies behind the end of its function".to_owned());
    };
    let wide = before.code == LD_IMM64;
    let number = match value {
        Value::Number(number) => number,
        Value::Poison => {
            poison(insns, at, wide);
            return Ok(false);
        }
    };
    match before.class() {
        class::ALU | class::ALU64 if !before.uses_src() => {
            check(
                number,
                i64::from(before.imm).cast_unsigned(),
                "an immediate",
            )?;
            insns[at].imm = low(number.new);
        }
        class::LDX | class::ST | class::STX => {
            check(number, i64::from(before.off).cast_unsigned(), "an offset")?;
            let Ok(off) = i16::try_from(number.new) else {
                return bad(format!("an offset of {} is too large for it", number.new));
            };
            if number.misfits {
                poison(insns, at, wide);
                return Ok(false);
            }
            insns[at].off = off;
            let (now, shall) = number.sizes;
            if now != shall {
                if before.access_size() != now {
                    let size = before.access_size();
                    return bad(format!(
                        "it reads or writes {size} bytes, and the field has {now}"
                    ));
                }
                let Some(bits) = size_bits(shall) else {
                    return bad(format!("none reads or writes {shall} bytes"));
                };
                insns[at].code = before.code & !0x18 | bits;
            }
        }
        class::LD => {
            let second = insns.get(at + 1).copied();
            let plain = |second: &Insn| {
                second.code == 0 && second.dst == 0 && second.src == 0 && second.off == 0
            };
            let second = second.filter(plain);
            let (true, Some(second)) = (wide && before.src == 0 && before.off == 0, second) else {
                return bad("it is no plain load of 64 bits".to_owned());
            };
            let low_half = u64::from(before.imm.cast_unsigned());
            let now = u64::from(second.imm.cast_unsigned()) << 32 | low_half;
            check(number, now, "an immediate")?;
            insns[at].imm = low(number.new);
            insns[at + 1].imm = low(number.new >> 32);
        }
        _ => return bad(format!("its opcode is {:#04x}", before.code)),
    }
    Ok(true)
}

/// An instruction that is not what the object's own types say is not what the compiler wrote.
fn check(number: Number, now: u64, what: &str) -> Result<(), RelocError> {
    match number.expected {
        Some(expected) if expected != now => {
            let now = now.cast_signed();
            Err(RelocError::BadInsn(format!(
                "it has {what} of {now}, and {expected} is expected"
            )))
        }
        _ => Ok(()),
    }
}

fn poison(insns: &mut [Insn], at: usize, wide: bool) {
    for insn in insns.iter_mut().skip(at).take(if wide { 2 } else { 1 }) {
        *insn = POISONED;
    }
}

fn low(value: u64) -> i32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

fn size_bits(bytes: u32) -> Option<u8> {
    match bytes {
        8 => Some(0x18),
        4 => Some(0x00),
        2 => Some(0x08),
        1 => Some(0x10),
        _ => None,
    }
}
