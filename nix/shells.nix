# Development shells: one for each LLVM, for both bpftrace and kiln.
{ pkgs, kiln, bpftraces, default }:

let
  inherit (pkgs) lib;

  rust = with pkgs; [ cargo clippy rustc rustfmt ];
  harness = rust ++ kiln.nativeBuildInputs ++ kiln.buildInputs ++ (with pkgs; [
    glibc.static # cargo builds guest-init statically
    patchelf
    qemu_kvm
    squashfsTools
  ]);

  shell = bpftrace: pkgs.mkShell {
    inputsFrom = [ bpftrace ];
    packages = harness ++ import ./guest-tools.nix { inherit pkgs; }
      ++ [ pkgs.git pkgs.go pkgs.gnumake ];
    # _FORTIFY_SOURCE causes warnings in builds without optimisation.
    hardeningDisable = [ "all" ];
  };
in
lib.mapAttrs (_: shell) bpftraces // {
  default = shell default;

  # `make fuzz`.
  fuzz = pkgs.mkShell {
    packages = harness ++ [ pkgs.cargo-fuzz pkgs.gnumake ];
    hardeningDisable = [ "all" ];
  };
}
