#![allow(clippy::unwrap_used)]
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use ::tar;
use proptest::prelude::*;

use super::test_archives::{
    Hard, Huge, Link, Member, Node, Regular, cpio, deb, end, gzip, rpm, tarball, xz,
};
use super::*;
use crate::hint::Hint;

/// A place for one archive and what comes out of it.
struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Lab {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(lab.dest()).unwrap();
        lab
    }

    fn dest(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn unpack(&self, bytes: &[u8]) -> Result<Option<Came>, Error> {
        let file = self.dir.path().join("archive");
        fs::write(&file, bytes).unwrap();
        unpack(&file, "the archive", &self.dest())
    }

    fn layer(&self, files: &[(&str, Member<'_>)]) {
        let file = self.dir.path().join("layer");
        fs::write(&file, tarball(files)).unwrap();
        unpack_layer(&file, "the layer", &self.dest()).unwrap();
    }

    /// What came, and that nothing is outside.
    fn files(&self) -> Vec<String> {
        let names = |dir: &Path| -> Vec<String> {
            let entries = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
            let files = entries.filter(|entry| !entry.file_type().is_dir());
            let mut names: Vec<String> = files
                .map(|entry| {
                    entry
                        .path()
                        .strip_prefix(dir)
                        .unwrap()
                        .display()
                        .to_string()
                })
                .collect();
            names.sort();
            names
        };
        let outside = names(self.dir.path());
        let mut outside = outside.iter().filter(|name| !name.starts_with("out/"));
        assert!(
            outside.all(|name| name == "archive" || name == "layer"),
            "something was written outside"
        );
        names(&self.dest())
    }

    /// The entry that is refused, and why.
    #[track_caller]
    fn refused(&self, bytes: &[u8]) -> (String, String) {
        let error = self.unpack(bytes).unwrap_err();
        assert!(!error.hints().is_empty());
        self.files();
        match error {
            Error::Refused { entry, reason, .. } => (entry, reason),
            other => panic!("{other}"),
        }
    }
}

/// Files of a package, the kernel's parts among them.
const FILES: [(&str, Member<'_>); 7] = [
    ("./boot/vmlinuz-1", Regular(b"image")),
    ("./boot/config-1", Regular(b"config")),
    ("./boot/System.map-1", Regular(b"map")),
    ("./usr/share/doc/x", Regular(b"doc")),
    ("./usr/lib/modules/1/kernel/a.ko.zst", Regular(b"module")),
    (
        "./usr/lib/modules/1/build",
        Link("/usr/src/linux-headers-1"),
    ),
    ("./boot/vmlinuz", Link("vmlinuz-1")),
];

const PARTS: [&str; 3] = [
    "boot/config-1",
    "boot/vmlinuz-1",
    "usr/lib/modules/1/kernel/a.ko.zst",
];

#[test]
fn only_the_kernel_s_parts_of_a_package_are_unpacked() {
    let plain = tarball(&FILES);
    let archives = [
        deb(&FILES),
        xz(&plain),
        zstd::encode_all(plain.as_slice(), 1).unwrap(),
        gzip(&plain),
        plain,
    ];
    for archive in archives {
        let lab = Lab::new();
        let came = lab.unpack(&archive).unwrap().unwrap();
        assert_eq!(lab.files(), PARTS);
        let images: Vec<_> = came
            .images
            .iter()
            .map(|path| path.to_str().unwrap())
            .collect();
        assert_eq!(images, ["boot/vmlinuz-1", "boot/config-1"]);
        assert_eq!(came.modules.into_iter().collect::<Vec<_>>(), ["1"]);
    }
    assert_eq!(Lab::new().unpack(b"MZ").unwrap(), None);
}

#[test]
fn an_rpm_of_either_payload_gives_the_same_files() {
    let files: [(&str, &[u8]); 4] = [
        ("/lib/modules/1/vmlinuz", b"image"),
        ("/lib/modules/1/config", b"config"),
        ("/lib/modules/1/kernel/a.ko.xz", b"module"),
        ("/usr/share/doc/x", b"doc"),
    ];
    for config in [::rpm::BuildConfig::v4(), ::rpm::BuildConfig::v6()] {
        use ::rpm::CompressionType as Compression;
        for compression in [
            Compression::Gzip,
            Compression::Xz,
            Compression::Zstd,
            Compression::None,
        ] {
            let config = config.compression(compression);
            let mut builder =
                ::rpm::PackageBuilder::new("kernel", "1", "MIT", "x86_64", "a kernel");
            builder.using_config(config);
            for (path, content) in files {
                let options = ::rpm::FileOptions::new(path);
                builder.with_file_contents(content, options).unwrap();
            }
            let target = "/usr/src/kernels/1";
            let link = ::rpm::FileOptions::symlink("/lib/modules/1/build", target);
            builder.with_symlink(link).unwrap();
            let package = builder.build().unwrap();
            let mut bytes = Vec::new();
            package.write(&mut bytes).unwrap();
            let lab = Lab::new();
            lab.unpack(&bytes).unwrap();
            assert_eq!(
                lab.files(),
                [
                    "lib/modules/1/config",
                    "lib/modules/1/kernel/a.ko.xz",
                    "lib/modules/1/vmlinuz"
                ],
                "{compression:?}"
            );
            let image = fs::read(lab.dest().join("lib/modules/1/vmlinuz")).unwrap();
            assert_eq!(image, b"image");
        }
    }
}

#[test]
fn names_of_one_file_share_its_content() {
    let lab = Lab::new();
    lab.unpack(&tarball(&[
        ("lib/modules/1/vmlinuz", Regular(b"image")),
        ("boot/vmlinuz-1", Hard("./lib/modules/1/vmlinuz")),
    ]))
    .unwrap();
    assert_eq!(
        fs::read(lab.dest().join("boot/vmlinuz-1")).unwrap(),
        b"image"
    );

    let mut payload = cpio("./boot/vmlinuz-1", 0o100_644, 2, b"");
    payload.extend(cpio("./lib/modules/1/vmlinuz", 0o100_644, 2, b"image"));
    let lab = Lab::new();
    lab.unpack(&rpm(&end(payload))).unwrap();
    for name in ["boot/vmlinuz-1", "lib/modules/1/vmlinuz"] {
        assert_eq!(fs::read(lab.dest().join(name)).unwrap(), b"image");
    }
}

#[test]
fn what_would_be_written_outside_is_refused_by_its_name() {
    let absolute = "its path is absolute";
    let outside = "its path leads out of the archive";
    for (path, member, reason) in [
        ("../vmlinuz-evil", Regular(b"x"), outside),
        ("boot/../../vmlinuz-evil", Regular(b"x"), outside),
        // No part of a kernel, but no archive is to be trusted that has it.
        ("../etc/passwd", Regular(b"x"), outside),
        ("/boot/vmlinuz-evil", Regular(b"x"), absolute),
        ("/etc/passwd", Link("x"), absolute),
        (
            "lib/modules/1/kernel",
            Link("/etc"),
            "it is a link out of the archive, to /etc",
        ),
        (
            "boot/vmlinuz-1",
            Link("../../etc/shadow"),
            "it is a link out of the archive, to ../../etc/shadow",
        ),
        (
            "lib/modules/1/kernel/a.ko",
            Link("/dev/zero"),
            "it is a link out of the archive, to /dev/zero",
        ),
        (
            "boot/vmlinuz-1",
            Hard("../../etc/shadow"),
            "it is a link out of the archive, to ../../etc/shadow",
        ),
        (
            "boot/vmlinuz-1",
            Hard("etc/shadow"),
            "it is a hard link to etc/shadow, which has not come",
        ),
        (
            "boot/vmlinuz-1",
            Node(tar::EntryType::Block),
            "it is a device",
        ),
        (
            "lib/modules/1/kernel/a.ko",
            Node(tar::EntryType::Char),
            "it is a device",
        ),
        ("boot/vmlinuz-1", Node(tar::EntryType::Fifo), "it is a FIFO"),
    ] {
        for archive in [tarball(&[(path, member)]), deb(&[(path, member)])] {
            let refused = Lab::new().refused(&archive);
            assert_eq!(refused, (path.to_owned(), reason.to_owned()));
        }
    }
}

#[test]
fn an_rpm_that_would_write_outside_is_refused() {
    for (path, mode, content, reason) in [
        (
            "../vmlinuz",
            0o100_644,
            "x",
            "its path leads out of the archive",
        ),
        ("/boot/vmlinuz", 0o100_644, "x", "its path is absolute"),
        ("./boot/vmlinuz-1", 0o060_644, "", "it is a device"),
        ("./boot/vmlinuz-1", 0o140_644, "", "it is a socket"),
        (
            "./lib/modules/1/kernel",
            0o120_777,
            "../../../../etc",
            "it is a link out of the archive, to ../../../../etc",
        ),
    ] {
        let payload = end(cpio(path, mode, 1, content.as_bytes()));
        let refused = Lab::new().refused(&rpm(&payload));
        assert_eq!(refused, (path.to_owned(), reason.to_owned()));
    }
}

#[test]
fn an_archive_that_fills_the_disk_is_refused() {
    const GIB: u64 = 1 << 30;
    let too_much = "with it, the archive unpacks to more than 16 GiB";
    let all = tarball(&[
        ("boot/vmlinuz-1", Regular(b"x")),
        ("zeros", Huge(100 * GIB)),
    ]);
    let refused = Lab::new().refused(&all);
    assert_eq!(refused, ("zeros".to_owned(), too_much.to_owned()));
    // A bomb behind the end of an archive, and one that is a name: a header says
    // how long it is, and it is kept in memory.
    let mut name = tarball(&[("././@LongLink", Node(tar::EntryType::GNULongName))]);
    name.truncate(512);
    name[124..136].copy_from_slice(b"77777777777\0");
    let sum: u32 = name[..512].iter().enumerate().fold(0, |sum, (at, byte)| {
        sum + u32::from(if (148..156).contains(&at) {
            b' '
        } else {
            *byte
        })
    });
    name[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    for mut bomb in [tarball(&[("vmlinuz-1", Regular(b"x"))]), name] {
        let zeros = zstd::encode_all(std::io::repeat(0).take(64 << 20), 1).unwrap();
        bomb = zstd::encode_all(bomb.as_slice(), 1).unwrap();
        bomb.extend(zeros);
        let (_, reason) = Lab::new().refused(&bomb);
        assert_eq!(reason, "what follows it has no end");
    }
}

#[test]
fn an_entry_replaces_a_file_and_not_what_shares_its_content() {
    let lab = Lab::new();
    lab.unpack(&tarball(&[
        ("lib/modules/1/vmlinuz", Regular(b"image")),
        ("boot/vmlinuz-1", Hard("lib/modules/1/vmlinuz")),
        ("boot/vmlinuz-1", Regular(b"other")),
    ]))
    .unwrap();
    let kept = fs::read(lab.dest().join("lib/modules/1/vmlinuz")).unwrap();
    assert_eq!(kept, b"image");
}

#[test]
fn a_damaged_archive_is_an_error() {
    let mut cut = xz(&tarball(&[("bzImage", Regular(&[7; 9000]))]));
    cut.truncate(cut.len() - 20);
    let mut header = rpm(&end(Vec::new()));
    // An index that is larger than any, and one that is not there.
    header[96 + 8] = 0xff;
    let short = rpm(b"")[..140].to_vec();
    let wrong = rpm(b"not a cpio archive");
    let no_end = rpm(&cpio("./boot/vmlinuz-1", 0o100_644, 1, b"image"));
    let empty = b"!<arch>\n".to_vec();
    for archive in [cut, header, short, wrong, no_end, empty] {
        let error = Lab::new().unpack(&archive).unwrap_err();
        assert!(matches!(error, Error::Archive { .. }), "{error}");
    }
}

#[test]
fn a_layer_lies_over_the_ones_below_it() {
    let lab = Lab::new();
    lab.layer(&[
        ("boot/vmlinuz", Regular(b"old")),
        ("lib/modules/1/kernel/a.ko", Regular(b"a")),
        ("lib/modules/1/kernel/b.ko", Regular(b"b")),
        ("lib/modules/2/kernel/c.ko", Regular(b"c")),
        ("data/boot/vmlinuz-3", Regular(b"3")),
        ("dev/null", Node(tar::EntryType::Char)),
    ]);
    // As some builders write it.
    lab.layer(&[
        ("/boot/vmlinuz", Regular(b"new")),
        ("lib/modules/1/kernel/.wh.b.ko", Regular(b"")),
        ("lib/modules/2/.wh..wh..opq", Regular(b"")),
        ("lib/modules/2/kernel/d.ko", Regular(b"d")),
        (".wh.data", Regular(b"")),
    ]);
    assert_eq!(
        lab.files(),
        [
            "boot/vmlinuz",
            "lib/modules/1/kernel/a.ko",
            "lib/modules/2/kernel/d.ko"
        ]
    );
    assert_eq!(fs::read(lab.dest().join("boot/vmlinuz")).unwrap(), b"new");
    lab.layer(&[("lib", Link("usr/lib")), ("boot/vmlinuz", Link("x"))]);
    assert_eq!(lab.files(), [""; 0]);
}

/// Paths that an archive may have, good and bad.
fn path() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "..", ".", "", "boot", "lib", "modules", "1", "kernel", "vmlinuz", "a.ko",
    ]);
    prop::collection::vec(part, 1..7).prop_map(|parts| parts.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_archive_writes_outside(
        entries in prop::collection::vec((path(), 0..4_usize, path()), 1..6),
        layered in any::<bool>(),
    ) {
        let members: Vec<(&str, Member<'_>)> = entries
            .iter()
            .filter(|(name, _, target)| !name.is_empty() && !target.is_empty())
            .map(|(name, kind, target)| {
                let member = match kind {
                    0 => Link(target),
                    1 => Hard(target),
                    _ => Regular(target.as_bytes()),
                };
                (name.as_str(), member)
            })
            .collect();
        let lab = Lab::new();
        if layered {
            let file = lab.dir.path().join("layer");
            fs::write(&file, tarball(&members)).unwrap();
            let _ = unpack_layer(&file, "it", &lab.dest());
        } else {
            let _ = lab.unpack(&tarball(&members));
        }
        lab.files();
        for entry in walkdir::WalkDir::new(lab.dest()) {
            let kind = entry.unwrap().file_type();
            prop_assert!(kind.is_dir() || kind.is_file());
        }
    }

    #[test]
    fn no_bytes_behind_the_lead_of_an_rpm_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        intro in any::<bool>(),
    ) {
        let mut package = rpm(b"");
        package.truncate(if intro { 96 + 8 } else { 96 });
        package.extend(bytes);
        let _ = Lab::new().unpack(&package);
    }
}
