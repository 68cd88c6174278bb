#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;

use super::fixture::Builder;
use super::names::Names;
use super::*;

const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

/// One type of each kind.
fn every_kind(order: ByteOrder) -> Builder {
    let mut b = Builder::new(order);
    let int = b.int("int", 4, 1);
    let long = b.int("long unsigned int", 8, 0);
    let pointer = b.to(Kind::Ptr, "", int);
    let constant = b.to(Kind::Const, "", int);
    let array = b.array(constant, int, 3);
    let inner = b.composite(
        Kind::Union,
        "",
        8,
        &[("u_int", int, 0, 0), ("u_long", long, 0, 0)],
    );
    b.composite(
        Kind::Struct,
        "thing",
        32,
        &[
            ("first", int, 0, 0),
            ("low", int, 32, 3),
            ("high", int, 35, 29),
            ("", inner, 64, 0),
            ("values", array, 128, 0),
        ],
    );
    b.enumeration("small", true, &[("MINUS", -1), ("ONE", 1)]);
    b.enumeration64("large", false, &[("HUGE", u64::MAX)]);
    b.fwd("elsewhere", true);
    let named = b.to(Kind::Typedef, "thing_t", 7);
    b.to(Kind::Volatile, "", named);
    b.to(Kind::Restrict, "", pointer);
    let proto = b.proto(int, &[("thing", pointer), ("", 0)]);
    let func = b.func("do_thing", proto, 1);
    let var = b.var("a_thing", named, 1);
    b.section(".data", 32, &[(var, 0, 32)]);
    b.raw("double", 16 << 24, 8, &[]);
    b.decl_tag("bpf_kfunc", func, -1);
    b.to(Kind::TypeTag, "user", int);
    b
}

#[test]
fn every_kind_is_read_in_either_byte_order() {
    for order in ORDERS {
        let btf = every_kind(order).build();
        let kinds: Vec<u8> = {
            let mut kinds: Vec<u8> = btf.own().map(|ty| ty.kind_number()).collect();
            kinds.sort_unstable();
            kinds.dedup();
            kinds
        };
        assert_eq!(kinds, (1..=19).collect::<Vec<u8>>());
        assert_eq!(btf.byte_order(), order);
        assert_eq!(btf.pointer_size(), 8);

        let thing = btf.get(TypeId(7)).unwrap();
        assert_eq!(
            (thing.kind(), thing.name(), thing.size()),
            (Kind::Struct, "thing", Some(32))
        );
        let members: Vec<_> = thing
            .members()
            .map(|m| (m.name, m.bit_offset, m.bitfield_bits))
            .collect();
        assert_eq!(
            members,
            [
                ("first", 0, 0),
                ("low", 32, 3),
                ("high", 35, 29),
                ("", 64, 0),
                ("values", 128, 0)
            ]
        );
        let values: Vec<_> = btf
            .ty(TypeId(8))
            .enumerators()
            .map(|v| (v.name, v.value))
            .collect();
        assert_eq!(values, [("MINUS", -1), ("ONE", 1)]);
        let values: Vec<_> = btf.ty(TypeId(9)).enumerators().map(|v| v.value).collect();
        assert_eq!(values, [i128::from(u64::MAX)]);
        assert!(btf.ty(TypeId(10)).kind_flag());
        let int = btf.ty(TypeId(1)).int().unwrap();
        assert_eq!((int.bits, int.signed, int.is_bool), (32, true, false));
        let params: Vec<_> = btf
            .ty(TypeId(14))
            .params()
            .map(|p| (p.name, p.type_id))
            .collect();
        assert_eq!(params, [("thing", TypeId(3)), ("", TypeId::VOID)]);
        assert_eq!(btf.ty(TypeId(15)).linkage(), Some(1));
        assert_eq!(btf.ty(TypeId(16)).size(), Some(32));
        let vars: Vec<_> = btf.ty(TypeId(17)).section_vars().map(|v| v.size).collect();
        assert_eq!(vars, [32]);
        assert_eq!(btf.ty(TypeId(5)).size(), Some(12));
        assert!(btf.get(TypeId(21)).is_none());
        assert_eq!(btf.get(TypeId::VOID).unwrap().kind(), Kind::Void);
    }
}

#[test]
fn members_are_found_through_typedefs_and_anonymous_unions() {
    let btf = every_kind(ByteOrder::Little).build();
    let typedef = btf.ty(TypeId(12));
    let found = typedef.find_member("u_long").unwrap();
    assert_eq!((found.bit_offset, found.within), (64, TypeId(6)));
    assert_eq!(typedef.find_member("high").unwrap().bit_offset, 35);
    assert!(typedef.find_member("absent").is_none());
    assert!(typedef.find_member("").is_none());
    assert!(btf.ty(TypeId(3)).find_member("first").is_none());
    let high = btf.ty(TypeId(7)).member(2).unwrap();
    assert_eq!(btf.ty(TypeId(7)).bitfield_of(&high), Some(29));
}

#[test]
fn a_bitfield_of_the_older_encoding_shows_in_its_integer() {
    let mut b = Builder::new(ByteOrder::Little);
    let narrow = b.raw("unsigned int", 1 << 24, 4, &[3]);
    let whole = b.int("unsigned int", 4, 0);
    b.composite(
        Kind::Struct,
        "s",
        8,
        &[("bits", narrow, 5, 0), ("all", whole, 32, 0)],
    );
    let btf = b.build();
    let ty = btf.ty(TypeId(3));
    let bits: Vec<_> = ty.members().map(|m| ty.bitfield_of(&m)).collect();
    assert_eq!(bits, [Some(3), None]);
}

#[test]
fn ids_and_strings_of_a_module_begin_behind_those_of_its_kernel() {
    for order in ORDERS {
        let base = every_kind(order).build();
        let mut b = Builder::over(&base);
        let pointer = b.to(Kind::Ptr, "", 7);
        let own = b.composite(Kind::Struct, "of_module", 8, &[("thing", pointer, 0, 0)]);
        let btf = b.build_over(&base);
        assert_eq!(btf.own().count(), 2);
        assert_eq!(btf.first_id(), base.end_id());
        let ty = btf.get(TypeId(own)).unwrap();
        assert_eq!(ty.name(), "of_module");
        let member = ty.find_member("thing").unwrap().member;
        let target = btf.ty(member.type_id).target().unwrap();
        assert_eq!((target.name(), target.id()), ("thing", TypeId(7)));
        assert!(base.get(TypeId(own)).is_none());
    }
}

/// The damage of some BTF.
fn refused(b: &Builder) -> String {
    Btf::parse(b.bytes()).unwrap_err().to_string()
}

#[test]
fn a_reference_to_nothing_is_refused_with_its_place() {
    let mut b = Builder::new(ByteOrder::Little);
    b.to(Kind::Ptr, "", 2);
    assert_eq!(
        refused(&b),
        "byte 32 of the BTF: [1] PTR '' refers to type [2], and the last one is [1]"
    );
    let mut b = Builder::new(ByteOrder::Little);
    b.raw("", 1 << 24, 4, &[32]);
    b.types[0] = 9;
    assert_eq!(
        refused(&b),
        "byte 24 of the BTF: a name of INT [1] is at byte 9 of the strings, which end at byte 1"
    );
    let mut b = Builder::new(ByteOrder::Little);
    let int = b.int("int", 4, 1);
    b.func("f", int, 0);
    assert_eq!(
        refused(&b),
        "byte 48 of the BTF: [2] FUNC 'f' has [1] INT 'int' for its prototype"
    );
}

#[test]
fn types_without_end_are_refused() {
    for kind in [Kind::Typedef, Kind::Const, Kind::Ptr, Kind::TypeTag] {
        let mut b = Builder::new(ByteOrder::Little);
        b.to(kind, "a", 2);
        b.to(Kind::Typedef, "b", 1);
        let text = refused(&b);
        assert!(
            text.contains("refers to itself without a struct between"),
            "{text}"
        );
    }
    let mut b = Builder::new(ByteOrder::Little);
    b.array(1, 1, 1);
    assert!(refused(&b).contains("refers to itself"));
    let mut b = Builder::new(ByteOrder::Little);
    b.composite(Kind::Struct, "a", 8, &[("b", 2, 0, 0)]);
    b.array(3, 3, 1);
    b.composite(Kind::Union, "b", 8, &[("a", 1, 0, 0)]);
    let text = refused(&b);
    assert!(text.contains("'a' contains itself"), "{text}");
    // By pointer it may.
    let mut b = Builder::new(ByteOrder::Little);
    b.composite(Kind::Struct, "a", 8, &[("next", 2, 0, 0)]);
    b.to(Kind::Ptr, "", 1);
    assert_eq!(b.build().ty(TypeId(1)).size(), Some(8));
}

#[test]
fn types_that_nest_too_deep_are_refused_and_deep_ones_are_not() {
    let deep = |levels: u32| {
        let mut b = Builder::new(ByteOrder::Little);
        for level in 0..levels {
            b.to(Kind::Ptr, "", level);
        }
        b
    };
    let text = refused(&deep(200));
    assert!(text.contains("128 levels"), "{text}");
    let text = refused(&deep(100_000));
    assert!(text.contains("128 levels"), "{text}");
    assert!(Btf::parse(deep(100).bytes()).is_ok());
    // The other way round, so that the search itself must go deep.
    let mut b = Builder::new(ByteOrder::Little);
    for level in 0..100_000 {
        b.to(Kind::Ptr, "", level + 2);
    }
    b.int("int", 4, 1);
    assert!(refused(&b).contains("128 levels"));
}

#[test]
fn sections_that_do_not_fit_are_refused() {
    let whole = every_kind(ByteOrder::Little).bytes();
    for (cut, what) in [
        (0, "too short"),
        (1, "too short"),
        (20, "the header is cut short after 20 bytes"),
        (
            whole.len() - 1,
            "the string section ends behind the last byte",
        ),
    ] {
        let text = Btf::parse(whole[..cut].to_vec()).unwrap_err().to_string();
        assert!(text.contains(what), "{text}");
    }
    let with = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        Btf::parse(bytes).unwrap_err().to_string()
    };
    assert!(with(0, 1).contains("the magic number is"));
    assert!(with(2, 2).contains("version 2 is unknown"));
    assert!(with(4, 8).contains("the header claims 8 bytes"));
    assert!(with(16, 0).contains("the string section overlaps the type section"));
    assert!(with(24 + 7, 30).contains("a type has kind 30, which is unknown here"));
    let last = whole.len() - 1;
    assert!(with(last, b'x').contains("does not end with a NUL byte"));
    assert!(with(last - 1, 0xff).contains("a string is not UTF-8"));
}

#[test]
fn a_kind_of_the_future_is_skipped_where_the_layout_says_how_long_it_is() {
    let mut b = Builder::new(ByteOrder::Little);
    b.int("int", 4, 1);
    b.raw("future", (40 << 24) | 2, 0, &[7, 1, 2, 3, 4]);
    b.int("long", 8, 1);
    assert!(refused(&b).contains("kind 40"));
    let classic = b.bytes();
    let mut layout = vec![0; 4 * 41];
    layout[160] = 4;
    layout[161] = 8;
    let mut bytes = classic[..24].to_vec();
    bytes[4] = 32;
    let sections = u32::try_from(classic.len() - 24).unwrap();
    bytes.extend(sections.to_le_bytes());
    bytes.extend(u32::try_from(layout.len()).unwrap().to_le_bytes());
    bytes.extend(&classic[24..]);
    bytes.extend(&layout);
    let btf = Btf::parse(bytes).unwrap();
    let kinds: Vec<_> = btf
        .own()
        .map(|ty| (ty.kind(), ty.kind_number(), ty.name()))
        .collect();
    assert_eq!(
        kinds,
        [
            (Kind::Int, 1, "int"),
            (Kind::Unknown, 40, "future"),
            (Kind::Int, 1, "long")
        ]
    );
}

#[test]
fn an_anonymous_maze_is_walked_once() {
    // Each level holds the next one twice: walked naively, that is 2^60 members.
    let mut b = Builder::new(ByteOrder::Little);
    let mut inner = b.int("int", 4, 1);
    for _ in 0..60 {
        inner = b.composite(Kind::Union, "", 4, &[("", inner, 0, 0), ("", inner, 0, 0)]);
    }
    let btf = b.build();
    assert!(btf.ty(TypeId(inner)).find_member("x").is_none());
}

#[test]
fn a_distilled_module_is_moved_onto_its_kernel() {
    for order in ORDERS {
        let kernel = every_kind(order).build();
        let mut base = Builder::new(order);
        let int = base.int("int", 4, 1);
        let thing = base.composite(Kind::Struct, "thing", 32, &[]);
        let base = base.build();
        let mut b = Builder::over(&base);
        b.composite(
            Kind::Struct,
            "mine",
            40,
            &[("t", thing, 0, 0), ("i", int, 256, 0)],
        );
        b.to(Kind::Ptr, "", base.end_id());
        let split = b.build_over(&base);
        let moved = distilled::relocate(&split, &kernel).unwrap();
        let moved = Btf::parse_split(moved, Arc::clone(&kernel)).unwrap();
        let mine = moved.own().next().unwrap();
        assert_eq!(mine.name(), "mine");
        let t = mine.find_member("t").unwrap().member;
        assert!(moved.ty(t.type_id).find_member("u_long").is_some());
        assert_eq!(moved.own().nth(1).unwrap().target().unwrap().name(), "mine");

        let mut other = Builder::new(order);
        other.int("int", 4, 1);
        other.composite(Kind::Struct, "thing", 24, &[]);
        let error = distilled::relocate(&split, &other.build())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("it needs [2] STRUCT 'thing', and the kernel has no such type"),
            "{error}"
        );
    }
}

#[test]
fn names_are_found_with_all_that_they_stand_for() {
    let base = every_kind(ByteOrder::Little).build();
    let mut b = Builder::over(&base);
    b.composite(Kind::Struct, "thing", 1, &[]);
    b.composite(Kind::Struct, "thing___old", 1, &[]);
    let module = b.build_over(&base);
    let names = Names::index([&*base, &*module].into_iter());
    let names = Names::from_bytes(names.bytes().to_vec().into()).unwrap();
    let found: Vec<_> = names
        .get("thing")
        .map(|e| (e.unit, e.id, e.meaning))
        .collect();
    assert_eq!(
        found,
        [
            (0, TypeId(7), Meaning::Type(Kind::Struct)),
            (1, TypeId(base.end_id()), Meaning::Type(Kind::Struct))
        ]
    );
    let huge: Vec<_> = names.get("HUGE").collect();
    assert_eq!(
        (huge[0].id, huge[0].meaning),
        (TypeId(9), Meaning::Enumerator)
    );
    assert_eq!(
        names.get("thin").count() + names.get("zzz").count() + names.get("").count(),
        0
    );
    let with: Vec<_> = names.starting_with("thing").map(|(name, _)| name).collect();
    assert_eq!(with, ["thing", "thing___old", "thing_t"]);
    assert!(Names::from_bytes(vec![255; 9].into()).is_none());
}

/// Reads everything that there is to read.
fn read_all(btf: &Btf) {
    for ty in btf.own() {
        let _ = (
            ty.name(),
            ty.size(),
            ty.resolved().kind(),
            ty.unqualified().kind(),
        );
        let _ = (ty.int(), ty.array(), ty.linkage());
        let _ = ty.enumerators().count() + ty.params().count() + ty.section_vars().count();
        for member in ty.members() {
            let _ = (btf.ty(member.type_id), ty.bitfield_of(&member));
        }
        ty.each_member(&mut |_| true);
        for (_, id) in ty.references() {
            assert!(btf.get(id).is_some());
        }
    }
}

proptest! {
    #[test]
    fn no_damage_makes_the_parser_panic(
        big in any::<bool>(),
        patch in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..8),
        cut in any::<u16>(),
    ) {
        let mut bytes = every_kind(ORDERS[usize::from(big)]).bytes();
        for (at, byte) in patch {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(usize::from(cut).max(64));
        if let Ok(btf) = Btf::parse(bytes.clone()) {
            read_all(&btf);
        }
        let base = every_kind(ORDERS[usize::from(big)]).build();
        if let Ok(btf) = Btf::parse_split(bytes, base) {
            read_all(&btf);
        }
    }

    #[test]
    fn an_index_of_any_bytes_can_be_asked(bytes in proptest::collection::vec(any::<u8>(), 0..200), few in 0..4_u8) {
        let mut bytes = bytes;
        if bytes.len() > 8 {
            bytes[..8].copy_from_slice(&[few, 0, 0, 0, few, 0, 0, 0]);
        }
        if let Some(names) = Names::from_bytes(bytes.into()) {
            let _ = names.get("a").count();
            for (_, entries) in names.all() {
                let _ = entries.count();
            }
        }
    }

    #[test]
    fn what_was_written_is_read(
        sizes in proptest::collection::vec((1..64_u32, "[a-z_]{1,12}"), 1..20),
        big in any::<bool>(),
    ) {
        let mut b = Builder::new(ORDERS[usize::from(big)]);
        let char = b.int("char", 1, 1);
        for (size, name) in &sizes {
            let array = b.array(char, char, *size);
            b.composite(Kind::Struct, name, *size, &[("all", array, 0, 0)]);
        }
        let btf = b.build();
        let read: Vec<_> = btf
            .own()
            .filter(|ty| ty.kind() == Kind::Struct)
            .map(|ty| {
                let member = ty.find_member("all").unwrap().member;
                (u32::try_from(btf.ty(member.type_id).size().unwrap()).unwrap(), ty.name().to_owned())
            })
            .collect();
        prop_assert_eq!(read, sizes);
    }
}
