//! Talks to the kernel through netlink(7): the socket, and message headers. Crates for all of
//! netlink would make this program a tenth larger.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

// linux/netlink.h
const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_ACK: u16 = 0x4;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;

/// The kernel's dumps come in pieces of at most 32 KiB
/// (`netlink_recvmsg` of `net/netlink/af_netlink.c`).
pub(super) const PIECE: usize = 32 * 1024;

/// Bytes of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
/// Messages and attributes are aligned to this many bytes.
pub(super) const ALIGNMENT: usize = 4;

/// A connection to the kernel.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    pub(super) fn open(protocol: SockProtocol) -> nix::Result<Self> {
        Self::listen(protocol, 0)
    }

    /// A connection that receives what is sent to these groups: one bit for each, the first for
    /// group 1.
    pub(super) fn listen(protocol: SockProtocol, groups: u32) -> nix::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self(socket))
    }

    /// For poll(2).
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn send(&self, messages: &[u8]) -> nix::Result<()> {
        send(self.0.as_raw_fd(), messages, MsgFlags::empty()).map(drop)
    }

    /// The kernel's answer. It answers within send and recv, so there is no need to wait.
    pub(super) fn receive<'b>(&self, buffer: &'b mut [u8]) -> nix::Result<&'b [u8]> {
        let length = recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
        Ok(buffer.get(..length).unwrap_or_default())
    }
}

/// A request to the kernel, aligned.
pub(super) fn request(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let length = (HEADER + payload.len()).next_multiple_of(ALIGNMENT);
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::try_from(length).unwrap_or_default().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]); // sequence number, port id: the kernel
    bytes.extend(payload);
    bytes.resize(length, 0);
    bytes
}

/// The number at an offset, in native byte order.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_length_and_is_aligned() {
        let message = request(0x1234, NLM_F_ACK, &[9; 5]);
        assert_eq!(message[..4], 24_u32.to_ne_bytes());
        assert_eq!(message[4..6], 0x1234_u16.to_ne_bytes());
        assert_eq!(message[6..8], 5_u16.to_ne_bytes());
        assert_eq!(message[HEADER..], [9, 9, 9, 9, 9, 0, 0, 0]);
    }
}
