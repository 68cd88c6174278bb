//! Loopback.

use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

/// Index of `lo`, the first device of every network namespace.
const LO_INDEX: i32 = 1;

// rtnetlink(7), linux/netlink.h, linux/rtnetlink.h, linux/if.h
const RTM_NEWLINK: u16 = 16;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const IFF_UP: u32 = 1;
const HEADER: usize = 16;
const LENGTH: usize = HEADER + 16;

/// Brings `lo` up, as `ip link set lo up` does. By netlink rather than
/// SIOCSIFFLAGS, which would need an unsafe ioctl.
pub(super) fn loopback_up() -> nix::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    send(socket.as_raw_fd(), &request(), MsgFlags::empty())?;
    let mut answer = [0_u8; 256];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    acknowledged(answer.get(..length).unwrap_or_default())
}

/// `RTM_NEWLINK` for [`LO_INDEX`] with `IFF_UP` set and nothing else changed.
fn request() -> [u8; LENGTH] {
    let fields: [&[u8]; 11] = [
        &u32::try_from(LENGTH).unwrap_or_default().to_ne_bytes(),
        &RTM_NEWLINK.to_ne_bytes(),
        &(NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes(),
        &1_u32.to_ne_bytes(), // sequence number
        &0_u32.to_ne_bytes(), // port id: the kernel
        &[0, 0],              // family: unspecified, padding
        &0_u16.to_ne_bytes(), // device type
        &LO_INDEX.to_ne_bytes(),
        &IFF_UP.to_ne_bytes(), // flags
        &IFF_UP.to_ne_bytes(), // which flags change
        &[],
    ];
    let mut message = [0; LENGTH];
    for (to, from) in message.iter_mut().zip(fields.iter().copied().flatten()) {
        *to = *from;
    }
    message
}

/// Reads the kernel's acknowledgement: an `NLMSG_ERROR` with errno 0.
fn acknowledged(answer: &[u8]) -> nix::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok());
    let code = answer
        .get(HEADER..HEADER + 4)
        .and_then(|bytes| bytes.try_into().ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
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
        let message = request();
        assert_eq!(message[..4], 32_u32.to_ne_bytes());
        assert_eq!(message[20..24], 1_i32.to_ne_bytes());
        assert_eq!(message[28..], 1_u32.to_ne_bytes());
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
