//! The names of the flake's outputs, from a Nix without nixpkgs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::checkout;

/// Enough of nixpkgs to name the outputs: values are never looked at.
const NAMES: &str = r#"
let
  lib = builtins // {
    last = list: builtins.elemAt list (builtins.length list - 1);
    nameValuePair = name: value: { inherit name value; };
    optionalAttrs = condition: set: if condition then set else { };
    genAttrs = names: f:
      builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
  };
  outputs = import (root + "/nix") {
    self = { };
    nixpkgs = {
      inherit lib;
      legacyPackages.x86_64-linux = { inherit lib; stdenv.hostPlatform.isx86_64 = true; };
    };
    nix-appimage = { };
    bpftrace = { };
  };
in
{
  packages = builtins.attrNames outputs.packages.x86_64-linux;
  shells = builtins.attrNames outputs.devShells.x86_64-linux;
  systems = builtins.attrNames outputs.packages;
  lib = builtins.attrNames outputs.lib;
  inputs = builtins.attrNames (import (root + "/flake.nix")).inputs;
  workspaceChecks = builtins.attrNames
    (import (root + "/nix/workspace-checks.nix") { pkgs = { inherit lib; }; kiln = { }; });
}
"#;

/// A file of this checkout.
pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(checkout().join(name)).unwrap()
}

/// Nix without this machine's stores and settings.
pub(crate) fn nix_instantiate() -> Command {
    let mut command = Command::new("nix-instantiate");
    command
        .env_remove("NIX_PATH")
        .env("NIX_REMOTE", "dummy://")
        .env("NIX_CONF_DIR", "/nonexistent");
    command
}

/// A path in a Nix expression; a bare one has no blanks.
pub(crate) fn nix_path(path: &Path) -> String {
    format!("(/. + \"{}\")", path.display())
}

/// The output of a command that must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .expect("the package nix-bin is installed: scripts/install-packages");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names that `NAMES` has for `what`.
pub(crate) fn names(what: &str) -> BTreeSet<String> {
    let expression = format!("let root = {}; in ({NAMES}).{what}", nix_path(checkout()));
    let json = run(nix_instantiate()
        .args(["--eval", "--strict", "--json", "--expr"])
        .arg(expression));
    serde_json::from_str(&json).unwrap()
}

/// The name that follows `.#` in the text.
pub(crate) fn installables(text: &str) -> BTreeSet<String> {
    text.split(".#")
        .skip(1)
        .map(|rest| {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)));
            rest[..end.unwrap_or(rest.len())].to_owned()
        })
        .filter(|name| !name.is_empty())
        .collect()
}
