//! Lists and deletes nftables tables. Uses netlink, since the root may have no `nft`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use nix::sys::socket::SockProtocol;

use super::netlink::{
    self, ALIGNMENT, HEADER, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, Netlink, PIECE, u16_at,
};

/// Exists while the module is loaded.
const MODULE: &str = "/sys/module/nf_tables";

// linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_NEWTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8;
const NFT_MSG_GETTABLE: u16 = NFT_MSG_NEWTABLE | 1;
const NFT_MSG_DELTABLE: u16 = NFT_MSG_NEWTABLE | 2;
const NFTA_TABLE_NAME: u16 = 1;
/// Bytes of `struct nlmsghdr` and `struct nfgenmsg`.
const HEADERS: usize = HEADER + 4;
/// `struct nlattr`.
const ATTRIBUTE: usize = 4;

/// A table of the first network namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Table {
    family: u8,
    /// Without the final NUL. The kernel takes any bytes.
    name: Vec<u8>,
}

impl fmt::Display for Table {
    /// As in `nft list tables`, without the word `table`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // linux/netfilter.h
        let family = match self.family {
            1 => "inet",
            2 => "ip",
            3 => "arp",
            5 => "netdev",
            7 => "bridge",
            10 => "ip6",
            _ => "unknown",
        };
        write!(f, "{family} {}", String::from_utf8_lossy(&self.name))
    }
}

/// Whether the module nf_tables is loaded; false if it is built in.
pub(crate) fn module_loaded() -> bool {
    Path::new(MODULE).exists()
}

/// All tables. `None` if the kernel has no nf_tables. The kernel would first try to load the
/// module, so call this only if it is loaded, or if the kernel cannot load it.
pub(crate) fn tables() -> Option<BTreeSet<Table>> {
    let netlink = open().ok()?;
    let request = message(NFT_MSG_GETTABLE, NLM_F_DUMP, 0, None);
    netlink.send(&request).ok()?;
    let mut tables = BTreeSet::new();
    let mut piece = vec![0; PIECE];
    loop {
        let answer = netlink.receive(&mut piece).ok()?;
        if !collect(answer, &mut tables)? {
            return Some(tables);
        }
    }
}

/// Deletes a table and its contents; [`tables`] shows whether it worked.
pub(crate) fn delete(table: &Table) -> nix::Result<()> {
    // Changes are sent in batches, one transaction each.
    let batch = [
        message(NFNL_MSG_BATCH_BEGIN, 0, 0, None),
        message(NFT_MSG_DELTABLE, 0, table.family, Some(&table.name)),
        message(NFNL_MSG_BATCH_END, 0, 0, None),
    ];
    open()?.send(&batch.concat())
}

fn open() -> nix::Result<Netlink> {
    Netlink::open(SockProtocol::NetlinkNetFilter)
}

/// One message for the kernel, aligned.
fn message(kind: u16, flags: u16, family: u8, name: Option<&[u8]>) -> Vec<u8> {
    // The subsystem of a batch.
    let resource = if kind < NFT_MSG_NEWTABLE {
        NFNL_SUBSYS_NFTABLES
    } else {
        0
    };
    let mut payload = vec![family, 0];
    payload.extend(resource.to_be_bytes());
    if let Some(name) = name {
        let length = ATTRIBUTE + name.len() + 1;
        payload.extend(u16::try_from(length).unwrap_or_default().to_ne_bytes());
        payload.extend(NFTA_TABLE_NAME.to_ne_bytes());
        payload.extend(name);
        payload.push(0);
    }
    netlink::request(kind, flags, &payload)
}

/// Reads the tables in one part of a dump; returns whether more parts follow. `None` if the kernel
/// refused.
fn collect(mut piece: &[u8], tables: &mut BTreeSet<Table>) -> Option<bool> {
    while !piece.is_empty() {
        let length = u32::from_ne_bytes(piece.get(..4)?.try_into().ok()?);
        let length = usize::try_from(length).ok()?;
        let message = piece.get(..length).filter(|_| length >= HEADER)?;
        match u16_at(message, 4)? {
            NLMSG_DONE => return Some(false),
            NLMSG_ERROR => return None,
            NFT_MSG_NEWTABLE => {
                let family = *message.get(HEADER)?;
                let name = name(message.get(HEADERS..)?);
                tables.extend(name.map(|name| Table { family, name }));
            }
            _ => {}
        }
        piece = piece
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
    }
    Some(true)
}

/// The name among a table's attributes.
fn name(mut attributes: &[u8]) -> Option<Vec<u8>> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(ATTRIBUTE..length)?;
        if u16_at(attributes, 2)? == NFTA_TABLE_NAME {
            let end = value.iter().position(|&byte| byte == 0);
            return Some(value.get(..end.unwrap_or(value.len()))?.to_vec());
        }
        attributes = attributes.get(length.next_multiple_of(ALIGNMENT)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in the kernel's answers, another attribute comes before the name.
    fn answer(family: u8, name: &str) -> Vec<u8> {
        let named = message(NFT_MSG_NEWTABLE, 2, family, Some(name.as_bytes()));
        let uses = [8, 0, 3, 0, 0, 0, 0, 1];
        let mut bytes = [&named[..HEADERS], &uses, &named[HEADERS..]].concat();
        bytes[0] += 8;
        bytes
    }

    /// `NLMSG_DONE` with its status.
    fn done() -> Vec<u8> {
        let fields: [&[u8]; 6] = [
            &20_u32.to_ne_bytes(),
            &3_u16.to_ne_bytes(),
            &2_u16.to_ne_bytes(),
            &7_u32.to_ne_bytes(),
            &0_u32.to_ne_bytes(),
            &0_i32.to_ne_bytes(),
        ];
        fields.concat()
    }

    #[test]
    fn a_dump_is_read_piece_by_piece() {
        let mut tables = BTreeSet::new();
        let piece = [answer(1, "a"), answer(10, "kiln-left")].concat();
        assert_eq!(collect(&piece, &mut tables), Some(true));
        let piece = [answer(2, "nat"), done()].concat();
        assert_eq!(collect(&piece, &mut tables), Some(false));
        let names: Vec<String> = tables.iter().map(Table::to_string).collect();
        assert_eq!(names, ["inet a", "ip nat", "ip6 kiln-left"]);
    }

    #[test]
    fn a_refusal_and_a_broken_part_have_no_tables() {
        let mut refusal = done();
        refusal[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        refusal[16..20].copy_from_slice(&(-95_i32).to_ne_bytes());
        assert_eq!(collect(&refusal, &mut BTreeSet::new()), None);
        let whole = answer(2, "nat");
        for end in 1..whole.len() {
            let mut tables = BTreeSet::new();
            assert_eq!(collect(&whole[..end], &mut tables), None);
            assert!(tables.is_empty());
        }
    }

    #[test]
    fn a_batch_names_the_subsystem_in_network_order_and_a_table_ends_in_nul() {
        let begin = message(NFNL_MSG_BATCH_BEGIN, 0, 0, None);
        assert_eq!(begin[..6], [20, 0, 0, 0, 16, 0]);
        assert_eq!(begin[18..], [0, 10]);
        let delete = message(NFT_MSG_DELTABLE, 0, 1, Some(b"left"));
        assert_eq!(delete[..8], [32, 0, 0, 0, 2, 10, 1, 0]);
        assert_eq!(delete[16..], *b"\x01\0\0\0\x09\0\x01\0left\0\0\0\0");
    }
}
