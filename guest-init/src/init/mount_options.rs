//! Options of the guest's mounts that a test changes by remounting.

use std::path::Path;

use guest_init::message::{Remnant, RemnantKind};
use nix::mount::{MsFlags, mount};

use super::mountinfo::{AllOptions, Mount, Options, read_mounts};
use super::state::shown;

/// Option names of `mountinfo` and flags of mount(2). Options in neither are defaults.
const FLAGS: [(&str, MsFlags); 8] = [
    ("ro", MsFlags::MS_RDONLY),
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noexec", MsFlags::MS_NOEXEC),
    ("noatime", MsFlags::MS_NOATIME),
    ("nodiratime", MsFlags::MS_NODIRATIME),
    ("relatime", MsFlags::MS_RELATIME),
    ("sync", MsFlags::MS_SYNCHRONOUS),
];

/// Restores changed options. `read` reads `mountinfo` again.
pub(super) fn restore(
    known: &AllOptions,
    now: &AllOptions,
    mut read: impl FnMut() -> Option<Vec<u8>>,
) -> Vec<Remnant> {
    let mut remnants = Vec::new();
    for (key, was) in known {
        let Some(changed) = get(now, key).filter(|now| *now != was) else {
            continue;
        };
        let (fstype, point) = key;
        put_back(point, was, changed);
        let gone = read()
            .map(|text| read_mounts(&text).1)
            .is_some_and(|now| get(&now, key) == Some(was));
        let told = if changed.mount == was.mount {
            &changed.filesystem
        } else {
            &changed.mount
        };
        remnants.push(Remnant {
            kind: RemnantKind::MountOptions,
            name: shown(&format!("{fstype} at {}: {told}", point.display())),
            gone,
        });
    }
    remnants
}

/// The topmost.
fn get<'a>(all: &'a AllOptions, key: &Mount) -> Option<&'a Options> {
    let mut found = all.iter().rev();
    found
        .find(|(mount, _)| mount == key)
        .map(|(_, options)| options)
}

/// The next read shows whether it worked.
fn put_back(point: &Path, was: &Options, now: &Options) {
    let remount = |flags: MsFlags, data: Option<&str>| {
        let flags = flags | MsFlags::MS_REMOUNT;
        let _ = mount(None::<&str>, point, None::<&str>, flags, data);
    };
    let of_mount = flags(&was.mount);
    if was.filesystem != now.filesystem {
        // Most filesystems accept the options that the kernel prints; without data, all other
        // options keep their values.
        let read_only = flags(&was.filesystem) & MsFlags::MS_RDONLY;
        let data: Vec<&str> = was
            .filesystem
            .split(',')
            .filter(|word| !matches!(*word, "rw" | "ro"))
            .collect();
        remount(of_mount | read_only, Some(&data.join(",")));
        remount(of_mount | read_only, None);
    }
    remount(of_mount | MsFlags::MS_BIND, None);
}

fn flags(options: &str) -> MsFlags {
    FLAGS
        .iter()
        .filter(|(word, _)| options.split(',').any(|option| option == *word))
        .fold(MsFlags::empty(), |all, (_, flag)| all | *flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_flags_and_what_is_not_one_is_passed_over() {
        assert_eq!(
            flags("ro,nosuid,relatime"),
            MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_RELATIME
        );
        assert_eq!(flags("rw,size=5k,rom"), MsFlags::empty());
    }
}
