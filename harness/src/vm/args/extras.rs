//! The devices that a VM has only if somebody asks for them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::devices::on;
use super::option::{Device, option, option_value, with_path};
use crate::config::Transport;
use crate::vm::extras::{HOST, Network};
use crate::vm::relay;

/// A card on QEMU's user network, which is closed but for the ports that are named.
pub(super) struct Card<'a> {
    pub(super) network: &'a Network,
    pub(super) transport: Transport,
}

impl Device for Card<'_> {
    fn qemu(&self) -> Vec<OsString> {
        let mut netdev = OsString::from("user,id=net0,ipv6=off,restrict=on");
        for port in &self.network.host_ports {
            netdev.push(format!(",guestfwd=tcp:{HOST}:{port}-cmd:"));
            netdev.push(option_value(Path::new(&relay::command(*port))));
        }
        let device = format!("virtio-net-{},netdev=net0", on(self.transport));
        [option("-netdev", netdev), option("-device", device)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// A disk whose content nobody wants to keep.
pub(super) struct ScratchDisk {
    pub(super) index: usize,
    pub(super) file: PathBuf,
    pub(super) transport: Transport,
}

impl Device for ScratchDisk {
    fn qemu(&self) -> Vec<OsString> {
        let id = format!("disk{}", self.index);
        let drive = with_path(
            &format!(
                "driver=raw,node-name={id},discard=unmap,cache.no-flush=on,file.driver=file,file.filename="
            ),
            &self.file,
            "",
        );
        let device = format!("virtio-blk-{},drive={id},serial={id}", on(self.transport));
        [option("-blockdev", drive), option("-device", device)]
            .into_iter()
            .flatten()
            .collect()
    }
}
