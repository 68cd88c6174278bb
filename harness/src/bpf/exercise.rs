//! Everything that is done with an object, for the fuzz target and its like.

use std::path::Path;
use std::sync::OnceLock;

use super::facts::Facts;
use super::kernel::KernelTypes;
use super::object::Object;
use super::{check, minimal, uses};
use crate::btf::KernelBtf;

/// Reads an object and the BTF of a kernel out of `input`, and checks one against the other. The
/// first two bytes say how long the object is. Returns whether both could be read.
pub fn exercise(input: &[u8]) -> bool {
    let Some((&length, rest)) = input.split_first_chunk() else {
        return false;
    };
    let length = usize::from(u16::from_le_bytes(length)).min(rest.len());
    let (object, types) = rest.split_at(length);
    let Ok(object) = Object::parse(Path::new("object"), object) else {
        return false;
    };
    let _ = uses(&object);
    let kernel = |btf| Facts {
        name: "kernel".to_owned(),
        release: Some("6.1.0".to_owned()),
        btf,
        config: Some("CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=7\nCONFIG_D=\"text\"\n".to_owned()),
        image: None,
        of_image: OnceLock::new(),
    };
    let _ = check(&object, &kernel(None));
    let Ok(btf) = KernelBtf::of_image(types.to_vec()) else {
        return false;
    };
    let small = minimal(
        std::slice::from_ref(&object),
        KernelTypes::new(&btf),
        btf.vmlinux(),
    );
    let before = check(&object, &kernel(Some(btf)));
    // What is left of a kernel's types answers its relocations as before.
    if let Ok(small) = KernelBtf::of_image(small) {
        let after = check(&object, &kernel(Some(small)));
        assert_eq!(before.relocations.len(), after.relocations.len());
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn seeds() -> Vec<Vec<u8>> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/bpf_object");
        let mut paths: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
            .into_iter()
            .map(|path| fs::read(path).unwrap())
            .collect()
    }

    #[test]
    fn the_seeds_are_whole() {
        for seed in seeds() {
            assert!(exercise(&seed));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_damaged_object_or_kernel_is_refused_or_checked(
            which in any::<prop::sample::Index>(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let seeds = seeds();
            let mut input = which.get(&seeds).clone();
            for (at, byte) in damage {
                let at = at.index(input.len());
                input[at] = byte;
            }
            if let Some(cut) = cut {
                input.truncate(cut.index(input.len()));
            }
            exercise(&input);
        }
    }
}
