# That each kernel is nixpkgs' own, which binary caches have. Fails when it is
# evaluated: nothing is built.
{ pkgs, kernels }:

let
  inherit (pkgs) lib;

  # Not in nixpkgs, or with BTF, which nixpkgs leaves out before 5.11.
  others = [ "kernel-5_10" "kernel-bpftrace-6_14" ];

  differs = name:
    let own = pkgs.${"linux_" + lib.removePrefix "kernel-" name}; in
    kernels.${name}.outPath != own.outPath;

  changed = lib.filter differs (lib.subtractLists others (lib.attrNames kernels));
in
if changed == [ ] then
  pkgs.runCommand "kernels" { } "echo 'all of nixpkgs' > $out"
else
  throw "no binary cache has ${lib.concatStringsSep ", " changed}: no longer nixpkgs' own"
