//! Information in modules: the `.modinfo` section, and its equivalent for builtins,
//! `modules.builtin.modinfo`.

use object::{Object, ObjectSection};

use super::index::{Module, normalise};

/// Reads the `.modinfo` section of an unpacked module; leaves name and path empty. The error says
/// why the bytes are not a module.
pub(super) fn read(module: &[u8]) -> Result<Module, String> {
    let file = object::File::parse(module).map_err(|error| error.to_string())?;
    let section = file
        .section_by_name(".modinfo")
        .ok_or("it has no .modinfo section")?;
    let data = section.data().map_err(|error| error.to_string())?;
    Ok(parse(data))
}

/// Reads NUL-separated `key=value`; unknown keys and fragments are skipped.
fn parse(section: &[u8]) -> Module {
    let mut module = Module::default();
    for (key, value) in pairs(section) {
        match key.as_str() {
            "depends" => module.depends.extend(
                value
                    .split(',')
                    .filter(|name| !name.is_empty())
                    .map(normalise),
            ),
            "softdep" => module.softdeps.push(value),
            "alias" => module.aliases.push(value),
            _ => {}
        }
    }
    module
}

/// The aliases in `modules.builtin.modinfo`, which is NUL-separated
/// `module.key=value`: alias and normalised module name.
pub(super) fn builtin_aliases(file: &[u8]) -> Vec<(String, String)> {
    pairs(file)
        .filter_map(|(key, value)| {
            let (module, key) = key.split_once('.')?;
            (key == "alias" && !module.is_empty()).then(|| (value, normalise(module)))
        })
        .collect()
}

fn pairs(data: &[u8]) -> impl Iterator<Item = (String, String)> {
    data.split(|&byte| byte == 0).filter_map(|entry| {
        let entry = String::from_utf8_lossy(entry);
        let (key, value) = entry.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    })
}

/// The names that one soft dependency loads first. Names before the first `pre:` or `post:` mean
/// nothing, as in kmod.
pub(super) fn pre_softdeps(softdep: &str) -> Vec<&str> {
    let mut before = false;
    let mut names = Vec::new();
    for word in softdep.split_ascii_whitespace() {
        match word {
            "pre:" => before = true,
            "post:" => before = false,
            name if before => names.push(name),
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::super::fixture;
    use super::*;

    #[test]
    fn depends_softdeps_and_aliases_are_read_from_a_module() {
        let module = fixture::module(&[
            "license=GPL",
            "alias=fs-xfs",
            "depends=libcrc32c,nf-tables",
            "softdep=pre: crc32c",
            "alias=net-pf-16",
        ]);
        assert_eq!(
            read(&module).unwrap(),
            Module {
                depends: vec!["libcrc32c".into(), "nf_tables".into()],
                softdeps: vec!["pre: crc32c".into()],
                aliases: vec!["fs-xfs".into(), "net-pf-16".into()],
                ..Module::default()
            }
        );
    }

    #[test]
    fn an_empty_depends_means_none() {
        assert_eq!(parse(b"depends=\0name=virtio\0"), Module::default());
    }

    #[test]
    fn a_file_that_is_not_elf_is_refused() {
        assert!(read(b"no module").is_err());
    }

    #[test]
    fn builtin_aliases_name_their_module() {
        let file = b"crc32c_generic.alias=crypto-crc32c\0mmio-trace.alias=x=y\0a.parm=b\0\0junk\0";
        assert_eq!(
            builtin_aliases(file),
            [
                ("crypto-crc32c".to_owned(), "crc32c_generic".to_owned()),
                ("x=y".to_owned(), "mmio_trace".to_owned())
            ]
        );
    }

    #[test]
    fn only_pre_softdeps_are_to_be_loaded_first() {
        assert_eq!(pre_softdeps("pre: a b post: c pre: d"), ["a", "b", "d"]);
        assert_eq!(pre_softdeps("gcm"), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(data in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = parse(&data);
            let _ = builtin_aliases(&data);
            let _ = pre_softdeps(&String::from_utf8_lossy(&data));
        }

        #[test]
        fn no_damage_to_an_elf_file_makes_the_reader_panic(
            patch in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..16),
            cut in any::<u16>(),
        ) {
            let mut module = fixture::module(&["depends=a,b", "alias=c"]);
            for (at, byte) in patch {
                let at = usize::from(at) % module.len();
                module[at] = byte;
            }
            module.truncate(usize::from(cut));
            let _ = read(&module);
        }

        #[test]
        fn every_alias_that_was_written_is_read(aliases in proptest::collection::vec("[ -~]{0,20}", 0..8)) {
            let entries: Vec<String> = aliases.iter().map(|alias| format!("alias={alias}")).collect();
            let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
            prop_assert_eq!(read(&fixture::module(&entries)).unwrap().aliases, aliases);
        }
    }
}
