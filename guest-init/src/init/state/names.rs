//! Host name and NIS domain name.

use guest_init::message::RemnantKind::Setting;
use rustix::system::{setdomainname, sethostname, uname};

use super::found::Found;

#[derive(Debug)]
pub(super) struct Names {
    host: Vec<u8>,
    domain: Vec<u8>,
}

impl Names {
    pub(super) fn take() -> Self {
        let uname = uname();
        Self {
            host: uname.nodename().to_bytes().to_vec(),
            domain: uname.domainname().to_bytes().to_vec(),
        }
    }

    pub(super) fn restore(&self, found: &mut Found) {
        let now = Self::take();
        let named = |what: &str, name: &[u8]| format!("{what} {}", String::from_utf8_lossy(name));
        if now.host != self.host {
            let gone = sethostname(&self.host).is_ok();
            found.add(Setting, &named("host name", &now.host), gone);
        }
        if now.domain != self.domain {
            let gone = setdomainname(&self.domain).is_ok();
            found.add(Setting, &named("domain name", &now.domain), gone);
        }
    }
}
