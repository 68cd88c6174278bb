#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
fn stanza(name: &str, version: &str, depends: &str) -> String {
    format!(
        "Package: {name}\nSource: linux\nVersion: {version}\nDepends: {depends}\nFilename: pool/{name}_{version}.deb\nSize: 10\nSHA256: {}\n\n",
        "0".repeat(64)
    )
}

fn names(index: &str, pattern: &str) -> Vec<String> {
    match newest(&parse(index), pattern) {
        Newest::Found(files) => files
            .into_iter()
            .map(|file| format!("{} {}", file.package, file.version))
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_newest_match_is_taken_without_debug_symbols_and_unsigned_twins() {
    let index = [
        stanza("linux-image-5.10.0-43-cloud-amd64", "5.10.251-5", "kmod"),
        stanza("linux-image-5.10.0-46-cloud-amd64", "5.10.262-1", "kmod"),
        stanza("linux-image-5.10.0-46-cloud-amd64-dbg", "5.10.262-1", ""),
        stanza(
            "linux-image-5.10.0-47-cloud-amd64-unsigned",
            "5.10.270-1",
            "",
        ),
        stanza("hello", "9", ""),
    ]
    .concat();
    let expected = ["linux-image-5.10.0-46-cloud-amd64 5.10.262-1"];
    assert_eq!(names(&index, "linux-image-5.10.*-cloud-amd64"), expected);
    assert_eq!(names(&index, "linux-image-5.10.*"), expected);
    assert!(names(&index, "linux-image-6.*").is_empty());
}

#[test]
fn the_parts_of_a_split_kernel_are_found_at_the_same_version() {
    let index = [
        stanza("linux-image-7.3-x", "7.3-1", "dracut | initramfs-tools (>= 0.1), linux-base-7.3-x (= 7.3-1), linux-binary-7.3-x (= 7.3-1), linux-modules-7.3-x (= 7.3-1)"),
        stanza("linux-base-7.3-x", "7.3-1", ""),
        stanza("linux-binary-7.3-x", "7.3-1", ""),
        stanza("linux-modules-7.3-x", "7.3-1", "kmod"),
        stanza("linux-modules-7.3-x", "7.3-2", "kmod"),
    ]
    .concat();
    assert_eq!(
        names(&index, "linux-image-7.*"),
        [
            "linux-image-7.3-x 7.3-1",
            "linux-base-7.3-x 7.3-1",
            "linux-binary-7.3-x 7.3-1",
            "linux-modules-7.3-x 7.3-1"
        ]
    );
}

#[test]
fn a_kernel_whose_modules_have_left_the_archive_is_passed_over() {
    let split = |version: &str| {
        let depends = format!("linux-modules-{version} (= {version})");
        stanza(&format!("linux-image-{version}"), version, &depends)
    };
    let complete = [
        split("7.1"),
        stanza("linux-modules-7.1", "7.1", ""),
        split("7.2"),
    ]
    .concat();
    assert_eq!(
        names(&complete, "linux-image-7.*"),
        ["linux-image-7.1 7.1", "linux-modules-7.1 7.1"]
    );
    let result = newest(&parse(&[split("7.1"), split("7.2")].concat()), "*");
    assert_eq!(
        result,
        Newest::Incomplete {
            package: "linux-image-7.2".to_owned(),
            version: "7.2".to_owned(),
            missing: "linux-modules-7.2".to_owned(),
        }
    );
}

/// The packages of each kernel, those that are not listed in brackets.
fn all_of(index: &str) -> Vec<String> {
    let names = KernelNames::matching("linux-image-*-x").unwrap();
    let kernels = all(&parse(index), &names).into_iter();
    kernels
        .map(|kernel| {
            let files = kernel.files.into_iter().map(|file| file.package);
            let unlisted = kernel.unlisted.into_iter();
            let unlisted = unlisted.map(|(name, version)| format!("[{name} {version}]"));
            files.chain(unlisted).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// A kernel that is split into packages.
fn split(version: &str) -> String {
    let on = |part: &str| format!("linux-{part}-{version}-x (= {version}-1)");
    let depends = [on("binary"), on("modules")].join(", ");
    [
        stanza(
            &format!("linux-image-{version}-x"),
            &format!("{version}-1"),
            &depends,
        ),
        stanza(
            &format!("linux-binary-{version}-x"),
            &format!("{version}-1"),
            &on("base"),
        ),
    ]
    .concat()
}

#[test]
fn all_kernels_have_an_image_and_none_is_a_metapackage() {
    let index = [
        stanza("linux-image-6-x", "6.2-1", "linux-image-6.2-x (= 6.2-1)"),
        stanza("linux-image-5-x", "5.2-1", "linux-image-5.2-x (= 5.2-1)"),
        stanza("linux-image-6.1-x", "6.1-1", ""),
        stanza("linux-image-6.2-x", "6.2-1", ""),
        stanza("linux-image-6.2-x-dbg", "6.2-1", ""),
        split("7.1"),
        stanza("linux-modules-7.1-x", "7.1-1", ""),
        stanza("linux-base-7.1-x", "7.1-1", ""),
        stanza("linux-image-7.0-x", "7.0-1", "linux-binary-7.0-x (= 7.0-1)"),
        stanza("linux-image-6.1-y", "6.1-1", ""),
    ]
    .concat();
    assert_eq!(
        all_of(&index),
        [
            "linux-image-6.1-x",
            "linux-image-6.2-x",
            "linux-image-7.1-x linux-binary-7.1-x linux-modules-7.1-x linux-base-7.1-x",
        ]
    );
}

#[test]
fn parts_that_have_left_the_index_are_named_with_their_versions() {
    assert_eq!(
        all_of(&split("7.1")),
        [
            "linux-image-7.1-x linux-binary-7.1-x [linux-modules-7.1-x 7.1-1] [linux-base-7.1-x 7.1-1]"
        ]
    );
    // Nobody knows which version that was.
    let loose = split("7.1").replace("linux-modules-7.1-x (= 7.1-1)", "linux-modules-7.1-x");
    assert_eq!(all_of(&loose), [""; 0]);
}

#[test]
fn an_image_that_brings_its_modules_needs_no_linux_base() {
    let index = stanza(
        "linux-image-6.18-x",
        "6.18-1",
        "linux-base-6.18-x (= 6.18-1)",
    );
    assert_eq!(all_of(&index), ["linux-image-6.18-x"]);
    assert_eq!(names(&index, "linux-image-6.18-x").len(), 1);
}

#[test]
fn a_metapackage_leads_to_its_kernel() {
    let index = [
        stanza(
            "linux-image-cloud-amd64",
            "6.1-1",
            "linux-image-6.1-x (= 6.1-1)",
        ),
        stanza("linux-image-6.1-x", "6.1-1", ""),
    ]
    .concat();
    assert_eq!(names(&index, "linux-image-cloud-amd64").len(), 2);
}

#[test]
fn ubuntu_s_metapackage_leads_to_image_modules_and_extra_modules() {
    // As in noble, shortened.
    let release = "6.8.0-40-generic";
    let image = format!("kmod, linux-base (>= 4.5ubuntu1~16.04.1), linux-modules-{release}");
    let all = format!("linux-image-{release}, linux-modules-extra-{release}, linux-firmware");
    let index = [
        stanza("linux-image-generic", "6.8.0-40.40", &all),
        stanza(&format!("linux-image-{release}"), "6.8.0-40.40", &image),
        stanza(
            &format!("linux-image-unsigned-{release}"),
            "6.8.0-40.40",
            &image,
        ),
        stanza(&format!("linux-modules-{release}"), "6.8.0-40.40", ""),
        stanza(&format!("linux-modules-extra-{release}"), "6.8.0-40.40", ""),
    ]
    .concat();
    let packages = |pattern: &str| -> Vec<String> {
        let names = names(&index, pattern);
        let names = names.iter().filter_map(|name| name.split_once(' '));
        names.map(|(name, _)| name.replace(release, "R")).collect()
    };
    assert_eq!(
        packages("linux-image-generic"),
        [
            "linux-image-generic",
            "linux-image-R",
            "linux-modules-extra-R",
            "linux-modules-R"
        ]
    );
    assert_eq!(
        packages("linux-image-unsigned-6.8.*-generic"),
        ["linux-image-unsigned-R", "linux-modules-R"]
    );
}

#[test]
fn versions_are_ordered_as_dpkg_orders_them() {
    for (lower, higher) in [
        ("5.10.262-1", "5.10.1000-1"),
        ("7.3~rc7-1~exp1", "7.3-1"),
        ("6.12.117-1~bpo12+1", "6.12.117-1"),
        ("9.0-1", "1:1.0-1"),
    ] {
        assert_eq!(compare(lower, higher), Ordering::Less, "{lower} {higher}");
    }
}

proptest! {
    #[test]
    fn no_index_panics(text in "(Package: linux-image-|Version: |Depends: |[a-z(=)|, :\n]){0,60}") {
        let packages = parse(&text);
        let _ = newest(&packages, "*");
        let _ = all(&packages, &KernelNames::matching("*").unwrap());
    }
}
