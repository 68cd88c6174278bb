//! Loopback.

use nix::sys::socket::SockProtocol;

use super::netlink::{self, HEADER, NLM_F_ACK, NLMSG_ERROR, Netlink};

/// Index of `lo`, the first device of every network namespace.
const LO_INDEX: i32 = 1;

// rtnetlink(7), linux/rtnetlink.h, linux/if.h
const RTM_NEWLINK: u16 = 16;
const IFF_UP: u32 = 1;

/// Brings `lo` up, as `ip link set lo up` does. By netlink rather than
/// SIOCSIFFLAGS, which would need an unsafe ioctl.
pub(super) fn loopback_up() -> nix::Result<()> {
    let netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
    netlink.send(&request())?;
    acknowledged(netlink.receive(&mut [0; 256])?)
}

/// `RTM_NEWLINK` for [`LO_INDEX`] with `IFF_UP` set and nothing else changed.
fn request() -> Vec<u8> {
    let fields = [
        [0; 4], // family: unspecified, padding, device type
        LO_INDEX.to_ne_bytes(),
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
