# The libraries that bpftrace needs in certain revisions. Every pin is here.
# docs/nix.md says how to check and update them.
{ pkgs, llvm }:

{
  # Builds with LLVM 22 need patches that are in no release. The revision is
  # that of bpftrace's own flake.
  bcc = (pkgs.bcc.override {
    llvmPackages = pkgs."llvmPackages_${llvm}";
  }).overridePythonAttrs (old: {
    version = "0-unstable-2cc6d1ad";
    src = pkgs.fetchFromGitHub {
      owner = "iovisor";
      repo = "bcc";
      rev = "2cc6d1ade647db5bf1dab91be3b18569868779ce";
      hash = "sha256-eHPhNGjtFXOGHLGCANsyl+MrUhsCVvQ2lOKI/lcbd/8=";
    };
    # LLVM 22's static Clang libraries are parts of libclang-cpp.so, not
    # meant for linking on their own.
    cmakeFlags = old.cmakeFlags ++ [ (pkgs.lib.cmakeBool "ENABLE_LLVM_SHARED" true) ];
  });

  # The revision of bpftrace's submodule, which GitHub's archives leave out.
  # bpftrace needs this revision or a newer one.
  libbpf = pkgs.libbpf.overrideAttrs {
    version = "0-unstable-3f077472";
    src = pkgs.fetchFromGitHub {
      owner = "libbpf";
      repo = "libbpf";
      rev = "3f077472ee7e703b733c2c9ae15ef3f4c13ee25b";
      hash = "sha256-2cX/d5W2ojMtQxNc+FO7oBfecXGjCOw0aoPOHj40zvM=";
    };
  };
}
