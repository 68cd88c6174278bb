{
  description = "kiln: programs tested against kernels in QEMU microVMs, and bpftrace built for each LLVM";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

    # Sources, not flakes: only files of theirs are used, so that their own
    # inputs need no locking.
    nix-appimage = {
      url = "github:ralismark/nix-appimage";
      flake = false;
    };
    # A working copy: --override-input bpftrace path:../bpftrace
    bpftrace = {
      url = "github:bpftrace/bpftrace";
      flake = false;
    };
  };

  outputs = inputs: import ./nix inputs;
}
