{
  description = "kiln: tests programs against kernels in QEMU microVMs, and builds bpftrace for each LLVM";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

    # Sources, not flakes: only their files are used, so their own inputs
    # need no locking.
    nix-appimage = {
      url = "github:ralismark/nix-appimage";
      flake = false;
    };
    # To build a working copy: --override-input bpftrace path:../bpftrace
    bpftrace = {
      url = "github:bpftrace/bpftrace";
      flake = false;
    };
  };

  outputs = inputs: import ./nix inputs;
}
