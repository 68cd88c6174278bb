# `nix fmt` formats Rust and Nix files; with arguments, only those Nix files.
{ pkgs }:

pkgs.writeShellScriptBin "format" ''
  set -eu
  if [ $# -gt 0 ]; then
    exec ${pkgs.lib.getExe pkgs.nixpkgs-fmt} "$@"
  fi
  ${pkgs.lib.getExe pkgs.nixpkgs-fmt} flake.nix nix
  PATH=${pkgs.rustfmt}/bin:$PATH exec ${pkgs.cargo}/bin/cargo fmt --all
''
