//! Edits a `kernels.toml`, and keeps everything else as written.

use toml_edit::{DocumentMut, InlineTable, Item, Table, Value, value};

use super::source::AptSource;
use crate::arch::Arch;

/// `text` with one more kernel; the error says why that is impossible.
pub(crate) fn with_kernel(
    text: &str,
    name: &str,
    arch: Arch,
    source: &AptSource,
) -> Result<String, String> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| error.message().to_owned())?;
    let kernels = document.entry("kernels").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let apt = inline(source);
    match kernels {
        Item::Table(table) if !table.is_dotted() => {
            let mut kernel = Table::new();
            if !arch.is_default() {
                kernel.insert("arch", value(arch.machine()));
            }
            kernel.insert("apt", value(apt));
            table.insert(name, Item::Table(kernel));
        }
        other => {
            let table = other
                .as_table_like_mut()
                .ok_or("`kernels` is not a table")?;
            let mut kernel = InlineTable::new();
            if !arch.is_default() {
                kernel.insert("arch", arch.machine().into());
            }
            kernel.insert("apt", Value::InlineTable(apt));
            table.insert(name, value(kernel));
        }
    }
    let text = document.to_string();
    Ok(text.trim_start_matches('\n').to_owned())
}

fn inline(source: &AptSource) -> InlineTable {
    let mut table = InlineTable::new();
    table.insert("suite", source.suite.as_str().into());
    table.insert("package", source.package.as_str().into());
    if source.component != "main" {
        table.insert("component", source.component.as_str().into());
    }
    if let Some(mirror) = &source.mirror {
        table.insert("mirror", mirror.as_str().into());
    }
    if let Some(keyring) = &source.keyring {
        table.insert("keyring", keyring.to_string_lossy().as_ref().into());
    }
    if source.trusted {
        table.insert("trusted", true.into());
    }
    table
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::{Catalogue, Origin, Source};
    use proptest::prelude::*;

    fn source() -> AptSource {
        AptSource {
            suite: "trixie-backports".to_owned(),
            package: "linux-image-6.18.*-cloud-amd64".to_owned(),
            mirror: None,
            keyring: None,
            trusted: false,
            component: "main".to_owned(),
        }
    }

    fn catalogue(text: &str) -> Catalogue {
        Catalogue::parse(text, Origin::BuiltIn).unwrap()
    }

    #[test]
    fn a_kernel_is_added_behind_the_last_and_nothing_else_changes() {
        let text =
            "# mine\n[kernels.\"6.1\"] # old\npath   =   '/a'\n\n[groups]\nall = [ \"*\" ] # all\n";
        let edited = with_kernel(text, "6.18", Arch::X86_64, &source()).unwrap();
        assert_eq!(
            edited,
            "# mine\n[kernels.\"6.1\"] # old\npath   =   '/a'\n\n[kernels.\"6.18\"]\n\
             apt = { suite = \"trixie-backports\", package = \"linux-image-6.18.*-cloud-amd64\" }\n\n\
             [groups]\nall = [ \"*\" ] # all\n"
        );
    }

    #[test]
    fn every_way_to_write_kernels_takes_one_more() {
        for text in [
            "",
            "[groups]\nall = []\n",
            "[kernels]\na = { path = \"/a\" }\n[defaults]\ncpus = 2\n",
            "kernels.a.path = \"/a\"\n",
            "kernels = { a = { path = \"/a\" } }\n",
            "[kernels.a]\npath = \"/a\"",
            "[kernels.a]\r\npath = \"/a\"\r\n",
        ] {
            let before = catalogue(text).kernels.len();
            let edited = with_kernel(text, "6.18", Arch::X86_64, &source()).unwrap();
            let after = catalogue(&edited);
            assert_eq!(after.kernels.len(), before + 1, "{edited}");
            let kernel = after.kernel("6.18").unwrap();
            assert_eq!(kernel.source, Source::Apt(source()), "{edited}");
        }
    }

    #[test]
    fn what_is_no_toml_is_left_alone() {
        assert!(with_kernel("[kernels", "x", Arch::X86_64, &source()).is_err());
        assert!(with_kernel("kernels = 3\n", "x", Arch::X86_64, &source()).is_err());
    }

    proptest! {
        #[test]
        fn every_source_reads_back(
            suite in "[a-z]{1,8}(/updates)?",
            mirror in proptest::option::of("https://[a-z\"\\\\']{1,8}/debian"),
            trusted: bool,
            keyring in proptest::option::of("/[a-z \"]{1,9}"),
        ) {
            let source = AptSource { suite, mirror, trusted, keyring: keyring.map(Into::into), ..source() };
            let edited = with_kernel("[kernels.a]\npath = \"/a\"\n", "k", Arch::X86_64, &source).unwrap();
            let read = catalogue(&edited);
            prop_assert_eq!(&read.kernel("k").unwrap().source, &Source::Apt(source));
        }
    }
}
