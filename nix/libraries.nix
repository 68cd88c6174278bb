# The libraries that bpftrace needs in certain revisions. Every pin is here.
# docs/nix.md says how to check and update them.
{ pkgs, llvm }:

let
  inherit (pkgs) lib;

  # A library of nixpkgs, or the pinned one while nixpkgs' is older than the
  # first release that has what bpftrace needs.
  since = release: package: pinned:
    if lib.versionAtLeast package.version release then package else pinned package;
in
{
  # For builds with LLVM 22: patches that are in no release up to 0.36.1. The
  # revision is that of bpftrace's own flake. Can go when nixpkgs has 0.37.
  bcc = since "0.37"
    (pkgs.bcc.override { llvmPackages = pkgs."llvmPackages_${llvm}"; })
    (bcc: bcc.overridePythonAttrs (old: {
      version = "0-unstable-2cc6d1ad";
      src = pkgs.fetchFromGitHub {
        owner = "iovisor";
        repo = "bcc";
        rev = "2cc6d1ade647db5bf1dab91be3b18569868779ce";
        hash = "sha256-eHPhNGjtFXOGHLGCANsyl+MrUhsCVvQ2lOKI/lcbd/8=";
      };
      # LLVM 22's static Clang libraries are parts of libclang-cpp.so, not
      # meant for linking on their own.
      cmakeFlags = old.cmakeFlags ++ [ (lib.cmakeBool "ENABLE_LLVM_SHARED" true) ];
    }));

  # The revision of bpftrace's submodule, which GitHub's archives leave out: 25
  # commits after 1.6.0, and it does not build with glibc 2.43. Can go when
  # flake.lock's nixpkgs has 1.7.
  libbpf = since "1.7" pkgs.libbpf (libbpf: libbpf.overrideAttrs {
    version = "0-unstable-3f077472";
    src = pkgs.fetchFromGitHub {
      owner = "libbpf";
      repo = "libbpf";
      rev = "3f077472ee7e703b733c2c9ae15ef3f4c13ee25b";
      hash = "sha256-2cX/d5W2ojMtQxNc+FO7oBfecXGjCOw0aoPOHj40zvM=";
    };
  });
}
