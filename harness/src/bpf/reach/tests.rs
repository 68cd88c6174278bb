#![allow(clippy::unwrap_used)]
use super::*;
use crate::bpf::elf::Function;

/// The section of all test programs.
const TEXT: usize = 3;

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn {
        code,
        dst,
        src,
        off,
        imm,
    }
}

fn mov(dst: u8, imm: i32) -> Insn {
    insn(0xb7, dst, 0, 0, imm)
}

fn copy(dst: u8, src: u8) -> Insn {
    insn(0xbf, dst, src, 0, 0)
}

/// `if dst == imm goto +off`
fn jeq(dst: u8, imm: i32, off: i16) -> Insn {
    insn(0x15, dst, 0, off, imm)
}

fn exit() -> Insn {
    insn(EXIT, 0, 0, 0, 0)
}

fn call(src: u8, imm: i32) -> Insn {
    insn(CALL, 0, src, 0, imm)
}

/// `dst = *(u64 *)(src + off)`
fn load(dst: u8, src: u8, off: i16) -> Insn {
    insn(0x79, dst, src, off, 0)
}

/// `*(u64 *)(dst + off) = src`
fn store(dst: u8, src: u8, off: i16) -> Insn {
    insn(0x7b, dst, src, off, 0)
}

#[derive(Default)]
struct Test {
    code: Code,
    invalid: HashSet<Place>,
    data: BTreeMap<usize, Data>,
    externs: Vec<Known>,
    constants: bool,
}

impl Test {
    /// A program of functions, the first of which is entered.
    fn new(functions: &[&[Insn]]) -> Self {
        let mut code = Code::default();
        for (number, insns) in functions.iter().enumerate() {
            code.functions.push(Function {
                name: number.to_string(),
                start: code.insns.len(),
                length: insns.len(),
                global: false,
            });
            code.insns.extend_from_slice(insns);
        }
        Self {
            code,
            constants: true,
            ..Self::default()
        }
    }

    fn refers(mut self, at: usize, reference: Reference) -> Self {
        self.code.references.insert(at, reference);
        self
    }

    /// The instructions that are not reached.
    fn dead(self) -> Vec<usize> {
        let insns = BTreeMap::from([(TEXT, self.code.insns.clone())]);
        let count = self.code.insns.len();
        let world = World {
            code: &BTreeMap::from([(TEXT, self.code)]),
            insns: &insns,
            invalid: &self.invalid,
            data: &self.data,
            externs: &self.externs,
            constants: self.constants,
            left: Cell::new(STEPS),
        };
        let reached = reached(&world, (TEXT, 0));
        (0..count).filter(|&at| !reached.has((TEXT, at))).collect()
    }
}

#[test]
fn a_branch_on_a_constant_is_taken_one_way() {
    let program = |value| {
        [
            mov(1, value),
            jeq(1, 0, 2),
            mov(0, 7),
            exit(),
            mov(0, 8),
            exit(),
        ]
    };
    assert_eq!(Test::new(&[&program(0)]).dead(), [2, 3]);
    assert_eq!(Test::new(&[&program(1)]).dead(), [4, 5]);
}

#[test]
fn a_branch_on_anything_else_is_taken_both_ways() {
    let program = [jeq(1, 0, 2), mov(0, 7), exit(), mov(0, 8), exit()];
    assert!(Test::new(&[&program]).dead().is_empty());
}

#[test]
fn each_path_keeps_its_own_constants() {
    // r6 = 0 or 1, by r1; both ways meet; only r6 decides what follows, for each path.
    let program = [
        mov(6, 0),
        jeq(1, 5, 1),
        mov(6, 1),
        jeq(6, 2, 1),
        exit(),
        mov(0, 7),
        exit(),
    ];
    assert_eq!(Test::new(&[&program]).dead(), [5, 6]);
}

#[test]
fn constants_survive_arithmetic_calls_and_the_stack() {
    let program = [
        mov(1, 3),
        // r1 &= 1; r1 <<= 4; r1 -= 16
        insn(0x57, 1, 0, 0, 1),
        insn(0x67, 1, 0, 0, 4),
        insn(0x17, 1, 0, 0, 16),
        copy(7, 1),
        store(10, 1, -8),
        call(0, 5),
        load(2, 10, -8),
        jeq(2, 0, 1),
        exit(),
        jeq(7, 0, 1),
        exit(),
        mov(0, 1),
        exit(),
    ];
    assert_eq!(Test::new(&[&program]).dead(), [9, 11]);
}

#[test]
fn a_helper_that_gets_an_address_of_the_stack_may_write_there() {
    let program = [
        mov(1, 0),
        store(10, 1, -8),
        copy(1, 10),
        insn(0x07, 1, 0, 0, -16),
        call(0, 4),
        load(2, 10, -8),
        jeq(2, 0, 1),
        exit(),
        exit(),
    ];
    assert!(Test::new(&[&program]).dead().is_empty());
}

#[test]
fn a_function_is_followed_with_the_arguments_of_each_call() {
    let callee = [jeq(2, 0, 2), mov(0, 7), exit(), mov(0, 8), exit()];
    let caller = |argument| [mov(2, argument), call(PSEUDO_CALL, 2), exit(), exit()];
    assert_eq!(Test::new(&[&caller(0), &callee]).dead(), [3, 5, 6]);
    assert_eq!(Test::new(&[&caller(1), &callee]).dead(), [3, 7, 8]);
    // What it returns is known as well.
    let returns = [mov(0, 0), exit()];
    let caller = [call(PSEUDO_CALL, 3), jeq(0, 0, 1), exit(), exit()];
    assert_eq!(Test::new(&[&caller, &returns]).dead(), [2]);
}

#[test]
fn a_global_function_is_followed_whatever_its_arguments() {
    let callee = [jeq(2, 0, 1), exit(), exit()];
    let caller = [mov(2, 0), call(PSEUDO_CALL, 1), exit()];
    let mut test = Test::new(&[&caller, &callee]);
    test.code.functions[1].global = true;
    assert!(test.dead().is_empty());
}

#[test]
fn variables_of_the_configuration_are_constants() {
    let wide = |src| [insn(LD_IMM64, 1, src, 0, 0), insn(0, 0, 0, 0, 0)];
    // r1 = *(u32 *)r1; if r1 >= 0x60c00 goto
    let rest = [
        insn(0x61, 1, 1, 0, 0),
        insn(0x35, 1, 0, 1, 0x6_0c00),
        exit(),
        exit(),
    ];
    let program = [wide(0).as_slice(), &rest].concat();
    let of = |known: Known| {
        let mut test = Test::new(&[&program]).refers(0, Reference::Extern(0));
        test.externs = vec![known];
        test.dead()
    };
    let version = |code: u32| Known::Bytes(code.to_le_bytes().to_vec());
    assert_eq!(of(version(0x6_0100)), [1, 5]);
    assert_eq!(of(version(0x7_0300)), [1, 4]);
    assert_eq!(of(Known::Something), [1]);
    // The address of what the kernel does not have is 0.
    let program = [wide(0).as_slice(), &[jeq(1, 0, 1), exit(), exit()]].concat();
    let mut test = Test::new(&[&program]).refers(0, Reference::Extern(0));
    test.externs = vec![Known::Nothing];
    assert_eq!(test.dead(), [1, 3]);
}

#[test]
fn constants_of_the_object_count_unless_its_loader_may_change_them() {
    let program = [
        insn(LD_IMM64, 1, 0, 0, 4),
        insn(0, 0, 0, 0, 0),
        insn(0x61, 1, 1, 0, 0),
        jeq(1, 0, 1),
        exit(),
        exit(),
    ];
    let of = |constants| {
        let section = Reference::Section {
            section: 9,
            offset: 0,
        };
        let mut test = Test::new(&[&program]).refers(0, section);
        let data = Data {
            name: ".rodata".to_owned(),
            bytes: vec![1, 1, 1, 1, 0, 0, 0, 0],
            ..Data::default()
        };
        test.data.insert(9, data);
        test.constants = constants;
        test.dead()
    };
    assert_eq!(of(true), [1, 4]);
    assert_eq!(of(false), [1]);
}

#[test]
fn behind_an_invalid_instruction_the_path_goes_on() {
    let program = [mov(1, 0), jeq(1, 0, 1), exit(), exit()];
    let mut test = Test::new(&[&program]);
    test.invalid.insert((TEXT, 0));
    assert!(test.dead().is_empty());
}

#[test]
fn loops_end_and_too_many_states_are_merged() {
    // r6 = 0; r7 = 0; loop: r6 += 1; if r6 == 100000 exit; goto loop unless r7 == 1
    let counting = [
        mov(6, 0),
        mov(7, 0),
        insn(0x07, 6, 0, 0, 1),
        jeq(6, 100_000, 3),
        jeq(7, 1, 1),
        insn(JA, 0, 0, -4, 0),
        mov(0, 7),
        exit(),
    ];
    // What does not change in the loop stays known.
    assert_eq!(Test::new(&[&counting]).dead(), [6]);
    let forever = [insn(JA, 0, 0, -1, 0), exit()];
    assert_eq!(Test::new(&[&forever]).dead(), [1]);
    let mut ways = Vec::new();
    for register in [6, 7, 8, 9] {
        for bit in 0..12 {
            // if r1 & (1 << bit) goto +1; r |= bit
            ways.push(insn(0x45, 1, 0, 1, 1 << bit));
            ways.push(insn(0x47, register, 0, 0, 1 << bit));
        }
    }
    let mut program = vec![mov(6, 0), mov(7, 0), mov(8, 0), mov(9, 0)];
    program.extend(ways);
    program.push(exit());
    assert!(Test::new(&[&program]).dead().is_empty());
}
