//! BTF that is damaged, of another build or not there, and the layout that other tools expect.

use std::fs;
use std::process::Command;

use crate::btf::{NEW, btf, extracted, of};
use crate::support::Kiln;

/// Raw BTF with these type records and strings.
fn raw(types: &[u32], strings: &str) -> Vec<u8> {
    let (types_length, strings_length) = (types.len() * 4, strings.len());
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    for number in [24, 0, types_length, types_length, strings_length] {
        bytes.extend(u32::try_from(number).unwrap().to_le_bytes());
    }
    bytes.extend(types.iter().flat_map(|number| number.to_le_bytes()));
    bytes.extend(strings.as_bytes());
    bytes
}

#[test]
fn bad_btf_is_refused_with_its_place() {
    let kiln = Kiln::new();
    let whole = raw(&[1, 1 << 24, 4, 32], "\0int\0");
    kiln.file("whole", &whole);
    kiln.file("cut", &whole[..whole.len() - 2]);
    // typedef a → typedef b → typedef a
    kiln.file("loop", raw(&[1, 8 << 24, 2, 3, 8 << 24, 1], "\0a\0b\0"));
    kiln.file("id", raw(&[0, 2 << 24, 7], "\0"));
    kiln.file("string", raw(&[99, 1 << 24, 4, 32], "\0int\0"));
    kiln.file(
        "nothing",
        "neither a kernel nor BTF, and longer than a header of either\n",
    );
    let show = |file: &str| {
        let path = kiln.work().join(file);
        btf(&kiln, &["show", "-k", path.to_str().unwrap(), "int"])
    };
    show("whole").assert_code(0);
    for (file, reason) in [
        (
            "cut",
            "byte 16 of the BTF: the string section ends behind the last byte",
        ),
        ("loop", "refers to itself without a struct between"),
        (
            "id",
            "byte 32 of the BTF: [1] PTR '' refers to type [7], and the last one is [1]",
        ),
        (
            "string",
            "byte 24 of the BTF: a name of INT [1] is at byte 99 of the strings",
        ),
        ("nothing", "is not an x86-64 kernel"),
    ] {
        let output = show(file);
        output.assert_code(96);
        let text = output.out();
        assert!(text.contains(reason), "{file}: {text}");
        assert!(
            text.contains(&format!("/{file}")),
            "{file} is not named: {text}"
        );
    }
    // One that cannot be read does not keep the others from answering.
    let (whole, cut) = (kiln.work().join("whole"), kiln.work().join("cut"));
    let both = btf(
        &kiln,
        &[
            "show",
            "-k",
            whole.to_str().unwrap(),
            "-k",
            cut.to_str().unwrap(),
            "int",
        ],
    );
    both.assert_code(96);
    assert!(both.out().contains("vmlinux  int\n"), "{}", both.out());
}

#[test]
fn a_module_of_another_build_is_refused_and_both_are_named() {
    let kiln = Kiln::new();
    let (old, new) = (extracted(&kiln, "6.1"), extracted(&kiln, NEW));
    fs::copy(new.join("xfs"), old.join("xfs")).unwrap();
    let output = btf(&kiln, &["show", "-k", old.to_str().unwrap(), "list_head"]);
    output.assert_code(96);
    let text = output.out();
    for part in ["btf-6.1/xfs does not belong to that of", "btf-6.1/vmlinux"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_kernel_without_btf_says_so_and_others_go_on() {
    let kiln = Kiln::new();
    let source = kiln.file("plain.c", "int main(void) { return 0; }\n");
    let plain = kiln.path("plain");
    of(Command::new("gcc").arg("-o").arg(&plain).arg(source));
    let plain = plain.to_str().unwrap();
    let alone = btf(&kiln, &["show", "-k", plain, "list_head"]);
    alone.assert_code(100);
    assert!(
        alone.out().contains("this kernel has no BTF"),
        "{}",
        alone.out()
    );
    let beside = btf(&kiln, &["show", "-k", plain, "-k", "6.1", "list_head"]);
    beside.assert_code(0);
    let text = beside.out();
    assert!(
        text.contains("this kernel has no BTF") && text.contains("struct list_head"),
        "{text}"
    );
}

#[test]
fn btf_is_written_for_tools_that_expect_btfhubs_layout() {
    let kiln = Kiln::new();
    let hub = kiln.path("hub");
    let output = btf(
        &kiln,
        &["extract", "-k", "6.1", "--hub", hub.to_str().unwrap()],
    );
    output.assert_code(0);
    let path = output.out().trim().split_once('\t').unwrap().1.to_owned();
    let directory = format!("{}/debian/12/x86_64/", hub.display());
    let release = path
        .strip_prefix(&directory)
        .unwrap()
        .strip_suffix(".btf.tar.xz")
        .unwrap();
    of(Command::new("tar")
        .arg("-C")
        .arg(&hub)
        .arg("-xf")
        .arg(&path));
    let raw = hub.join(format!("{release}.btf"));
    let same = extracted(&kiln, "6.1").join("vmlinux");
    assert_eq!(fs::read(raw).unwrap(), fs::read(same).unwrap());
}
