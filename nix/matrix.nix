# mkKernelMatrix: kernels × suites × shards as checks.
#
#   mkKernelMatrix {
#     kernels = { kernel-6_6 = DERIVATION; … };
#     suites.NAME = { tests = DIRECTORY; filters = [ "^call" ]; shards = 4; dialect = "head"; };
#     package = BPFTRACE;
#   }
#
# Of a suite, only `tests` is required: the directory that holds runtime/. Without
# `dialect` the engine beside the tests determines their version. A cell always
# succeeds, with the run directory and kiln's exit code as its output: Nix would
# keep nothing of a failed build. The gate fails on unexpected verdicts.
{ self, nixpkgs }:

{ kernels, suites, package }:

let
  inherit (nixpkgs) lib;
  inherit (package.stdenv.hostPlatform) system;
  pkgs = nixpkgs.legacyPackages.${system};
  inherit (self.packages.${system}) kiln;
  quote = lib.escapeShellArg;

  # Image and modules in one directory.
  tree = name: kernel: pkgs.runCommand "${name}-tree" { } ''
    mkdir $out
    ln -s ${kernel}/* $out/
    ${lib.optionalString (kernel ? modules) ''
      rm -f $out/lib
      ln -s ${kernel.modules}/lib $out/lib
    ''}
  '';

  # JSON strings are valid TOML strings.
  catalogue = name: kernel: pkgs.writeText "${name}.toml" ''
    [defaults]
    memory = "2G"
    modules = [ "kvm", "nf_tables", "xfs" ]

    [kernels.${builtins.toJSON name}]
    path = ${builtins.toJSON "${tree name kernel}"}
  '';

  cell = name: kernel: suite: { tests, filters ? [ ], dialect ? null, ... }: index: shards:
    let
      arguments = [
        "--config" (catalogue name kernel)
        "run"
        "--root" "nix"
        "--kernel" name
        "--tests" "${tests}"
        "--shard" "slice:${toString index}/${toString shards}"
      ]
      ++ lib.optionals (dialect != null) [ "--dialect" dialect ]
      ++ lib.concatMap (filter: [ "--filter" filter ]) filters
      ++ lib.concatMap (tool: [ "--package" "${lib.getBin tool}" ])
        ([ package ] ++ import ./guest-tools.nix { inherit pkgs; });
    in
    pkgs.runCommand "${name}-${suite}-${toString index}-of-${toString shards}"
      {
        requiredSystemFeatures = [ "kvm" ];
        nativeBuildInputs = [ kiln ];
      } ''
      export HOME=$PWD XDG_STATE_HOME=$PWD/state KILN_CACHE_DIR=$PWD/cache
      mkdir $out
      status=0
      kiln ${lib.escapeShellArgs arguments} --run-dir $out/run 2>&1 | tee $out/log ||
        status=''${PIPESTATUS[0]}
      echo $status > $out/status
    '';

  cells = lib.concatMapAttrs
    (suiteName: suite: lib.concatMapAttrs
      (name: kernel:
        let shards = suite.shards or 1; in
        lib.listToAttrs (map
          (index: lib.nameValuePair
            "${name}-${suiteName}-${toString index}-of-${toString shards}"
            (cell name kernel suiteName suite index shards))
          (lib.range 1 shards)))
      kernels)
    suites;

  gate = pkgs.runCommand "gate" { } ''
    failed=0
    for cell in ${lib.concatMapStringsSep " " quote (lib.attrValues cells)}; do
      if [ "$(cat "$cell/status")" != 0 ]; then
        echo "$cell: kiln exited with $(cat "$cell/status"); see $cell/log" >&2
        failed=1
      fi
    done
    [ $failed = 0 ]
    echo passed > $out
  '';
in
cells // { inherit gate; }
