#![allow(clippy::unwrap_used)]
use super::*;
use crate::btf::fixture::Builder;
use crate::btf::{Btf, ByteOrder, KernelBtf, Kind};

/// An integer's encoding: signed.
const SIGNED: u32 = 1;

fn builder() -> Builder {
    Builder::new(ByteOrder::Little)
}

/// The object's type `root`, asked of the kernel.
struct Asked {
    object: std::sync::Arc<Btf>,
    kernel: KernelBtf,
}

impl Asked {
    fn new(object: &Builder, kernel: &Builder) -> Self {
        Self {
            object: object.build(),
            kernel: KernelBtf::of_image(kernel.bytes()).unwrap(),
        }
    }

    /// What one relocation after another becomes.
    fn all(&self, relocations: &[(u32, RelocKind, &str)]) -> Vec<Result<Value, String>> {
        let types = KernelTypes::new(&self.kernel);
        let (mut candidates, budget) = (Candidates::default(), Budget::default());
        let one = |&(root, kind, access): &(u32, RelocKind, &str)| {
            let root = self.object.ty(TypeId(root));
            let local = Spec::parse(root, kind, access).map_err(|error| error.to_string())?;
            let answer = answer(&local, root, types, &mut candidates, &budget);
            answer
                .map(|answer| answer.value)
                .map_err(|error| error.to_string())
        };
        relocations.iter().map(one).collect()
    }

    fn one(&self, root: u32, kind: RelocKind, access: &str) -> Result<Value, String> {
        self.all(&[(root, kind, access)]).remove(0)
    }

    fn number(&self, root: u32, kind: RelocKind, access: &str) -> u64 {
        match self.one(root, kind, access).unwrap() {
            Value::Number(number) => number.new,
            Value::Poison => panic!("poisoned"),
        }
    }
}

#[test]
fn types_of_one_name_must_give_the_same_answer() {
    let mut object = builder();
    let int = object.int("int", 4, SIGNED);
    let root = object.composite(Kind::Struct, "s", 4, &[("a", int, 0, 0)]);
    let kernel = |second: u32| {
        let mut kernel = builder();
        let int = kernel.int("int", 4, SIGNED);
        kernel.composite(Kind::Struct, "s", 16, &[("a", int, 32, 0)]);
        kernel.composite(Kind::Struct, "s___other", 16, &[("a", int, second, 0)]);
        kernel
    };
    let asked = Asked::new(&object, &kernel(32));
    assert_eq!(asked.number(root, RelocKind::FieldOffset, "0:0"), 4);
    let asked = Asked::new(&object, &kernel(64));
    let error = asked.one(root, RelocKind::FieldOffset, "0:0").unwrap_err();
    assert!(error.starts_with("ambiguous: "), "{error}");
    // Even a question is refused then, since the offset is compared first.
    assert!(asked.one(root, RelocKind::FieldExists, "0:0").is_err());
}

#[test]
fn a_candidate_that_was_ruled_out_once_is_not_asked_again() {
    let mut object = builder();
    let int = object.int("int", 4, SIGNED);
    let members = [("a", int, 0, 0), ("b", int, 32, 0)];
    let root = object.composite(Kind::Struct, "s", 8, &members);
    let mut kernel = builder();
    let int = kernel.int("int", 4, SIGNED);
    kernel.composite(Kind::Struct, "s", 4, &[("a", int, 0, 0)]);
    kernel.composite(Kind::Struct, "s", 4, &[("b", int, 0, 0)]);
    let asked = Asked::new(&object, &kernel);
    let (a, b) = (
        (root, RelocKind::FieldOffset, "0:0"),
        (root, RelocKind::FieldOffset, "0:1"),
    );
    let poisoned = |values: &[Result<Value, String>]| {
        values
            .iter()
            .map(|value| value == &Ok(Value::Poison))
            .collect::<Vec<_>>()
    };
    assert_eq!(poisoned(&asked.all(&[a, b])), [false, true]);
    assert_eq!(poisoned(&asked.all(&[b, a])), [false, true]);
}

#[test]
fn a_field_is_found_through_what_has_no_name() {
    let mut object = builder();
    let int = object.int("int", 4, SIGNED);
    let array = object.array(int, int, 4);
    let root = object.composite(
        Kind::Struct,
        "s___mine",
        20,
        &[("x", int, 0, 0), ("list", array, 32, 0)],
    );
    let mut kernel = builder();
    let int = kernel.int("int", 4, SIGNED);
    let array = kernel.array(int, int, 8);
    let inner = kernel.composite(
        Kind::Struct,
        "",
        36,
        &[("y", int, 0, 0), ("list", array, 32, 0)],
    );
    let union = kernel.composite(Kind::Union, "", 36, &[("x", int, 0, 0), ("", inner, 0, 0)]);
    kernel.composite(
        Kind::Struct,
        "s",
        40,
        &[("pad", int, 0, 0), ("", union, 32, 0)],
    );
    let asked = Asked::new(&object, &kernel);
    assert_eq!(
        asked.number(root, RelocKind::FieldOffset, "0:1:2"),
        4 + 4 + 8
    );
    assert_eq!(asked.number(root, RelocKind::FieldSize, "0:1"), 32);
    assert_eq!(asked.number(root, RelocKind::FieldOffset, "0:0"), 4);
    assert!(
        asked.one(root, RelocKind::FieldOffset, "0:1:4").is_err(),
        "it has four in the object"
    );
    assert!(asked.one(root, RelocKind::FieldOffset, "0:7").is_err());
    assert!(asked.one(root, RelocKind::FieldOffset, "0:-1").is_err());
    assert!(asked.one(root, RelocKind::FieldOffset, "").is_err());
}

#[test]
fn bitfields_get_the_smallest_load_that_has_all_their_bits() {
    let mut object = builder();
    let unsigned = object.int("unsigned int", 4, 0);
    let root = object.composite(Kind::Struct, "s", 4, &[("f", unsigned, 0, 3)]);
    let kernel = |offset: u32| {
        let mut kernel = builder();
        let unsigned = kernel.int("unsigned int", 4, 0);
        kernel.composite(Kind::Struct, "s", 32, &[("f", unsigned, offset, 3)]);
        Asked::new(&object, &kernel)
    };
    // Bits 30 to 32 need 8 bytes from 0.
    for (offset, expected) in [
        (0, [0, 4, 61, 61]),
        (30, [0, 8, 31, 61]),
        (40, [4, 4, 53, 61]),
        (67, [8, 4, 58, 61]),
    ] {
        let kinds = [
            RelocKind::FieldOffset,
            RelocKind::FieldSize,
            RelocKind::FieldLeftShift,
            RelocKind::FieldRightShift,
        ];
        let asked = kernel(offset);
        assert_eq!(
            kinds.map(|kind| asked.number(root, kind, "0:0")),
            expected,
            "{offset}"
        );
    }
    // Bits 62 to 64 are in no 8 bytes that begin at a multiple of 8.
    let error = kernel(62)
        .one(root, RelocKind::FieldOffset, "0:0")
        .unwrap_err();
    assert!(error.contains("64 bits"), "{error}");
}

#[test]
fn enum_values_are_read_with_their_sign_and_width() {
    let mut object = builder();
    let root = object.enumeration("e___mine", false, &[("MINUS___mine", 0), ("WIDE", 1)]);
    let mut kernel = builder();
    kernel.enumeration("e", true, &[("OTHER", 3), ("MINUS", -2)]);
    let asked = Asked::new(&object, &kernel);
    assert_eq!(asked.number(root, RelocKind::EnumValue, "0"), u64::MAX - 1);
    assert_eq!(
        asked.one(root, RelocKind::EnumValue, "1"),
        Ok(Value::Poison)
    );
    assert_eq!(asked.number(root, RelocKind::EnumValueExists, "1"), 0);
    let mut kernel = builder();
    kernel.enumeration64("e", false, &[("WIDE", 1 << 40)]);
    let asked = Asked::new(&object, &kernel);
    assert_eq!(asked.number(root, RelocKind::EnumValue, "1"), 1 << 40);
    assert_eq!(asked.number(root, RelocKind::EnumValueExists, "0"), 0);
}

#[test]
fn a_type_matches_if_it_has_all_that_the_object_has() {
    let local = |size: u32, extra: bool| {
        let mut object = builder();
        let int = object.int("int", size, SIGNED);
        let fwd = object.fwd("other", false);
        let pointer = object.to(Kind::Ptr, "", fwd);
        let mut members = vec![("a", int, 0, 0), ("p", pointer, 64, 0)];
        if extra {
            members.push(("b", int, 128, 0));
        }
        let root = object.composite(Kind::Struct, "s", 24, &members);
        (object, root)
    };
    let mut kernel = builder();
    let int = kernel.int("int", 4, SIGNED);
    let other = kernel.composite(Kind::Struct, "other", 4, &[("x", int, 0, 0)]);
    let pointer = kernel.to(Kind::Ptr, "", other);
    let members = [
        ("z", int, 0, 0),
        ("a", int, 32, 0),
        ("p", pointer, 64, 0),
        ("c", int, 128, 0),
    ];
    kernel.composite(Kind::Struct, "s", 24, &members);
    for (size, extra, expected) in [(4, false, 1), (8, false, 0), (4, true, 0)] {
        let (object, root) = local(size, extra);
        let asked = Asked::new(&object, &kernel);
        assert_eq!(
            asked.number(root, RelocKind::TypeMatches, "0"),
            expected,
            "{size} {extra}"
        );
        // For the looser question sizes and members do not matter.
        assert_eq!(asked.number(root, RelocKind::TypeExists, "0"), 1);
        assert_eq!(asked.number(root, RelocKind::TypeSize, "0"), 24);
    }
}

#[test]
fn types_made_to_take_forever_are_given_up() {
    let mut kernel = builder();
    let int = kernel.int("int", 4, SIGNED);
    let mut inner = kernel.composite(Kind::Union, "", 4, &[("x", int, 0, 0)]);
    for _ in 0..60 {
        inner = kernel.composite(Kind::Union, "", 4, &[("", inner, 0, 0), ("", inner, 0, 0)]);
    }
    kernel.composite(Kind::Struct, "s", 4, &[("", inner, 0, 0)]);
    let mut object = builder();
    let int = object.int("int", 4, SIGNED);
    let root = object.composite(Kind::Struct, "s", 4, &[("absent", int, 0, 0)]);
    let asked = Asked::new(&object, &kernel);
    let error = asked.one(root, RelocKind::FieldExists, "0:0").unwrap_err();
    assert!(error.contains("entangled"), "{error}");
}
