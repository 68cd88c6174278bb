//! The user that a process runs as, from the guest's own files.

use std::fs;
use std::io;

/// passwd(5) and group(5).
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, the first among them.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

impl Account {
    /// Finds the user of this name or number.
    pub(crate) fn find(user: &str) -> io::Result<Self> {
        let passwd = fs::read_to_string(PASSWD).unwrap_or_default();
        let group = fs::read_to_string(GROUP).unwrap_or_default();
        Self::among(&passwd, &group, user).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the guest's {PASSWD} has no such user"),
            )
        })
    }

    fn among(passwd: &str, group: &str, user: &str) -> Option<Self> {
        let listed = passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let (name, uid) = (*fields.first()?, fields.get(2)?.parse().ok()?);
            (name == user || fields.get(2) == Some(&user)).then_some(Self {
                name: name.to_owned(),
                uid,
                gid: fields.get(3)?.parse().ok()?,
                groups: Vec::new(),
                home: (*fields.get(5)?).to_owned(),
            })
        });
        // A number needs no entry.
        let mut account = match (listed, user.parse()) {
            (Some(account), _) => account,
            (None, Ok(uid)) => Self {
                name: user.to_owned(),
                uid,
                gid: uid,
                groups: Vec::new(),
                home: "/".to_owned(),
            },
            (None, Err(_)) => return None,
        };
        account.groups.push(account.gid);
        for line in group.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, gid, members] = fields.as_slice() else {
                continue;
            };
            if let Ok(gid) = gid.parse()
                && members.split(',').any(|member| member == account.name)
                && !account.groups.contains(&gid)
            {
                account.groups.push(gid);
            }
        }
        Some(account)
    }

    /// Puts what programs ask of their user into their environment.
    pub(crate) fn set(&self, env: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        for (key, value) in [
            ("HOME", &self.home),
            ("USER", &self.name),
            ("LOGNAME", &self.name),
        ] {
            env.retain(|(other, _)| other != key.as_bytes());
            env.push((key.as_bytes().to_vec(), value.as_bytes().to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\n\nbad:line\nalice:x:1000:100::/home/alice:/bin/sh\n";
    const GROUP: &str = "users:x:100:\nkvm:x:7:bob,alice\nbad\nbpf:x:8:alice\n";

    #[test]
    fn a_user_is_found_by_name_and_number_with_all_groups() {
        let alice = Account::among(PASSWD, GROUP, "alice").unwrap();
        assert_eq!((alice.uid, alice.gid), (1000, 100));
        assert_eq!(alice.groups, [100, 7, 8]);
        assert_eq!(Account::among(PASSWD, GROUP, "1000"), Some(alice.clone()));
        let other = Account::among(PASSWD, GROUP, "1234").unwrap();
        assert_eq!(
            (other.uid, other.gid, other.home.as_str()),
            (1234, 1234, "/")
        );
        for nobody in ["", "bad", "-1", "alic"] {
            assert_eq!(Account::among(PASSWD, GROUP, nobody), None, "{nobody}");
        }
        let mut env = vec![(b"HOME".to_vec(), b"/root".to_vec())];
        alice.set(&mut env);
        assert!(env.contains(&(b"HOME".to_vec(), b"/home/alice".to_vec())));
        assert_eq!(env.len(), 3);
    }
}
