# PID 1 of the guests, static with glibc: Rust's standard library for it is in
# every binary cache, which that for musl is not. The flags are those of
# harness/build.rs.
{ lib, rustPlatform, glibc, source }:

rustPlatform.buildRustPackage {
  pname = "guest-init";
  version = (lib.importTOML ../Cargo.toml).workspace.package.version;
  src = source;
  cargoLock.lockFile = ../Cargo.lock;

  buildInputs = [ glibc.static ];
  cargoBuildFlags = [ "--package" "guest-init" "--bin" "guest-init" "--config" "guest-init/profile.toml" ];
  # The profile of that file, for a small binary.
  buildType = "guest";
  # nixpkgs gives cargo a target, so that these are not for build scripts.
  env.RUSTFLAGS = lib.concatStringsSep " " [
    "-C target-feature=+crt-static"
    "-C relocation-model=static"
    "-C link-arg=-Wl,--no-eh-frame-hdr"
    "-C link-arg=-Wl,-T,${../guest-init/discard-frames.ld}"
  ];
  # nixpkgs turns off the profile's own stripping, and strips only debug
  # information by default.
  stripAllList = [ "bin" ];
  # The check `tests` runs the unit tests.
  doCheck = false;

  meta = {
    description = "PID 1 of a kiln guest";
    license = lib.licenses.asl20;
    mainProgram = "guest-init";
    platforms = lib.platforms.linux;
  };
}
