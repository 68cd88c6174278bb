# bpftrace with one LLVM. Its output `tests` is for `kiln run --tests`.
{ lib
, stdenv
, pkgs
, asciidoctor
, blazesym-c
, bpftools
, cereal
, cmake
, elfutils
, go
, gtest
, libbfd
, libffi
, libopcodes
, libpcap
, ninja
, pahole
, patchelf
, pkg-config
, rustc
, systemdLibs
, xxd
, zip
, zlib
, llvm
, libraries
, source
}:

let
  llvmPackages = pkgs."llvmPackages_${llvm}";
in
stdenv.mkDerivation {
  pname = "bpftrace-llvm${llvm}";
  version = "0-unstable-${source.shortRev or "working-copy"}";
  src = source;

  outputs = [ "out" "tests" ];

  nativeBuildInputs = [
    asciidoctor
    bpftools
    cmake
    go # for the test program hello_go, which is left out silently without it
    llvmPackages.clang # for BPF objects of the build and the tests
    ninja
    pahole
    patchelf
    pkg-config
    rustc # the same for hello_rust
    xxd
    zip
  ];

  buildInputs = [
    blazesym-c
    cereal
    elfutils
    gtest
    libbfd
    libffi
    libopcodes
    libpcap
    libraries.bcc
    libraries.libbpf
    llvmPackages.libclang
    llvmPackages.llvm
    systemdLibs
    zlib
  ];

  cmakeFlags = [
    (lib.cmakeFeature "CMAKE_BUILD_TYPE" "Release")
    (lib.cmakeBool "BUILD_TESTING" true)
    (lib.cmakeBool "ENABLE_SYSTEMD" true)
    (lib.cmakeBool "USE_SYSTEM_LIBBPF" true)
  ];

  # go keeps a cache there.
  preBuild = "export HOME=$TMPDIR";

  # The built tests, without files that only the build needs. Programs that
  # found their libraries in the build directory find them in the output.
  postInstall = ''
    mkdir -p $tests
    cp -r tests/. $tests/
    find $tests \( -name CMakeFiles -o -name '*.o' -o -name '*.a' -o -name '*.cmake' \) \
      -prune -exec rm -rf {} +
    find $tests -type f | while read -r file; do
      path=$(patchelf --print-rpath "$file" 2>/dev/null) || continue
      case $path in
        *"$PWD"*) patchelf --set-rpath "''${path//$PWD\/tests/$tests}" "$file" ;;
      esac
    done
  '';

  meta = {
    description = "High-level tracing language for Linux, built with LLVM ${llvm}";
    homepage = "https://bpftrace.org";
    license = lib.licenses.asl20;
    mainProgram = "bpftrace";
    platforms = [ "x86_64-linux" "aarch64-linux" ];
  };
}
