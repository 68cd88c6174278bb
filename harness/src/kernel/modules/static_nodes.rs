//! Device nodes whose first use loads a module.
//!
//! A module with `devname:NAME` needs a node of that name before it is loaded: opening it makes the
//! kernel ask modprobe for the device's number. depmod(8) writes these into `modules.devname`,
//! which packages do not have.

use guest_init::plan::Device;

use super::index::Index;

/// A node that a module needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticNode {
    /// Path below `/dev`.
    pub path: String,
    /// Its device.
    pub device: Device,
}

impl Index {
    /// The nodes that modules need, sorted by path. Builtins have already created theirs.
    pub fn static_nodes(&self) -> Vec<StaticNode> {
        let nodes = self.modules.iter().filter_map(|module| {
            let path = module.aliases.iter().find_map(|alias| name(alias))?;
            let device = module.aliases.iter().find_map(|alias| device(alias))?;
            let path = path.to_owned();
            Some(StaticNode { path, device })
        });
        let mut nodes: Vec<StaticNode> = nodes.collect();
        nodes.sort_by(|a, b| a.path.cmp(&b.path));
        nodes.dedup_by(|later, earlier| later.path == earlier.path);
        nodes
    }
}

/// The name in `devname:NAME`; only one that stays below `/dev`.
fn name(alias: &str) -> Option<&str> {
    alias.strip_prefix("devname:").filter(|name| {
        name.split('/')
            .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
    })
}

/// The device in `char-major-MAJOR-MINOR` or `block-major-MAJOR-MINOR`, as
/// depmod's `output_devname` reads it.
fn device(alias: &str) -> Option<Device> {
    let (block, numbers) = match alias.strip_prefix("char-major-") {
        Some(numbers) => (false, numbers),
        None => (true, alias.strip_prefix("block-major-")?),
    };
    let (major, minor) = numbers.split_once('-')?;
    Some(Device {
        block,
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::super::fixture::tree;
    use super::*;

    fn char_device(major: u32, minor: u32) -> Device {
        Device {
            block: false,
            major,
            minor,
        }
    }

    #[test]
    fn a_module_asks_for_a_node_by_its_name_and_numbers() {
        let dir = tree(&[
            (
                "kernel/tun.ko",
                &["alias=devname:net/tun", "alias=char-major-10-200"],
            ),
            (
                "kernel/loop.ko",
                &[
                    "alias=block-major-7-*",
                    "alias=char-major-10-237",
                    "alias=devname:loop-control",
                ],
            ),
            ("kernel/nothing.ko", &["alias=devname:numberless"]),
            ("kernel/md.ko", &["alias=block-major-9-*"]),
        ]);
        let index = Index::open(dir.path()).unwrap();
        let nodes: Vec<_> = index
            .static_nodes()
            .into_iter()
            .map(|node| (node.path, node.device))
            .collect();
        assert_eq!(
            nodes,
            [
                ("loop-control".to_owned(), char_device(10, 237)),
                ("net/tun".to_owned(), char_device(10, 200)),
            ]
        );
    }

    #[test]
    fn no_node_lies_outside_of_dev() {
        for alias in [
            "devname:../x",
            "devname:/x",
            "devname:",
            "devname:a//b",
            "devname:.",
        ] {
            assert_eq!(name(alias), None, "{alias}");
        }
        assert_eq!(name("devname:vfio/vfio"), Some("vfio/vfio"));
    }

    #[test]
    fn a_block_device_is_distinguished_from_a_character_device() {
        let expected = Device {
            block: true,
            major: 7,
            minor: 1,
        };
        assert_eq!(device("block-major-7-1"), Some(expected));
        assert_eq!(device("char-major-7"), None);
        assert_eq!(device("char-major-7-*"), None);
    }

    proptest! {
        #[test]
        fn no_alias_makes_the_parsers_panic(alias in "(devname:|char-major-|block-major-)?[ -~]{0,20}") {
            let _ = (name(&alias), device(&alias));
        }
    }
}
