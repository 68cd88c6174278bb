# Development shells: one for each LLVM, for both bpftrace and kiln; two for
# fuzzing.
{ pkgs, kiln, bpftraces, llvmVersions }:

let
  inherit (pkgs) lib;

  rust = with pkgs; [ cargo clippy rustc rustfmt ];
  harness = rust ++ kiln.nativeBuildInputs ++ kiln.buildInputs ++ (with pkgs; [
    glibc.static # cargo builds guest-init statically
    patchelf
    qemu_test # as in nix/kiln.nix
    squashfsTools
  ]);

  # What bpftrace's maintainers call. `kiln gtest` stands for gtest-parallel,
  # which is not in nixpkgs.
  tools = llvm: with pkgs; [
    llvm.clang-tools # clang-format; a clang-tidy that finds Nix' headers
    llvm.libclang.python # git-clang-format
    (python3.withPackages (python: [ python.looseversion ])) # the tests' engine
    git
    gnumake
    go
    shellcheck
  ];

  shellWith = packages: version: pkgs.mkShell {
    inputsFrom = [ bpftraces."bpftrace-llvm${version}" ];
    packages = packages ++ tools pkgs."llvmPackages_${version}" ++ harness
      ++ import ./guest-tools.nix { inherit pkgs; };
    # _FORTIFY_SOURCE causes warnings in builds without optimisation.
    hardeningDisable = [ "all" ];
    # `cc` is GCC's, as in bpftrace's own shells: clang's wrapper, which bpftrace's
    # build lists, also has one, and comes before the compilers of stdenv.
    shellHook = "export PATH=${pkgs.stdenv.cc}/bin:$PATH";
  };
  shell = shellWith [ ];

  # AFL++ instruments with the LLVM that bpftrace links, or strange things happen.
  fuzzLlvm = "18";
  afl = pkgs.aflplusplus.override {
    clang = pkgs."clang_${fuzzLlvm}";
    inherit (pkgs."llvmPackages_${fuzzLlvm}") llvm;
    llvmPackages = pkgs."llvmPackages_${fuzzLlvm}";
  };
in
lib.listToAttrs (map
  (version: lib.nameValuePair "bpftrace-llvm${version}" (shell version))
  llvmVersions)
// {
  default = shell (lib.last llvmVersions);

  # `make fuzz`, of kiln's own parsers.
  kiln-fuzz = pkgs.mkShell {
    packages = harness ++ [ pkgs.cargo-fuzz pkgs.gnumake ];
    hardeningDisable = [ "all" ];
  };
}
  # AFL++ is only for x86-64 in nixpkgs.
  // lib.optionalAttrs pkgs.stdenv.hostPlatform.isx86_64 {
  # `kiln ci fuzz`, of bpftrace.
  bpftrace-fuzz = shellWith [ afl ] fuzzLlvm;
}
