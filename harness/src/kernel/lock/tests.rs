#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn kernel(name: &str, version: &str) -> Pin {
    Pin::Apt(LockedKernel {
        name: name.to_owned(),
        suite: "s".to_owned(),
        component: "main".to_owned(),
        package: "linux-image-*".to_owned(),
        arch: Arch::default(),
        files: vec![LockedFile {
            package: "linux-image-1".to_owned(),
            version: version.to_owned(),
            path: "pool/l/x.deb".to_owned(),
            size: 7,
            sha256: "0".repeat(64),
            sha1: Some("0".repeat(40)),
            unlisted: false,
        }],
    })
}

fn nix(name: &str, path: &str) -> Pin {
    Pin::Nix(LockedNix {
        name: name.to_owned(),
        installable: ".#kernel".to_owned(),
        arch: Arch::default(),
        paths: vec![path.to_owned()],
    })
}

#[test]
fn a_kernel_has_one_pin_of_either_kind() {
    let mut lock = Lock::default();
    lock.set(kernel("x", "1"));
    lock.set(nix("x", "/nix/store/abc-linux-6.6"));
    assert!(matches!(lock.get("x"), Some(Pin::Nix(_))));
    let text = lock.to_text();
    assert_eq!(Lock::parse(&text, "kernels.lock").unwrap(), lock);
    for bad in [
        "/nix/store/../etc",
        "/nix/store",
        "/nix/store/a/b",
        "/etc",
        "relative",
    ] {
        let text = text.replace("/nix/store/abc-linux-6.6", bad);
        let error = Lock::parse(&text, "kernels.lock").unwrap_err().to_string();
        assert!(error.contains("is not a store path"), "{error}");
    }
}

#[test]
fn an_image_is_pinned_by_its_digest() {
    let mut lock = Lock::default();
    lock.set(Pin::Oci(LockedOci {
        name: "x".to_owned(),
        image: "ghcr.io/cilium/ci-kernels:6.12".to_owned(),
        arch: Arch::default(),
        digest: format!("sha256:{}", "ab".repeat(32)),
    }));
    let text = lock.to_text();
    assert_eq!(Lock::parse(&text, "kernels.lock").unwrap(), lock);
    for bad in ["sha256:ab", "sha512:", "../x"] {
        let text = text.replace(&format!("sha256:{}", "ab".repeat(32)), bad);
        let error = Lock::parse(&text, "kernels.lock").unwrap_err().to_string();
        assert!(error.contains("is not a digest"), "{error}");
    }
}

#[test]
fn the_order_of_setting_does_not_show_in_the_text() {
    let (mut a, mut b) = (Lock::default(), Lock::default());
    a.set(kernel("x", "1"));
    a.set(kernel("y", "1"));
    b.set(kernel("y", "0"));
    b.set(kernel("x", "1"));
    b.set(kernel("y", "1"));
    assert_eq!(a.to_text(), b.to_text());
    assert!(a.to_text().starts_with("# Written by"));
}

#[test]
fn a_lock_remembers_which_files_nobody_signed() {
    let Pin::Apt(mut pin) = kernel("x", "1") else {
        unreachable!()
    };
    pin.files.push(LockedFile {
        package: "linux-modules-1".to_owned(),
        unlisted: true,
        ..pin.files[0].clone()
    });
    let mut lock = Lock::default();
    lock.set(Pin::Apt(pin));
    let text = lock.to_text();
    assert_eq!(Lock::parse(&text, "kernels.lock").unwrap(), lock);
    // A lock of before says nothing of it, and the others stay what they were.
    assert_eq!(text.matches("unlisted = true").count(), 1, "{text}");
    // What boots is always listed.
    let wrong = text.replacen("[[kernel.file]]", "[[kernel.file]]\nunlisted = true", 1);
    let error = Lock::parse(&wrong, "kernels.lock").unwrap_err().to_string();
    assert!(
        error.contains("linux-image-1 of kernel \"x\" is unlisted"),
        "{error}"
    );
}

#[test]
fn a_lock_is_stored_whole_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kernels.lock");
    assert_eq!(Lock::load(&path).unwrap(), Lock::default());
    let mut lock = Lock::default();
    lock.set(kernel("x", "1"));
    lock.store(&path).unwrap();
    assert_eq!(Lock::load(&path).unwrap(), lock);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_built_in_lock_pins_every_apt_kernel_of_the_built_in_catalogue() {
    let catalogue = crate::config::Catalogue::built_in().unwrap();
    let lock = Lock::parse(crate::config::BUILT_IN_LOCK, "kernels.lock").unwrap();
    for kernel in &catalogue.kernels {
        if let crate::config::Source::Apt(source) = &kernel.source {
            let pin = lock.get(&kernel.name).unwrap();
            assert!(
                matches!(pin, Pin::Apt(pin) if pin.is_of(source)),
                "{}",
                kernel.name
            );
        }
    }
    assert_eq!(lock.to_text(), crate::config::BUILT_IN_LOCK);
}

#[test]
fn a_damaged_lock_is_refused_with_its_line() {
    let mut lock = Lock::default();
    lock.set(kernel("x", "1"));
    let good = lock.to_text();
    for (from, to) in [
        ("pool/l/x.deb", "../../etc/passwd"),
        ("pool/l/x.deb", "/etc/passwd"),
        ("sha256 = \"0", "sha256 = \"g"),
        ("sha1 = \"0", "sha1 = \"g"),
        ("size", "length"),
        ("version = 1\n", "version = 9\n"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let error = Lock::parse(&text, "kernels.lock").unwrap_err().to_string();
        assert!(error.starts_with("kernels.lock:"), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "[a-z\\[\\]=\"\n0-9.]{0,200}") {
        let _ = Lock::parse(&text, "kernels.lock");
    }
}
