//! Device nodes of a guest, besides those that its kernel creates by itself.

use guest_init::plan::Node;

use crate::kernel::modules::StaticNode;

/// Devices that everybody may open, as with systemd's udev (`rules.d/50-udev-default.rules.in` of
/// 252). The others belong to root: the guest has no udev, and the groups of its root have other
/// numbers.
const FOR_EVERYBODY: [&str; 4] = ["fuse", "net/tun", "vfio/vfio", "vsock"];

/// Nodes that load their module at the first use, and the modes of nodes that the kernel creates.
pub fn nodes(wanted: Vec<StaticNode>) -> Vec<Node> {
    let mode = |path: &str| {
        if FOR_EVERYBODY.contains(&path) {
            0o666
        } else {
            0o600
        }
    };
    let mut nodes: Vec<Node> = wanted
        .into_iter()
        .map(|node| Node {
            mode: mode(&node.path),
            path: node.path,
            device: Some(node.device),
        })
        .collect();
    for path in FOR_EVERYBODY {
        if !nodes.iter().any(|node| node.path == path) {
            nodes.push(Node {
                path: path.to_owned(),
                device: None,
                mode: mode(path),
            });
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use guest_init::plan::Device;

    use super::*;

    #[test]
    fn what_everybody_may_open_is_so_whether_it_is_a_module_or_built_in() {
        let wanted = ["fuse", "loop-control"].map(|path| StaticNode {
            path: path.to_owned(),
            device: Device {
                block: false,
                major: 10,
                minor: 1,
            },
        });
        let nodes = nodes(wanted.to_vec());
        let told = |path: &str| {
            let found = nodes.iter().find(|node| node.path == path);
            found.map(|node| (node.mode, node.device.is_some()))
        };
        assert_eq!(told("fuse"), Some((0o666, true)));
        assert_eq!(told("loop-control"), Some((0o600, true)));
        assert_eq!(told("net/tun"), Some((0o666, false)));
        assert_eq!(told("kvm"), None);
    }
}
