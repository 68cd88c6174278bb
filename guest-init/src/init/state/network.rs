//! The first network namespace: devices, addresses, routes, rules, qdiscs.
//!
//! The kernel reports every change (rtnetlink(7), multicast groups), so there is nothing to read if
//! nothing has changed.

use guest_init::message::MAX_NAMED;
use guest_init::message::RemnantKind::{Network as Kind, NetworkDevice};
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use super::found::{Found, beyond};
use super::replay::{KINDS, MOST, Part, ask, attributes, dump, number, push};
use crate::init::netlink::Netlink;

/// Groups of linux/rtnetlink.h: links, qdiscs and filters, addresses, routes and
/// rules of both families, next hops.
const GROUPS: [u32; 9] = [1, 4, 5, 7, 8, 9, 11, 19, 32];
/// Most messages to discard.
const MOST_MESSAGES: usize = 2000;
/// Most devices to delete: each waits for RCU.
const MOST_DEVICES: usize = 50;

// linux/rtnetlink.h, linux/if_link.h
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_GROUP: u16 = 27;
/// Bytes of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// `IFF_UP`, `IFF_NOARP`, `IFF_PROMISC`, `IFF_ALLMULTI`, `IFF_MULTICAST` of linux/if.h: the flags
/// that can be set. The others describe the device.
const FLAGS: u32 = 0x1 | 0x80 | 0x100 | 0x200 | 0x1000;
/// The attributes to compare, all of which can be set.
const ATTRIBUTES: [u16; 4] = [IFLA_MTU, IFLA_TXQLEN, IFLA_GROUP, IFLA_MASTER];

#[derive(Debug)]
pub(super) struct Network {
    changes: Option<Netlink>,
    /// By their indexes.
    links: Vec<(u32, Link)>,
    /// As [`KINDS`].
    parts: Vec<Vec<Part>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Link {
    name: String,
    flags: u32,
    /// As [`ATTRIBUTES`].
    attributes: [Option<u32>; 4],
}

impl Network {
    pub(super) fn take() -> Self {
        let groups = GROUPS.iter().fold(0, |all, group| all | 1 << (group - 1));
        let mut network = Self {
            changes: Netlink::listen(SockProtocol::NetlinkRoute, groups).ok(),
            links: Vec::new(),
            parts: Vec::new(),
        };
        network.rebase();
        network
    }

    pub(super) fn rebase(&mut self) {
        if let Ok(netlink) = Netlink::open(SockProtocol::NetlinkRoute) {
            self.links = links(&netlink).unwrap_or_default();
            self.parts = KINDS
                .iter()
                .map(|kind| kind.all(&netlink).unwrap_or_default())
                .collect();
        }
        self.changed();
    }

    /// Whether the kernel has reported anything since the last call.
    fn changed(&self) -> bool {
        let Some(changes) = &self.changes else {
            return true;
        };
        let mut message = [0; 64];
        for count in 0..MOST_MESSAGES {
            // Any other error means that there were too many messages.
            if changes.receive(&mut message) == Err(Errno::EAGAIN) {
                return count > 0;
            }
        }
        true
    }

    pub(super) fn restore(&mut self, found: &mut Found) {
        if !self.changed() {
            return;
        }
        let Ok(netlink) = Netlink::open(SockProtocol::NetlinkRoute) else {
            return;
        };
        self.restore_links(&netlink, found);
        let changed: Vec<_> = KINDS
            .iter()
            .zip(&self.parts)
            .map(|(kind, was)| {
                let now = kind.all(&netlink).unwrap_or_default();
                if now.len() > MOST {
                    let name = format!(
                        "more than {MOST} times: {}",
                        now.last().map(|part| kind.name(part)).unwrap_or_default()
                    );
                    found.add(Kind, &name, false);
                    return (kind, Vec::new(), Vec::new());
                }
                let new: Vec<Part> = beyond(&now, was).cloned().collect();
                let lost: Vec<Part> = beyond(was, &now).cloned().collect();
                (kind, new, lost)
            })
            .collect();
        // What depends on others is removed first and created last.
        for (kind, new, _) in changed.iter().rev() {
            for part in new {
                if !found.late() {
                    kind.delete(&netlink, part);
                }
            }
        }
        for (kind, _, lost) in &changed {
            for part in lost {
                if !found.late() {
                    kind.add(&netlink, part);
                }
            }
        }
        for (kind, new, lost) in changed {
            if new.is_empty() && lost.is_empty() {
                continue;
            }
            let now = kind.all(&netlink).unwrap_or_default();
            for part in new {
                found.add(Kind, &kind.name(&part), !now.contains(&part));
            }
            for part in lost {
                let name = format!("no {}", kind.name(&part));
                found.add(Kind, &name, now.contains(&part));
            }
        }
        // The reported changes are our own.
        self.changed();
    }

    fn restore_links(&self, netlink: &Netlink, found: &mut Found) {
        let Some(now) = links(netlink) else {
            found.add(NetworkDevice, "more than can be listed", false);
            return;
        };
        let new: Vec<u32> = now
            .iter()
            .map(|(index, _)| *index)
            .filter(|index| get(&self.links, *index).is_none())
            .collect();
        if new.is_empty() && now == self.links {
            return;
        }
        // The latest first: it may depend on an earlier one.
        for index in new.iter().rev().take(MOST_DEVICES) {
            if !found.late() {
                ask(netlink, RTM_DELLINK, 0, &header(*index, 0, 0));
            }
        }
        for (index, was) in &self.links {
            if get(&now, *index).is_some_and(|now| now != was) {
                ask(netlink, RTM_NEWLINK, 0, &was.payload(*index));
            }
        }
        let after = links(netlink).unwrap_or_default();
        for index in new.into_iter().take(MAX_NAMED) {
            if let Some(link) = get(&now, index) {
                let gone = get(&after, index).is_none();
                found.add(NetworkDevice, &link.name, gone);
            }
        }
        for (index, was) in &self.links {
            let now = get(&now, *index);
            if now != Some(was) {
                let gone = get(&after, *index) == Some(was);
                let told = now.map_or("is gone", |now| now.difference(was));
                found.add(Kind, &format!("{} {told}", was.name), gone);
            }
        }
    }
}

impl Link {
    fn payload(&self, index: u32) -> Vec<u8> {
        let mut payload = header(index, self.flags, FLAGS);
        for (kind, value) in ATTRIBUTES.into_iter().zip(self.attributes) {
            // Master 0 means no master.
            if value.is_some() || kind == IFLA_MASTER {
                push(&mut payload, kind, &value.unwrap_or(0).to_ne_bytes());
            }
        }
        payload
    }

    fn difference(&self, was: &Self) -> &'static str {
        match (self.flags ^ was.flags, self.name == was.name) {
            (changed, _) if changed & 1 != 0 && self.flags & 1 == 0 => "is down",
            (changed, _) if changed & 1 != 0 => "is up",
            (_, false) => "has another name",
            _ => "has other settings",
        }
    }
}

/// `struct ifinfomsg`.
fn header(index: u32, flags: u32, change: u32) -> Vec<u8> {
    [
        [0; 4],
        index.to_ne_bytes(),
        flags.to_ne_bytes(),
        change.to_ne_bytes(),
    ]
    .concat()
}

fn get(links: &[(u32, Link)], index: u32) -> Option<&Link> {
    let mut links = links.iter();
    links.find(|(one, _)| *one == index).map(|(_, link)| link)
}

fn links(netlink: &Netlink) -> Option<Vec<(u32, Link)>> {
    let mut links = Vec::new();
    dump(netlink, RTM_GETLINK, LINK_HEADER, &mut |payload| {
        links.extend(link(payload));
    })?;
    Some(links)
}

fn link(payload: &[u8]) -> Option<(u32, Link)> {
    let mut link = Link {
        name: String::new(),
        flags: number(payload.get(8..12)?) & FLAGS,
        attributes: [None; 4],
    };
    for (kind, value) in attributes(payload.get(LINK_HEADER..)?) {
        if kind == IFLA_IFNAME {
            let name = value.strip_suffix(b"\0").unwrap_or(&value);
            link.name = String::from_utf8_lossy(name).into_owned();
        }
        for (at, known) in ATTRIBUTES.into_iter().enumerate() {
            if kind == known
                && let Some(slot) = link.attributes.get_mut(at)
            {
                *slot = Some(number(&value));
            }
        }
    }
    Some((number(payload.get(4..8)?), link))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_link_is_sent_back_as_it_was_reported() {
        let mut payload = header(1, 0x1_0049, 0);
        push(&mut payload, IFLA_IFNAME, b"lo\0");
        push(&mut payload, IFLA_MTU, &65536_u32.to_ne_bytes());
        let (index, lo) = link(&payload).unwrap();
        assert_eq!((index, lo.name.as_str(), lo.flags), (1, "lo", 1));
        let sent = lo.payload(1);
        assert_eq!(sent[8..12], 1_u32.to_ne_bytes());
        assert_eq!(
            attributes(&sent[LINK_HEADER..]),
            [
                (IFLA_MTU, 65536_u32.to_ne_bytes().to_vec()),
                (IFLA_MASTER, vec![0; 4])
            ]
        );
        let down = Link { flags: 0, ..lo };
        let lo = link(&payload).unwrap().1;
        assert_eq!(down.difference(&lo), "is down");
    }

    #[test]
    fn this_machine_has_lo() {
        let netlink = Netlink::open(SockProtocol::NetlinkRoute).unwrap();
        let links = links(&netlink).unwrap_or_default();
        assert!(links.iter().any(|(_, link)| link.name == "lo"), "{links:?}");
    }
}
