//! Which instructions the kernel's verifier would look at.
//!
//! The verifier follows every path, and only those that constants leave open: a branch on
//! `bpf_core_field_exists`, on a variable of the kernel's configuration or on a constant of the
//! object is taken one way. This follows the same paths with the same constants. Where there are
//! too many, it merges them, and then reaches at most more than the verifier.

mod arithmetic;
mod state;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};

use self::arithmetic::{compare, compute};
pub use self::state::Place;
use self::state::{Frame, State, Val};
use super::elf::{Code, Data, Reference};
use super::insn::{
    self, CALL, EXIT, Insn, JA, JA32, JCOND, LD_IMM64, PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_KFUNC_CALL,
    class,
};

/// Instructions that are followed for one program. The verifier's own limit is a million.
const MAX_STEPS: u32 = 400_000;
/// Instructions that are followed for all programs of an object.
pub const STEPS: u32 = 10_000_000;
/// Different states in which one instruction is followed before they are merged.
const MAX_STATES: usize = 64;
/// Calls within calls (Linux: `MAX_CALL_FRAMES`).
const MAX_FRAMES: usize = 8;

/// What is known of a name that the object does not define.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It is something that is not looked into.
    Something,
    /// The kernel does not have it: its address is 0, and nobody can call it.
    Nothing,
    /// A variable with these bytes.
    Bytes(Vec<u8>),
}

/// What the instructions are followed with.
#[derive(Debug)]
pub struct World<'a> {
    /// The code sections of the object.
    pub code: &'a BTreeMap<usize, Code>,
    /// Their instructions after relocation.
    pub insns: &'a BTreeMap<usize, Vec<Insn>>,
    /// The instructions that relocation has made invalid, as they were.
    pub invalid: &'a HashSet<Place>,
    /// The data sections of the object.
    pub data: &'a BTreeMap<usize, Data>,
    /// The names that it does not define, by their index.
    pub externs: &'a [Known],
    /// Whether the constants of `.rodata` are as in the file: a loader may set others.
    pub constants: bool,
    /// Instructions that may still be followed for all programs together.
    pub left: Cell<u32>,
}

/// What a program reaches.
#[derive(Debug, Default)]
pub struct Reached {
    places: HashSet<Place>,
    /// There were too many paths: everything in its functions counts as reached.
    everything: HashSet<usize>,
}

impl Reached {
    /// Whether the verifier would look at this instruction.
    pub fn has(&self, place: Place) -> bool {
        self.places.contains(&place) || self.everything.contains(&place.0)
    }

    /// Every place that is known to be reached.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.places.iter().copied()
    }
}

/// What the program that begins at `entry` reaches.
pub fn reached(world: &World<'_>, entry: Place) -> Reached {
    let mut walk = Walk {
        world,
        reached: Reached::default(),
        seen: HashMap::new(),
        functions: HashSet::new(),
        waiting: Vec::new(),
        steps: 0,
    };
    walk.function(entry);
    let most = world.left.get().min(MAX_STEPS);
    while let Some((place, state)) = walk.waiting.pop() {
        walk.path(place, state, most);
        if walk.steps > most {
            walk.reached.everything.extend(world.code.keys());
            break;
        }
    }
    world.left.set(world.left.get().saturating_sub(walk.steps));
    walk.reached
}

/// The states in which a place was followed.
#[derive(Default)]
struct Seen {
    states: HashSet<State>,
    /// What all further ones have in common, once there are too many.
    merged: Option<State>,
}

struct Walk<'a, 'w> {
    world: &'w World<'a>,
    reached: Reached,
    /// For places that are jumped to.
    seen: HashMap<Place, Seen>,
    /// Functions that are followed by themselves.
    functions: HashSet<Place>,
    waiting: Vec<(Place, State)>,
    steps: u32,
}

impl Walk<'_, '_> {
    /// Follows a function whose arguments are unknown.
    fn function(&mut self, at: Place) {
        if self.functions.insert(at) {
            self.waiting.push((at, State::entry()));
        }
    }

    /// Whether `state` is one in which `place` was not followed yet; merges it with others if they
    /// are too many.
    fn is_new(&mut self, place: Place, state: &mut State) -> bool {
        let seen = self.seen.entry(place).or_default();
        if seen.states.contains(state) {
            return false;
        }
        if seen.states.len() < MAX_STATES {
            seen.states.insert(state.clone());
            return true;
        }
        match &mut seen.merged {
            Some(merged) if merged.frames.len() == state.frames.len() => {
                let before = merged.clone();
                merged.merge(state);
                if *merged == before {
                    return false;
                }
                *state = merged.clone();
            }
            Some(_) => return seen.states.insert(state.clone()),
            merged => *merged = Some(state.clone()),
        }
        true
    }

    /// Follows one path until it ends, branches or was seen.
    fn path(&mut self, mut place: Place, mut state: State, most: u32) {
        if !self.is_new(place, &mut state) {
            return;
        }
        while self.steps <= most {
            self.steps += 1;
            let insns = self.world.insns.get(&place.0);
            let Some(insn) = insns.and_then(|insns| insns.get(place.1)).copied() else {
                return;
            };
            self.reached.places.insert(place);
            let next = (place.0, place.1 + 1);
            match insn.class() {
                _ if self.world.invalid.contains(&place) => {
                    // What was there set a register; the next one may be invalid too.
                    let was = self.world.code.get(&place.0);
                    let was = was.and_then(|code| code.insns.get(place.1)).copied();
                    state.top().forget(was.unwrap_or(insn).dst);
                    let wide = was.is_some_and(|was| was.code == LD_IMM64);
                    place = (place.0, place.1 + if wide { 2 } else { 1 });
                    continue;
                }
                class::ALU | class::ALU64 => {
                    let frame = state.top();
                    let value = compute(insn, frame.get(insn.dst), frame.get(insn.src));
                    frame.set(insn.dst, value);
                }
                class::LD => {
                    let value = self.load_immediate(place, insn);
                    state
                        .top()
                        .set(if insn.code == LD_IMM64 { insn.dst } else { 0 }, value);
                    if insn.code == LD_IMM64 {
                        place = (place.0, place.1 + 2);
                        continue;
                    }
                }
                class::LDX => {
                    let value = self.load(insn, &state);
                    state.top().set(insn.dst, value);
                }
                class::ST | class::STX => state.store(insn),
                _ => match self.jump(place, insn, &mut state) {
                    Some(to) if to == next => {}
                    Some(to) => {
                        if !self.is_new(to, &mut state) {
                            return;
                        }
                        place = to;
                        continue;
                    }
                    None => return,
                },
            }
            place = next;
        }
    }

    /// Where a jump, call or exit leads; other ways are put on the list.
    fn jump(&mut self, place: Place, insn: Insn, state: &mut State) -> Option<Place> {
        let next = (place.0, place.1 + 1);
        let to = |offset: i64| {
            let to = i64::try_from(next.1).ok()?.checked_add(offset)?;
            Some((place.0, usize::try_from(to).ok()?))
        };
        match insn.code {
            EXIT => return state.leave(),
            CALL => return self.call(place, insn, state),
            JA => return to(insn.off.into()),
            JA32 => return to(insn.imm.into()),
            _ => {}
        }
        let taken = to(insn.off.into())?;
        let frame = state.top();
        let (left, right) = (frame.get(insn.dst), frame.get(insn.src));
        let right = if insn.uses_src() {
            right
        } else {
            Val::immediate(insn)
        };
        let decided = if insn.code == JCOND {
            None
        } else {
            compare(insn, left, right)
        };
        match decided {
            Some(true) => Some(taken),
            Some(false) => Some(next),
            None => {
                let mut other = state.clone();
                learn(insn, right, &mut other, state);
                self.waiting.push((taken, other));
                Some(next)
            }
        }
    }

    fn call(&mut self, place: Place, insn: Insn, state: &mut State) -> Option<Place> {
        let next = (place.0, place.1 + 1);
        if insn.src == PSEUDO_CALL {
            match self.reference(place) {
                Some(Reference::Extern(_)) => {}
                reference => {
                    let callee = target(place, insn, reference)?;
                    let code = self.world.code.get(&callee.0)?;
                    let function = code.function_at(callee.1)?;
                    if !function.global && state.frames.len() < MAX_FRAMES {
                        state.enter(next);
                        return Some(callee);
                    }
                    self.function(callee);
                }
            }
        } else if insn.src != PSEUDO_KFUNC_CALL {
            state.helper_writes();
        }
        let frame = state.top();
        (0..=5).for_each(|register| frame.forget(register));
        Some(next)
    }

    fn reference(&self, place: Place) -> Option<Reference> {
        self.world
            .code
            .get(&place.0)?
            .references
            .get(&place.1)
            .copied()
    }

    fn load_immediate(&mut self, place: Place, insn: Insn) -> Val {
        if insn.code != LD_IMM64 {
            return Val::Unknown;
        }
        let second = self
            .world
            .insns
            .get(&place.0)
            .and_then(|insns| insns.get(place.1 + 1));
        let high = second.map_or(0, |second| second.imm.cast_unsigned());
        let low = insn.imm.cast_unsigned();
        let number = u64::from(high) << 32 | u64::from(low);
        match self.reference(place) {
            Some(Reference::Extern(index)) => match self.world.externs.get(index) {
                Some(Known::Nothing) => Val::Number(0),
                Some(Known::Bytes(_)) => Val::Extern(index, u64::from(low)),
                _ => Val::Unknown,
            },
            Some(Reference::Section { section, offset }) => {
                let at = offset.wrapping_add(number);
                if self.world.code.contains_key(&section) {
                    let slot = usize::try_from(at).unwrap_or(usize::MAX) / insn::SIZE;
                    self.function((section, slot));
                    return Val::Unknown;
                }
                let data = self.world.data.get(&section);
                match data {
                    Some(data) if data.name.starts_with(".rodata") && self.world.constants => {
                        Val::Data(section, at)
                    }
                    _ => Val::Unknown,
                }
            }
            None if insn.src == PSEUDO_FUNC => {
                if let Some(callee) = target(place, insn, None) {
                    self.function(callee);
                }
                Val::Unknown
            }
            None if insn.src == 0 => Val::Number(number),
            None => Val::Unknown,
        }
    }

    fn load(&self, insn: Insn, state: &State) -> Val {
        // Only plain loads: others extend a sign or are atomic.
        if insn.code & 0xe0 != 0x60 {
            return Val::Unknown;
        }
        let size = insn.access_size() as usize;
        let of = |bytes: &[u8], at: u64| {
            let at = usize::try_from(at.wrapping_add_signed(insn.off.into())).ok()?;
            let mut word = [0; 8];
            let found = bytes.get(at..at.checked_add(size)?)?;
            word[..size].copy_from_slice(found);
            Some(Val::Number(u64::from_le_bytes(word)))
        };
        let value = match state.frames.last().map(|frame| frame.get(insn.src)) {
            Some(Val::Data(section, at)) => {
                let data = self.world.data.get(&section);
                data.and_then(|data| of(&data.bytes, at))
            }
            Some(Val::Extern(index, at)) => match self.world.externs.get(index) {
                Some(Known::Bytes(bytes)) => of(bytes, at),
                _ => None,
            },
            Some(Val::Stack(depth, at)) if size == 8 => {
                state.slot(depth, at.wrapping_add(insn.off.into()))
            }
            _ => None,
        };
        value.unwrap_or(Val::Unknown)
    }
}

/// The first instruction of the function that a call or an address of one is about.
fn target(place: Place, insn: Insn, reference: Option<Reference>) -> Option<Place> {
    let (section, at) = match reference {
        Some(Reference::Section { section, offset }) => {
            (section, i64::try_from(offset / insn::SIZE as u64).ok()?)
        }
        _ => (place.0, i64::try_from(place.1).ok()?),
    };
    let at = at.checked_add(i64::from(insn.imm))?.checked_add(1)?;
    Some((section, usize::try_from(at).ok()?))
}

/// Where a value was compared for equality, it is known on one side.
fn learn(insn: Insn, right: Val, taken: &mut State, not_taken: &mut State) {
    const EQUAL: u8 = 0x10;
    const UNEQUAL: u8 = 0x50;
    let Val::Number(_) = right else {
        return;
    };
    if insn.class() != class::JMP {
        return;
    }
    match insn.code & 0xf0 {
        EQUAL => taken.top().set(insn.dst, right),
        UNEQUAL => not_taken.top().set(insn.dst, right),
        _ => {}
    }
}

impl Frame {
    fn forget(&mut self, register: u8) {
        self.set(register, Val::Unknown);
    }
}
