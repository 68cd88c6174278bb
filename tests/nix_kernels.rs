//! Kernels from Nix: built from a real flake in a chroot store, pinned by store
//! path, booted; and what goes wrong on the way.

use std::fs;

use crate::support::material::Material;
use crate::support::nix_support::Store;
use crate::support::{Invocation, Kiln};

/// A flake with the outputs `OUTPUTS`, whose builder is the busybox beside it.
const FLAKE: &str = r#"{
  outputs = { self }: let
    make = name: script: derivation {
      inherit name;
      system = "x86_64-linux";
      builder = "${./bin}/sh";
      PATH = "${./bin}";
      args = [ "-c" script ];
    };
  in { packages.x86_64-linux = rec { OUTPUTS }; };
}
"#;

/// A kiln in a flake, with a `kernels.toml` that has a kernel of each name from
/// the output of that name.
fn flake(outputs: &str, names: &[&str]) -> Kiln {
    let kiln = Kiln::with_copied_cache();
    let work = kiln.work();
    kiln.file("flake.nix", FLAKE.replace("OUTPUTS", outputs));
    fs::create_dir(work.join("bin")).unwrap();
    for program in ["sh", "cp", "mkdir", "echo"] {
        fs::copy("/bin/busybox", work.join("bin").join(program)).unwrap();
    }
    let kernels: Vec<String> = names
        .iter()
        .map(|name| format!("[kernels.{name}]\nnix = \".#{name}\"\n"))
        .collect();
    let config = kiln.file("kernels.toml", kernels.concat());
    kiln.config(config)
}

fn on<'k>(store: &Store<'_>, kiln: Invocation<'k>) -> Invocation<'k> {
    store.with(kiln).env("KILN_NIX_STORE", store.root())
}

#[test]
fn a_kernel_of_a_flake_is_built_pinned_and_booted() {
    let kiln = flake(
        r#"kernel = make "linux-6.1" "mkdir $out; cp -r ${./tree}/boot ${./tree}/lib $out/";"#,
        &["kernel"],
    );
    // The catalogue here has no 6.1 to take material from.
    let material = Material::of(&Kiln::new());
    material.unpack(&kiln.work().join("tree"), &[]);
    let store = Store::new(&kiln);
    let list = || {
        let output = on(&store, kiln.plain(["kernels"])).run();
        output.assert_code(0);
        output.out()
    };
    assert!(list().contains("nix .#kernel"), "{}", list());

    let output = on(&store, kiln.vm(["exec", "-k", "kernel", "--"]))
        .args(["uname", "-r"])
        .run();
    output.assert_code(0);
    output.assert_out(&format!("{}\n", material.release));

    let lock = fs::read_to_string(kiln.work().join("kernels.lock")).unwrap();
    let pinned = lock
        .lines()
        .find_map(|line| line.strip_prefix("paths = [\"")?.strip_suffix("\"]"))
        .unwrap_or_else(|| panic!("no store path in {lock}"));
    assert!(pinned.starts_with("/nix/store/") && pinned.ends_with("-linux-6.1"));
    assert!(store.on_host(pinned).join("boot").is_dir());
    let listed = list();
    let row = listed.lines().find(|line| line.starts_with("kernel"));
    assert!(
        row.is_some_and(|row| row.contains(&material.release) && row.ends_with("yes")),
        "{listed}"
    );
    // What is cached needs no Nix.
    let output = kiln
        .plain(["kernels", "fetch"])
        .env("PATH", "/nowhere")
        .run();
    output.assert_code(0);

    // The pin holds when the flake changes, until it is renewed.
    let changed = fs::read_to_string(kiln.work().join("flake.nix"))
        .unwrap()
        .replace("linux-6.1", "linux-6.1-changed");
    kiln.file("flake.nix", changed);
    on(&store, kiln.plain(["kernels", "fetch"]))
        .run()
        .assert_code(0);
    let same = fs::read_to_string(kiln.work().join("kernels.lock")).unwrap();
    assert_eq!(same, lock);
    let output = on(&store, kiln.plain(["kernels", "update", "kernel"])).run();
    output.assert_code(0);
    let told = output.out();
    assert!(
        told.starts_with(&format!("kernel\t{pinned} -> /nix/store/"))
            && told.ends_with("-linux-6.1-changed\n"),
        "{told}"
    );
}

#[test]
fn an_output_without_a_kernel_is_reported_in_one_line_with_a_command_for_details() {
    let kiln = flake(
        r#"
        empty = make "empty" "mkdir $out; echo nothing > $out/readme";
        failing = make "failing" "echo compiling; echo no such header >&2; exit 3";
        waiting = make "waiting" "cp ${failing} $out";
        unfree = throw "Package ‘linux-nonfree’ has an unfree license (‘unfree’), refusing to evaluate.";
        "#,
        &["empty", "failing", "waiting", "unfree", "missing"],
    );
    let store = Store::new(&kiln);
    // A chroot store's files are not in /nix/store on this host.
    let list = format!("ls {}/nix/store/", store.root().display());
    for (name, cause, more) in [
        (
            "empty",
            "there is no kernel image in /nix/store/",
            list.as_str(),
        ),
        ("failing", "failed with exit code 3", "log "),
        ("waiting", "-failing.drv' failed with exit code 3", "log "),
        ("unfree", "has an unfree license", "build "),
        (
            "missing",
            "does not provide attribute 'packages.x86_64-linux.missing'",
            "build ",
        ),
    ] {
        let output = on(&store, kiln.plain(["exec", "-k", name, "--", "true"])).run();
        output.assert_code(125).assert_err_contains(cause);
        let err = output.err();
        let errors = err
            .lines()
            .filter(|line| line.starts_with("error:"))
            .count();
        assert_eq!(errors, 1, "{err}");
        let hint = err.lines().find(|line| line.contains("with: "));
        assert!(
            hint.is_some_and(|hint| hint.contains(more)),
            "{name}: {err}"
        );
        let lock = kiln.work().join("kernels.lock");
        assert!(!lock.exists(), "{name} was pinned");
    }
}

#[test]
fn the_suggested_command_prints_the_log_of_a_failed_build() {
    let kiln = flake(
        r#"failing = make "failing" "echo first line of the log; exit 3";"#,
        &["failing"],
    );
    let store = Store::new(&kiln);
    let output = on(&store, kiln.plain(["kernels", "fetch"])).run();
    output.assert_code(96);
    let err = output.err();
    let command = err
        .lines()
        .find_map(|line| line.split_once("see more with: "));
    let (_, command) = command.unwrap_or_else(|| panic!("{err}"));
    let told = store.command("sh").args(["-c", command]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told, "first line of the log\n", "{command}");
}

#[test]
fn without_nix_the_error_says_what_to_install_and_what_works_without() {
    let kiln = flake("", &["kernel"]);
    let output = kiln
        .plain(["kernels", "fetch"])
        .env("PATH", "/nowhere")
        .run();
    output
        .assert_code(96)
        .assert_err_contains("cannot build .#kernel: nix is not installed")
        .assert_err_contains("nix-bin on Debian")
        .assert_err_contains("a kernel with an apt, url or path source needs no Nix");
}

#[test]
fn a_pinned_path_that_no_store_has_is_built_again_if_the_result_is_the_same() {
    let kiln = flake(
        r#"kernel = make "linux-6.1" "mkdir $out; cp -r ${./tree}/boot ${./tree}/lib $out/";"#,
        &["kernel"],
    );
    Material::of(&Kiln::new()).unpack(&kiln.work().join("tree"), &[]);
    let first = Store::named(&kiln, "first");
    on(&first, kiln.plain(["kernels", "fetch"]))
        .run()
        .assert_code(0);
    // Another machine: the same lock, another store, another cache.
    let elsewhere = Store::named(&kiln, "elsewhere");
    let cache = kiln.path("other cache");
    fs::create_dir(&cache).unwrap();
    let fetch = || {
        on(&elsewhere, kiln.plain(["kernels", "fetch"]))
            .env("KILN_CACHE_DIR", &cache)
            .run()
    };
    let lock = kiln.work().join("kernels.lock");
    let pinned = fs::read_to_string(&lock).unwrap();
    fetch().assert_code(0);
    assert_eq!(fs::read_to_string(&lock).unwrap(), pinned);

    fs::remove_dir_all(&cache).unwrap();
    fs::create_dir(&cache).unwrap();
    let other = pinned.replace("-linux-6.1\"", "-linux-0.0\"");
    fs::write(&lock, &other).unwrap();
    fetch()
        .assert_code(96)
        .assert_err_contains("which is in no store, but .#kernel now gives /nix/store/")
        .assert_err_contains("kiln kernels update kernel");
    assert_eq!(fs::read_to_string(&lock).unwrap(), other);
}
