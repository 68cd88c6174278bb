//! Loopback, and the card on QEMU's user network.

use std::fs;
use std::path::Path;

use nix::sys::socket::SockProtocol;

use super::netlink::{self, HEADER, NLM_F_ACK, NLMSG_ERROR, Netlink};

/// Index of `lo`, the first device of every network namespace.
const LO_INDEX: i32 = 1;

// rtnetlink(7), linux/rtnetlink.h, linux/if.h
const RTM_NEWLINK: u16 = 16;
const IFF_UP: u32 = 1;
const RTM_NEWADDR: u16 = 20;
const AF_INET: u8 = 2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// Network devices.
const DEVICES: &str = "/sys/class/net";
/// The guest's address on QEMU's user network, and the length of its prefix (QEMU manual,
/// "Network emulation").
const ADDRESS: [u8; 4] = [10, 0, 2, 15];
const PREFIX: u8 = 24;

/// Brings `lo` up, as `ip link set lo up` does. By netlink rather than
/// SIOCSIFFLAGS, which would need an unsafe ioctl.
pub(super) fn loopback_up() -> nix::Result<()> {
    ask(&up(LO_INDEX))
}

/// Brings the first card up, with the address that QEMU would give it by DHCP. There is no route
/// beyond its network, where nothing can be reached.
pub(super) fn card_up() -> nix::Result<()> {
    let index = card(Path::new(DEVICES)).ok_or(nix::errno::Errno::ENODEV)?;
    ask(&address(index))?;
    ask(&up(index))
}

/// Index of the first device that is a card: that has hardware behind it.
fn card(devices: &Path) -> Option<i32> {
    let cards = fs::read_dir(devices).ok()?.flatten();
    let indices = cards
        .filter(|card| card.path().join("device").exists())
        .filter_map(|card| {
            let index = fs::read_to_string(card.path().join("ifindex")).ok()?;
            index.trim().parse().ok()
        });
    indices.min()
}

fn ask(request: &[u8]) -> nix::Result<()> {
    let netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
    netlink.send(request)?;
    acknowledged(netlink.receive(&mut [0; 256])?)
}

/// `RTM_NEWADDR` for a device: `struct ifaddrmsg` and two attributes.
fn address(index: i32) -> Vec<u8> {
    let mut fields = vec![AF_INET, PREFIX, 0, 0];
    fields.extend(index.to_ne_bytes());
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        fields.extend(8_u16.to_ne_bytes());
        fields.extend(kind.to_ne_bytes());
        fields.extend(ADDRESS);
    }
    netlink::request(RTM_NEWADDR, NLM_F_ACK, &fields)
}

/// `RTM_NEWLINK` for a device with `IFF_UP` set and nothing else changed.
fn up(index: i32) -> Vec<u8> {
    let fields = [
        [0; 4], // family: unspecified, padding, device type
        index.to_ne_bytes(),
        IFF_UP.to_ne_bytes(), // flags
        IFF_UP.to_ne_bytes(), // which flags change
    ];
    netlink::request(RTM_NEWLINK, NLM_F_ACK, &fields.concat())
}

/// Reads the kernel's acknowledgement: an `NLMSG_ERROR` with errno 0.
fn acknowledged(answer: &[u8]) -> nix::Result<()> {
    let code = answer
        .get(HEADER..HEADER + 4)
        .and_then(|bytes| bytes.try_into().ok());
    match (netlink::u16_at(answer, 4), code.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(nix::errno::Errno::from_raw(-code)),
        _ => Err(nix::errno::Errno::EBADMSG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_a_complete_netlink_message() {
        let message = up(LO_INDEX);
        assert_eq!(message[..4], 32_u32.to_ne_bytes());
        assert_eq!(message[20..24], 1_i32.to_ne_bytes());
        assert_eq!(message[28..], 1_u32.to_ne_bytes());
    }

    #[test]
    fn an_address_is_a_complete_netlink_message() {
        let message = address(3);
        assert_eq!(message[..4], 40_u32.to_ne_bytes());
        assert_eq!(message[16..18], [AF_INET, 24]);
        assert_eq!(message[20..24], 3_i32.to_ne_bytes());
        assert_eq!(message[28..32], ADDRESS);
    }

    #[test]
    fn a_refusal_is_an_error() {
        let mut answer = [0_u8; 36];
        answer[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        assert_eq!(acknowledged(&answer), Ok(()));
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(acknowledged(&answer), Err(nix::errno::Errno::EPERM));
        assert!(acknowledged(&answer[..7]).is_err());
    }
}
