//! Builds guest-init, which `kiln` embeds: one file is the whole installation.
//!
//! `KILN_GUEST_INIT` names an existing binary instead (Nix builds it in a separate derivation).

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Statically linked against glibc, the one target that every toolchain has.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// For rustc. The index of stack frames goes with their descriptions, which
/// `discard-frames.ld` leaves out.
const FLAGS: [&str; 6] = [
    "-C",
    "target-feature=+crt-static",
    "-C",
    "relocation-model=static",
    "-C",
    "link-arg=-Wl,--no-eh-frame-hdr",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=KILN_GUEST_INIT");
    let ready = env::var_os("KILN_GUEST_INIT").filter(|path| !path.is_empty());
    let init = match ready {
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo::rerun-if-changed={}", path.display());
            path
        }
        None => build()?,
    };
    println!("cargo::rustc-env=KILN_GUEST_INIT_PATH={}", init.display());
    println!("cargo::rustc-env=KILN_TARGET={}", env::var("TARGET")?);
    println!("cargo::rustc-env=KILN_VIRTIOFSD={}", locked("virtiofsd"));
    Ok(())
}

/// The version of a crate in `Cargo.lock`, which a published crate has beside its `Cargo.toml`.
fn locked(name: &str) -> String {
    let dir = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let read = |file: &str| {
        let path = Path::new(&dir).join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        std::fs::read_to_string(path).ok()
    };
    let lock = read("../Cargo.lock").or_else(|| read("Cargo.lock"));
    let lock = lock.unwrap_or_default();
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = lock
        .split_once(&entry)
        .and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("of an unknown version").to_owned()
}

fn build() -> Result<PathBuf, Box<dyn Error>> {
    // Beside this crate in a checkout, and in cargo's registry after `cargo install`.
    let crate_dir = PathBuf::from(env::var("DEP_KILN_GUEST_INIT_ROOT")?);
    let profile = crate_dir.join("profile.toml");
    let script = crate_dir.join("discard-frames.ld");
    let workspace = ["../Cargo.toml", "../Cargo.lock"];
    let inputs = ["src", "Cargo.toml", "profile.toml", "discard-frames.ld"];
    for input in inputs.iter().chain(&workspace) {
        let input = crate_dir.join(input);
        // What is missing would count as changed.
        if input.exists() {
            println!("cargo::rerun-if-changed={}", input.display());
        }
    }
    let script = format!("link-arg=-Wl,-T,{}", script.display());
    let flags = [&FLAGS[..], &["-C", &script]].concat();
    // A separate target directory, because the outer cargo holds the lock on its own.
    let target_dir = PathBuf::from(env::var("OUT_DIR")?).join("guest");
    let status = Command::new(env::var("CARGO")?)
        .current_dir(&crate_dir)
        .args(["build", "--package", "guest-init", "--bin", "guest-init"])
        .args(["--profile", "guest", "--target", TARGET])
        .arg("--config")
        .arg(&profile)
        .arg("--target-dir")
        .arg(&target_dir)
        // Separated so that a path may have spaces in it.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // The outer build's wrapper (clippy) must not apply here.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("CARGO_TARGET_DIR")
        .status()?;
    if !status.success() {
        return Err(format!("building guest-init failed: {status}").into());
    }
    Ok(target_dir.join(TARGET).join("guest/guest-init"))
}
