//! Kernels from container images, of a registry on the loopback.

use std::fs;
use std::path::PathBuf;

use crate::support::material::Material;
use crate::support::packages::{CONFIG, ci_kernels, gzip, little_vm_helper};
use crate::support::registry::{Registry, Tokens};
use crate::support::{Kiln, Output};

/// An empty cache, and a catalogue with one image.
fn kiln(image: &str) -> Kiln {
    let kiln = Kiln::with_empty_cache();
    let file = kiln.file("kernels.toml", format!("[kernels.k]\noci = \"{image}\"\n"));
    kiln.config(file)
}

fn fetch(kiln: &Kiln) -> Output {
    kiln.plain(["kernels", "fetch", "-k", "k"])
        .env("no_proxy", "127.0.0.1")
        .run()
}

fn scratch(kiln: &Kiln) -> PathBuf {
    let dir = kiln.path("images");
    fs::create_dir(&dir).unwrap();
    dir
}

#[test]
fn images_of_either_layout_boot_and_stay_what_they_were_when_they_were_pinned() {
    let own = Kiln::new();
    let dir = scratch(&own);
    let (old, new) = (Material::of(&own), Material::of_kernel(&own, "6.12"));
    let registry = Registry::open(&dir.join("registry"));
    let lvh = little_vm_helper(&old, &dir);
    registry.push("lvh-images/kernel-images:6.1-main", lvh.clone());
    let image = registry.image("lvh-images/kernel-images:6.1-main");
    let kiln = kiln(&image);
    let script = "uname -r; cat /boot/config-$(uname -r)";
    let booted = kiln.sh("k", script).env("no_proxy", "127.0.0.1").run();
    booted
        .assert_code(0)
        .assert_out(&format!("{}\n{CONFIG}", old.release));

    let lock = fs::read_to_string(kiln.work().join("kernels.lock")).unwrap();
    assert!(
        lock.contains(&image) && lock.contains("digest = \"sha256:"),
        "{lock}"
    );
    // Another image gets the tag: the pinned one is fetched by its digest.
    registry.push("lvh-images/kernel-images:6.1-main", ci_kernels(&new, &dir));
    fs::remove_dir_all(kiln.cache().join("kernels")).unwrap();
    let again = fetch(&kiln);
    again.assert_code(0);
    assert!(again.out().contains(&old.release), "{}", again.out());
    let update = kiln
        .plain(["kernels", "update", "k"])
        .env("no_proxy", "127.0.0.1")
        .run();
    update.assert_code(0);
    let other = fs::read_to_string(kiln.work().join("kernels.lock")).unwrap();
    assert_ne!(other, lock);
    // The layers below it had another kernel, which is gone.
    let updated = fetch(&kiln);
    updated.assert_code(0);
    assert!(updated.out().contains(&new.release), "{}", updated.out());
    let prepared = walkdir::WalkDir::new(kiln.cache().join("kernels"));
    let modules = prepared
        .into_iter()
        .flatten()
        .any(|entry| entry.path().ends_with(format!("{}/updates", new.release)));
    assert!(modules, "modules beside the tree's own are taken");
    drop(registry);
    fetch(&kiln).assert_code(0).assert_out(&updated.out());
}

#[test]
fn a_registry_gives_an_image_for_a_token_and_says_why_it_does_not() {
    let own = Kiln::new();
    let dir = scratch(&own);
    let open = Registry::open(&dir.join("registry"));
    open.push(
        "private/kernel:1",
        little_vm_helper(&Material::of(&own), &dir),
    );
    open.push("private/other:1", vec![gzip(&[0; 1024])]);

    // Anybody gets a token.
    let tokens = Tokens::new(&dir, "private/kernel", None);
    let registry = open.with_tokens(&tokens);
    fetch(&kiln(&registry.image("private/kernel:1"))).assert_code(0);
    assert!(tokens.asked() > 0, "no token was asked for");
    let absent = registry.image("private/kernel:2");
    fetch(&kiln(&absent))
        .assert_code(96)
        .assert_err_contains(&format!("cannot get the image {absent}"))
        .assert_err_contains("manifest unknown")
        .assert_err_contains("check name and tag");
    // For that one the token is no good.
    fetch(&kiln(&registry.image("private/other:1")))
        .assert_code(96)
        .assert_err_contains("wants a login")
        .assert_err_contains("`docker login 127.0.0.1:");
    drop(registry);

    // kiln:secret
    let tokens = Tokens::new(&dir, "private/kernel", Some("Basic a2lsbjpzZWNyZXQ="));
    let registry = open.with_tokens(&tokens);
    let kiln = kiln(&registry.image("private/kernel:1"));
    fetch(&kiln)
        .assert_code(96)
        .assert_out("")
        .assert_err_contains("incorrect username or password")
        .assert_err_contains("`podman login 127.0.0.1:");
    let host = registry.image("").trim_end_matches('/').to_owned();
    let config = format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"a2lsbjpzZWNyZXQ=\"}}}}}}");
    let docker = kiln.path("home/.docker");
    fs::create_dir(&docker).unwrap();
    fs::write(docker.join("config.json"), &config).unwrap();
    fetch(&kiln).assert_code(0);
    fs::remove_dir_all(docker).unwrap();
    fs::remove_dir_all(kiln.cache().join("kernels")).unwrap();
    let podman = kiln.path("run/containers");
    fs::create_dir_all(&podman).unwrap();
    fs::write(podman.join("auth.json"), config).unwrap();
    kiln.plain(["kernels", "fetch", "-k", "k"])
        .env("no_proxy", "127.0.0.1")
        .env("XDG_RUNTIME_DIR", kiln.path("run"))
        .run()
        .assert_code(0);
}

#[test]
fn an_image_without_a_kernel_and_a_registry_that_is_not_there_are_told() {
    let own = Kiln::new();
    let dir = scratch(&own);
    let registry = Registry::open(&dir.join("registry"));
    registry.push("library/empty:1", vec![gzip(&[0; 1024])]);
    let image = registry.image("library/empty:1");
    fetch(&kiln(&image))
        .assert_code(96)
        .assert_err_contains(&format!("there is no kernel in image {image}"));
    drop(registry);
    fetch(&kiln(&image))
        .assert_code(96)
        .assert_err_contains(&format!("cannot get the image {image}"))
        .assert_err_contains("refused");
    // Kept from the network, kiln does not ask.
    kiln(&image)
        .plain(["kernels", "fetch", "--offline", "-k", "k"])
        .run()
        .assert_code(96)
        .assert_err_contains("kiln is offline, and would need https://127.0.0.1:");
    let kiln = kiln("no image at all");
    fetch(&kiln)
        .assert_code(96)
        .assert_err_contains("kernels.toml:2: ")
        .assert_err_contains("an image such as ghcr.io/cilium/ci-kernels:6.12");
}
