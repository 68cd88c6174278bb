//! A matrix of kernels and shards as derivations that Nix spreads over two builders: results are
//! kept whatever the verdicts, `kiln merge` joins them into one run, and a gate judges them.

use std::fs;
use std::path::PathBuf;

use crate::support::nix_support::Store;
use crate::support::suite;
use crate::support::{Kiln, checkout};

/// Two kernels, two shards. A cell always succeeds, with the run's directory and
/// kiln's exit status as its output: Nix keeps no output of a failed build.
const MATRIX: &str = r#"
let
  make = name: features: script: derivation {
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    requiredSystemFeatures = features;
    PATH = "/usr/sbin:/usr/bin";
    args = [ "-c" script ];
  };
  filter = "^call.printf$:^suite\\.";
  cell = lab: shard: kernel: make "cell-${kernel}-${lab}" [ "kvm" "lab-${lab}" ] ''
    export HOME=$PWD XDG_STATE_HOME=$PWD KILN_CACHE_DIR=/kiln/cache KILN_ACCEL=tcg
    mkdir $out
    /kiln/kiln --config /kiln/kernels.toml run -k ${kernel} --tests /kiln/tests \
      --bpftrace /usr/bin/bpftrace -t '${filter}' --shard slice:${shard} \
      --run-dir $out/run > $out/log 2>&1
    echo $? > $out/status
  '';
in rec {
  cells = {
    a = map (cell "a" "1/2") [ "6.1" "6.12" ];
    b = map (cell "b" "2/2") [ "6.1" "6.12" ];
  };
  gate = builtins.mapAttrs (lab: cells: make "gate-${lab}" [ "lab-${lab}" ] ''
    for cell in ${toString cells}; do
      [ "$(cat $cell/status)" = 0 ] || { echo "$cell: unexpected verdicts"; exit 1; }
    done
    echo passed > $out
  '') cells;
  all = cells.a ++ cells.b;
}
"#;

/// One of our own tests that passes and one that fails.
const SUITE: &str = "NAME right
RUN echo right
EXPECT right
TIMEOUT 5

NAME wrong
RUN echo wrong
EXPECT right
TIMEOUT 5
";

#[test]
fn a_matrix_of_kernels_and_shards_is_spread_over_two_builders() {
    let kiln = Kiln::with_copied_cache();
    let main = Store::named(&kiln, "main");
    let builders = ["a", "b"].map(|lab| (lab, Store::named(&kiln, &format!("builder-{lab}"))));
    let tests = kiln.path("tests/runtime");
    fs::create_dir_all(&tests).unwrap();
    let from = checkout().join("target/bpftrace/tests/runtime");
    fs::copy(from.join("call"), tests.join("call")).unwrap();
    fs::write(tests.join("suite"), SUITE).unwrap();
    // Nix separates paths by blanks, which the checkout's may have.
    let here = kiln.copy_program();
    // In a chroot store a build sees only what it declares, and these: kiln, QEMU and bpftrace of
    // this host, which would be store paths in real use.
    main.configure(&format!(
        "sandbox-paths = /bin=/usr/bin /usr /lib=/usr/lib /lib64=/usr/lib64 \
         /kiln/kiln={here}/kiln /kiln/kernels.toml={here}/kernels.toml \
         /kiln/kernels.lock={here}/kernels.lock /kiln/cache={} /kiln/tests={}\n",
        kiln.cache().display(),
        tests.parent().unwrap().display(),
        here = here.display(),
    ));
    let matrix = kiln.file("matrix.nix", MATRIX);
    let machines: Vec<String> = builders
        .iter()
        .map(|(lab, store)| {
            let root = store.root().display();
            format!("local?root={root} x86_64-linux - 1 1 kvm,lab-{lab}")
        })
        .collect();
    let build = |attribute: &str| {
        main.command("nix")
            .args(["build", "--json", "--no-link", "--impure", "-L", "--store"])
            .arg(main.root())
            .args(["--max-jobs", "0", "--builders", &machines.join(" ; ")])
            .arg("--file")
            .arg(&matrix)
            .arg(attribute)
            .output()
            .expect("the package nix-bin is installed: scripts/install-packages")
    };

    let slot = crate::support::take_slot();
    let output = build("all");
    drop(slot);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let cells: Vec<&str> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| cell["outputs"]["out"].as_str().unwrap())
        .collect();
    assert_eq!(cells.len(), 4, "{cells:?}");

    // Each machine built its half, and all results came back.
    for (lab, store) in &builders {
        let built: Vec<_> = fs::read_dir(store.root().join("nix/store"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("-cell-"))
            .collect();
        assert_eq!(built.len(), 2, "{lab}: {built:?}");
        let suffix = format!("-{lab}");
        assert!(
            built.iter().all(|name| name.ends_with(&suffix)),
            "{built:?}"
        );
    }
    let runs: Vec<PathBuf> = cells
        .iter()
        .map(|cell| main.on_host(cell).join("run"))
        .collect();
    let mut shards: Vec<String> = runs
        .iter()
        .map(|run| suite::events(run)[0]["shard"].as_str().unwrap().to_owned())
        .collect();
    shards.sort();
    assert_eq!(shards, ["slice:1/2", "slice:1/2", "slice:2/2", "slice:2/2"]);

    // Together they are the run of all tests on both kernels.
    let merged = kiln
        .plain(["merge", "--run-dir", "whole"])
        .args(&runs)
        .run();
    merged.assert_code(100);
    let report = merged.out();
    assert!(!report.contains("warning"), "{report}");
    assert!(!report.contains("not run"), "{report}");
    let verdicts = suite::verdicts(&kiln.path("work/whole"));
    let expected: Vec<_> = ["6.1", "6.12"]
        .iter()
        .flat_map(|kernel| {
            [
                ("call.printf", "pass"),
                ("suite.right", "pass"),
                ("suite.wrong", "fail"),
            ]
            .map(|(id, verdict)| ((*kernel).to_owned(), id.to_owned(), verdict.to_owned()))
        })
        .collect();
    assert_eq!(verdicts, expected);

    // The first shard has what fails.
    let gate = build("gate.b");
    assert!(
        gate.status.success(),
        "{}",
        String::from_utf8_lossy(&gate.stderr)
    );
    let gate = build("gate.a");
    assert!(!gate.status.success());
    let err = String::from_utf8_lossy(&gate.stderr);
    assert!(err.contains("-cell-6.1-a: unexpected verdicts"), "{err}");
    kiln.assert_nothing_left();
}
