//! What is known at one point of one path: registers and stack.

use std::collections::BTreeMap;

use crate::bpf::insn::{Insn, class};

/// An instruction: its section, and its number there.
pub type Place = (usize, usize);

/// The frame pointer.
const FRAME_POINTER: u8 = 10;

/// What is known of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Val {
    Unknown,
    Number(u64),
    /// An address on the stack of the frame with this depth, relative to its frame pointer.
    Stack(u8, i64),
    /// An address in a data section.
    Data(usize, u64),
    /// An address in a variable that the object does not define.
    Extern(usize, u64),
}

impl Val {
    /// The immediate of an instruction, with its sign.
    pub(super) fn immediate(insn: Insn) -> Self {
        Self::Number(i64::from(insn.imm).cast_unsigned())
    }

    /// The address moved by `by`.
    pub(super) fn moved(self, by: u64) -> Self {
        match self {
            Self::Number(number) => Self::Number(number.wrapping_add(by)),
            Self::Stack(depth, at) => Self::Stack(depth, at.wrapping_add(by.cast_signed())),
            Self::Data(section, at) => Self::Data(section, at.wrapping_add(by)),
            Self::Extern(index, at) => Self::Extern(index, at.wrapping_add(by)),
            Self::Unknown => Self::Unknown,
        }
    }

    fn merged(self, other: Self) -> Self {
        if self == other { self } else { Self::Unknown }
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Frame {
    registers: [Val; 11],
    /// Numbers and addresses on its stack, by their offset from the frame pointer, 8 bytes each.
    stack: BTreeMap<i64, Val>,
    /// Where its caller goes on.
    back: Option<Place>,
}

impl Frame {
    fn new(depth: u8, back: Option<Place>) -> Self {
        let mut registers = [Val::Unknown; 11];
        registers[usize::from(FRAME_POINTER)] = Val::Stack(depth, 0);
        Self {
            registers,
            stack: BTreeMap::new(),
            back,
        }
    }

    pub(super) fn get(&self, register: u8) -> Val {
        let value = self.registers.get(usize::from(register));
        value.copied().unwrap_or(Val::Unknown)
    }

    pub(super) fn set(&mut self, register: u8, value: Val) {
        if register != FRAME_POINTER
            && let Some(slot) = self.registers.get_mut(usize::from(register))
        {
            *slot = value;
        }
    }

    /// Forgets what lies in these bytes of the stack.
    fn overwrite(&mut self, from: i64, to: i64) {
        self.stack
            .retain(|&at, _| at.saturating_add(8) <= from || at >= to);
    }
}

/// All frames, the innermost last.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) frames: Vec<Frame>,
}

impl State {
    /// At the entry of a function whose arguments are unknown.
    pub(super) fn entry() -> Self {
        Self {
            frames: vec![Frame::new(0, None)],
        }
    }

    pub(super) fn top(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::new(0, None));
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// Begins a call, after which the caller goes on at `back`.
    pub(super) fn enter(&mut self, back: Place) {
        let depth = u8::try_from(self.frames.len()).unwrap_or(u8::MAX);
        let mut frame = Frame::new(depth, Some(back));
        for register in 1..=5 {
            frame.set(register, self.top().get(register));
        }
        self.frames.push(frame);
    }

    /// Ends a call; returns where the caller goes on.
    pub(super) fn leave(&mut self) -> Option<Place> {
        let callee = self.frames.pop()?;
        let back = callee.back?;
        let returned = match callee.get(0) {
            Val::Stack(depth, _) if usize::from(depth) >= self.frames.len() => Val::Unknown,
            value => value,
        };
        let caller = self.top();
        caller.set(0, returned);
        for register in 1..=5 {
            caller.set(register, Val::Unknown);
        }
        Some(back)
    }

    /// What lies on a stack.
    pub(super) fn slot(&self, depth: u8, at: i64) -> Option<Val> {
        self.frames.get(usize::from(depth))?.stack.get(&at).copied()
    }

    /// A store.
    pub(super) fn store(&mut self, insn: Insn) {
        let frame = self.top();
        let (base, source) = (frame.get(insn.dst), frame.get(insn.src));
        let is_atomic = insn.code & 0xe0 == 0xc0;
        if is_atomic {
            // It may fetch what was there.
            frame.set(insn.src, Val::Unknown);
            frame.set(0, Val::Unknown);
        }
        let Val::Stack(depth, at) = base else {
            return;
        };
        let Some(frame) = self.frames.get_mut(usize::from(depth)) else {
            return;
        };
        let at = at.saturating_add(insn.off.into());
        let size = i64::from(insn.access_size());
        frame.overwrite(at, at.saturating_add(size));
        let value = match insn.class() {
            class::ST => Val::immediate(insn),
            _ => source,
        };
        if size == 8 && !is_atomic && value != Val::Unknown {
            frame.stack.insert(at, value);
        }
    }

    /// A helper may write to whatever addresses of the stack it is given, upwards.
    pub(super) fn helper_writes(&mut self) {
        let arguments = (1..=5).map(|register| self.top().get(register));
        let arguments: Vec<Val> = arguments.collect();
        for argument in arguments {
            if let Val::Stack(depth, at) = argument
                && let Some(frame) = self.frames.get_mut(usize::from(depth))
            {
                frame.overwrite(at, i64::MAX);
            }
        }
    }

    /// Keeps what both know; both have the same number of frames.
    pub(super) fn merge(&mut self, other: &Self) {
        for (frame, other) in self.frames.iter_mut().zip(&other.frames) {
            for (value, other) in frame.registers.iter_mut().zip(&other.registers) {
                *value = value.merged(*other);
            }
            frame
                .stack
                .retain(|at, value| other.stack.get(at) == Some(value));
        }
    }
}
