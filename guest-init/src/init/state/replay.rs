//! The parts of the kernel's network configuration, as rtnetlink(7) reports them. Each can be sent
//! back to create or delete it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::init::netlink::{
    self, ALIGNMENT, HEADER, NLM_F_ACK, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, Netlink, PIECE, u16_at,
};

/// Most parts of a dump to read: some 20,000 links.
const MOST_PIECES: usize = 500;
/// How many parts of a kind to compare.
pub(super) const MOST: usize = 1000;
/// `NLM_F_CREATE` and `NLM_F_APPEND` of linux/netlink.h: a route beside another
/// one to the same place.
const CREATE: u16 = 0x400 | 0x800;
/// `struct nlattr`.
const ATTRIBUTE: usize = 4;
// linux/nexthop.h
const RTM_GETNEXTHOP: u16 = 106;
const NHA_ID: u16 = 1;
/// `AF_INET` and `AF_INET6`.
const INET: u8 = 2;
const INET6: u8 = 10;

/// A kind of part: numbers of linux/rtnetlink.h, and which fields to compare.
#[derive(Debug)]
pub(super) struct Kind {
    /// `RTM_GET…`; `RTM_NEW…` and `RTM_DEL…` are the two numbers before it.
    pub(super) get: u16,
    /// Bytes of its own header.
    header: usize,
    /// Attributes that change by themselves, or that the kernel reports but does not accept.
    ignored: &'static [u16],
    /// Clears such things in the header.
    steady: fn(&mut [u8]),
    name: fn(&Part) -> String,
}

/// In the order of creation.
pub(super) const KINDS: &[Kind] = &[
    // IFA_CACHEINFO, IFA_FLAGS; the header's flags come and go with
    // duplicate address detection.
    Kind {
        get: 22,
        header: 8,
        ignored: &[6, 8],
        steady: |header| set(header, 2, 0),
        name: |part| {
            let index = part.header.get(4..8).map_or(0, number);
            // IFA_LOCAL, or IFA_ADDRESS.
            let address = part.address(2).or_else(|| part.address(1));
            let length = part.header.get(1).copied().unwrap_or_default();
            let address = address.unwrap_or_default();
            format!("address {address}/{length} of device {index}")
        },
    },
    Kind {
        get: RTM_GETNEXTHOP,
        header: 8,
        ignored: &[],
        steady: |_| {},
        name: |part| format!("next hop {}", part.attribute(NHA_ID).map_or(0, number)),
    },
    // RTA_CACHEINFO. Flags of rtm_flags, which describe the link.
    Kind {
        get: 26,
        header: 12,
        ignored: &[12],
        steady: |header| (8..12).for_each(|at| set(header, at, 0)),
        name: |part| {
            let length = part.header.get(1).copied().unwrap_or_default();
            let to = part.address(1).unwrap_or_else(|| "default".to_owned());
            // RTA_TABLE
            let table = part.attribute(15).map_or(0, number);
            format!("route {to}/{length} in table {table}")
        },
    },
    // FRA_PRIORITY.
    Kind {
        get: 34,
        header: 12,
        ignored: &[],
        steady: |_| {},
        name: |part| format!("rule {}", part.attribute(6).map_or(0, number)),
    },
    // Only TCA_KIND and the header count, without its count of users.
    Kind {
        get: 38,
        header: 20,
        ignored: &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        steady: |header| (16..20).for_each(|at| set(header, at, 0)),
        name: |part| {
            let kind = part.attribute(1).unwrap_or_default();
            let kind = String::from_utf8_lossy(kind.trim_ascii_end()).replace('\0', "");
            let index = part.header.get(4..8).map_or(0, number);
            format!("qdisc {kind} of device {index}")
        },
    },
];

/// One address, route, rule, qdisc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    header: Vec<u8>,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Kind {
    /// All there are, or one more than [`MOST`]. `None` if the kernel does not support them.
    pub(super) fn all(&self, netlink: &Netlink) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        dump(netlink, self.get, self.header, &mut |payload| {
            if parts.len() <= MOST {
                parts.extend(self.part(payload));
            }
        })?;
        Some(parts)
    }

    fn part(&self, payload: &[u8]) -> Option<Part> {
        let mut header = payload.get(..self.header)?.to_vec();
        (self.steady)(&mut header);
        let mut attributes = attributes(payload.get(self.header..)?);
        attributes.retain(|(kind, _)| !self.ignored.contains(kind));
        Some(Part { header, attributes })
    }

    pub(super) fn add(&self, netlink: &Netlink, part: &Part) -> bool {
        ask(netlink, self.get - 2, CREATE, &part.payload())
    }

    pub(super) fn delete(&self, netlink: &Netlink, part: &Part) -> bool {
        let mut payload = part.payload();
        if self.get == RTM_GETNEXTHOP {
            // By its id alone (`nh_valid_get_del_req` of net/ipv4/nexthop.c).
            payload = vec![0; self.header];
            push(
                &mut payload,
                NHA_ID,
                part.attribute(NHA_ID).unwrap_or_default(),
            );
        }
        ask(netlink, self.get - 1, 0, &payload)
    }

    pub(super) fn name(&self, part: &Part) -> String {
        (self.name)(part)
    }
}

impl Part {
    fn payload(&self) -> Vec<u8> {
        let mut payload = self.header.clone();
        for (kind, value) in &self.attributes {
            push(&mut payload, *kind, value);
        }
        payload
    }

    fn attribute(&self, wanted: u16) -> Option<&[u8]> {
        let mut all = self.attributes.iter();
        let (_, value) = all.find(|(kind, _)| *kind == wanted)?;
        Some(value)
    }

    /// As it is written.
    fn address(&self, wanted: u16) -> Option<String> {
        let value = self.attribute(wanted)?;
        match *self.header.first()? {
            INET => <[u8; 4]>::try_from(value)
                .ok()
                .map(|bytes| Ipv4Addr::from(bytes).to_string()),
            INET6 => <[u8; 16]>::try_from(value)
                .ok()
                .map(|bytes| Ipv6Addr::from(bytes).to_string()),
            _ => {
                let mut text = String::new();
                for byte in value {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "{byte:02x}");
                }
                Some(text)
            }
        }
    }
}

fn set(header: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = header.get_mut(at) {
        *byte = value;
    }
}

/// A number of four bytes, in native byte order.
pub(super) fn number(bytes: &[u8]) -> u32 {
    let bytes = bytes.get(..4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_ne_bytes)
}

/// Adds an attribute.
pub(super) fn push(payload: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(ATTRIBUTE + value.len()).unwrap_or_default();
    payload.extend(length.to_ne_bytes());
    payload.extend(kind.to_ne_bytes());
    payload.extend(value);
    payload.resize(payload.len().next_multiple_of(ALIGNMENT), 0);
}

/// Sends one request and returns whether it succeeded.
pub(super) fn ask(netlink: &Netlink, kind: u16, flags: u16, payload: &[u8]) -> bool {
    let request = netlink::request(kind, NLM_F_ACK | flags, payload);
    let mut answer = [0; 1024];
    netlink.send(&request).is_ok()
        && netlink.receive(&mut answer).is_ok_and(|answer| {
            u16_at(answer, 4) == Some(NLMSG_ERROR)
                && answer.get(HEADER..HEADER + 4) == Some(&[0; 4])
        })
}

/// Requests all parts of a kind, whose header has this many bytes. After a dump that is too long
/// the connection is unusable.
pub(super) fn dump(
    netlink: &Netlink,
    get: u16,
    header: usize,
    each: &mut dyn FnMut(&[u8]),
) -> Option<()> {
    let request = netlink::request(get, NLM_F_DUMP, &vec![0; header]);
    netlink.send(&request).ok()?;
    let mut piece = vec![0; PIECE];
    for _ in 0..MOST_PIECES {
        if !collect(netlink.receive(&mut piece).ok()?, get - 2, each)? {
            break;
        }
    }
    Some(())
}

/// Returns whether more parts follow; `None` if the kernel refused.
fn collect(mut piece: &[u8], kind: u16, each: &mut dyn FnMut(&[u8])) -> Option<bool> {
    while !piece.is_empty() {
        let length = usize::try_from(number(piece)).ok()?;
        let message = piece.get(..length).filter(|_| length >= HEADER)?;
        match u16_at(message, 4)? {
            NLMSG_DONE => return Some(false),
            NLMSG_ERROR => return None,
            is if is == kind => each(message.get(HEADER..)?),
            _ => {}
        }
        piece = piece
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
    }
    Some(true)
}

/// All complete attributes.
pub(super) fn attributes(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    while let (Some(length), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        let length = usize::from(length);
        let Some(value) = bytes.get(ATTRIBUTE..length) else {
            break;
        };
        all.push((kind, value.to_vec()));
        bytes = bytes
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn kind(get: u16) -> &'static Kind {
        KINDS.iter().find(|kind| kind.get == get).unwrap()
    }

    /// 127.0.0.2/8 on device 1, with a lifetime that changes and flags.
    fn address() -> Vec<u8> {
        let mut payload = vec![INET, 8, 0x80, 0, 1, 0, 0, 0];
        push(&mut payload, 1, &[127, 0, 0, 2]);
        push(&mut payload, 2, &[127, 0, 0, 2]);
        push(&mut payload, 3, b"lo\0");
        push(&mut payload, 6, &[9; 16]);
        payload
    }

    #[test]
    fn a_part_is_identified_by_name_without_fields_that_change_by_themselves() {
        let mut later = address();
        let end = later.len();
        later[end - 1] = 7;
        later[2] = 0xc0;
        let address = kind(22).part(&address()).unwrap();
        assert_eq!(Some(&address), kind(22).part(&later).as_ref());
        assert_eq!(kind(22).name(&address), "address 127.0.0.2/8 of device 1");
        let mut route = vec![INET6, 64, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        let to = "fd00::".parse::<Ipv6Addr>().unwrap();
        push(&mut route, 1, &to.octets());
        push(&mut route, 15, &254_u32.to_ne_bytes());
        let route = kind(26).part(&route).unwrap();
        assert_eq!(kind(26).name(&route), "route fd00::/64 in table 254");
        assert_eq!(route.payload().len(), 12 + 20 + 8);
    }

    #[test]
    fn this_machine_s_own_network_is_read() {
        let netlink = Netlink::open(nix::sys::socket::SockProtocol::NetlinkRoute).unwrap();
        let rules = kind(34).all(&netlink).unwrap_or_default();
        let again = kind(34).all(&netlink).unwrap_or_default();
        assert_eq!(rules, again);
    }

    proptest! {
        #[test]
        fn attributes_are_read_as_they_were_written(
            all in proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..8)
        ) {
            let mut bytes = Vec::new();
            for (kind, value) in &all {
                push(&mut bytes, *kind, value);
            }
            prop_assert_eq!(attributes(&bytes), all);
        }

        #[test]
        fn no_bytes_stop_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            attributes(&bytes);
            let _ = collect(&bytes, 20, &mut |payload| {
                for kind in KINDS {
                    if let Some(part) = kind.part(payload) {
                        kind.name(&part);
                    }
                }
            });
        }
    }
}
