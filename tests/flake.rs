//! The flake without a nixpkgs: its files parse, and the names of its outputs, kernels.toml and the
//! docs agree. Debian's Nix evaluates the names; their values need nixpkgs (docs/nix.md).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::support::checkout;
use crate::support::flake::{installables, names, nix_instantiate, nix_path, read, run};

#[test]
fn every_nix_file_parses() {
    let mut files: Vec<PathBuf> = fs::read_dir(checkout().join("nix"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "nix"))
        .collect();
    files.push(checkout().join("flake.nix"));
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let parsed = run(nix_instantiate().arg("--parse").arg(&file));
        assert!(!parsed.trim().is_empty(), "{}", file.display());
    }
}

#[test]
fn nix_builds_the_workspace_from_every_file_that_its_sources_read() {
    let source = read("nix/source.nix");
    let given: Vec<PathBuf> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("../"))
        .map(|path| checkout().join(path))
        .collect();
    assert!(given.len() > 5, "{given:?}");
    let mut read_by_sources = 0;
    for part in ["harness", "guest-init"] {
        for entry in walkdir::WalkDir::new(checkout().join(part)) {
            let file = entry.unwrap().into_path();
            if file.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            // `Path::new(env!("CARGO_MANIFEST_DIR")).join("../…")` as `concat!` would have it.
            let text = fs::read_to_string(&file)
                .unwrap()
                .replace("_DIR\")).join(\"../", "_DIR\"), \"/../");
            let beside = file.parent().unwrap();
            // `include_str!("…")` and `concat!(env!("CARGO_MANIFEST_DIR"), "/…")`.
            let included = text.split("include_str!(\"").skip(1);
            let included = included.map(|rest| beside.join(upto_quote(rest)));
            let named = text.split("env!(\"CARGO_MANIFEST_DIR\"), \"/").skip(1);
            let named = named.map(|rest| checkout().join("harness").join(upto_quote(rest)));
            for path in included.chain(named) {
                let Ok(path) = path.canonicalize() else {
                    panic!("{} reads {}", file.display(), path.display());
                };
                let there = given.iter().any(|given| path.starts_with(given));
                assert!(there, "nix/source.nix lacks {}", path.display());
                read_by_sources += 1;
            }
        }
    }
    assert!(read_by_sources >= 4, "{read_by_sources}");
}

fn upto_quote(text: &str) -> &str {
    text.split('"').next().unwrap_or_default()
}

#[test]
fn the_flakes_kernels_are_those_of_its_catalogue() {
    let built: BTreeSet<String> = names("packages")
        .into_iter()
        .filter(|name| name.starts_with("kernel-"))
        .collect();
    let catalogue: toml::Table = read("nix/kernels.toml").parse().unwrap();
    let mut listed = BTreeSet::new();
    for (name, kernel) in catalogue["kernels"].as_table().unwrap() {
        let attribute = format!("kernel-{}", name.replace('.', "_"));
        let installable = kernel["nix"].as_str().unwrap();
        assert_eq!(installable, format!("..#{attribute}"), "kernel {name}");
        listed.insert(attribute);
    }
    assert_eq!(built, listed);

    // Users who move from Debian's kernels to the flake's can keep `@quick`.
    let debian: toml::Table = read("kernels.toml").parse().unwrap();
    assert_eq!(debian["groups"]["quick"], catalogue["groups"]["quick"]);
}

#[test]
fn the_docs_name_every_output_and_no_other() {
    let packages = names("packages");
    let shells = names("shells");
    let doc = read("docs/nix.md");
    for name in packages.union(&shells) {
        assert!(doc.contains(&format!("`{name}`")), "docs/nix.md: {name}");
    }
    // Checks are not in `NAMES`; the docs name them with their system.
    for name in ["nix.md", "roots.md"] {
        for installable in installables(&read(&format!("docs/{name}"))) {
            assert!(
                packages.contains(&installable)
                    || shells.contains(&installable)
                    || ["checks", "packages"].contains(&installable.as_str()),
                "docs/{name}: .#{installable} is no output of the flake"
            );
        }
    }
    for system in names("systems") {
        assert!(doc.contains(&system), "docs/nix.md: {system}");
    }
}

#[test]
fn every_input_is_locked_with_a_hash() {
    let lock: serde_json::Value = serde_json::from_str(&read("flake.lock")).unwrap();
    let root = lock["nodes"]["root"]["inputs"].as_object().unwrap();
    let locked: BTreeSet<String> = root.keys().cloned().collect();
    assert_eq!(locked, names("inputs"));
    for (input, node) in root {
        let node = &lock["nodes"][node.as_str().unwrap()]["locked"];
        let hash = node["narHash"].as_str().unwrap();
        // SHA-256 in base 64.
        assert!(hash.starts_with("sha256-") && hash.len() == 51, "{input}");
        assert_eq!(node["rev"].as_str().unwrap().len(), 40, "{input}");
    }
}

/// Enough of nixpkgs to see the commands of the checks.
const CHECKS: &str = r#"
let
  lib = builtins // {
    concatMapAttrs = f: set:
      builtins.foldl' (a: b: a // b) { } (builtins.attrValues (builtins.mapAttrs f set));
    concatMapStringsSep = between: f: list: builtins.concatStringsSep between (map f list);
    escapeShellArg = word: word;
    escapeShellArgs = builtins.concatStringsSep " ";
    getBin = package: package;
    nameValuePair = name: value: { inherit name value; };
    optionals = condition: list: if condition then list else [ ];
    optionalString = condition: text: if condition then text else "";
    range = from: to: builtins.genList (n: from + n) (to - from + 1);
  };
  # No tools: `import` is seen only where the file names one.
  matrix = builtins.scopedImport { import = file: _: [ ]; } (root + "/nix/matrix.nix");
in
matrix
  {
    self.packages.x86_64-linux.kiln = "kiln";
    nixpkgs = {
      inherit lib;
      legacyPackages.x86_64-linux = {
        inherit lib;
        runCommand = name: attributes: text: text;
        writeText = name: text: name;
      };
    };
  }
  {
    kernels.k = "kernel";
    package = { stdenv.hostPlatform.system = "x86_64-linux"; outPath = "bpftrace"; };
    suites.named = { tests = "tests"; dialect = "0.26"; };
    suites.plain = { tests = "tests"; };
  }
"#;

#[test]
fn a_suite_of_the_checks_may_name_its_dialect() {
    let expression = format!("let root = {}; in {CHECKS}", nix_path(checkout()));
    let json = run(nix_instantiate()
        .args(["--eval", "--strict", "--json", "--expr"])
        .arg(expression));
    let checks: BTreeMap<String, String> = serde_json::from_str(&json).unwrap();
    let named = &checks["k-named-1-of-1"];
    assert!(named.contains(" --dialect 0.26 "), "{named}");
    let plain = &checks["k-plain-1-of-1"];
    assert!(plain.contains(" --tests tests "), "{plain}");
    assert!(!plain.contains("--dialect"), "{plain}");
}
