# PID 1 of the guests. Call it with the static package set (musl).
{ lib, rustPlatform, source }:

rustPlatform.buildRustPackage {
  pname = "guest-init";
  version = (lib.importTOML ../Cargo.toml).workspace.package.version;
  src = source;
  cargoLock.lockFile = ../Cargo.lock;

  cargoBuildFlags = [ "--package" "guest-init" "--bin" "guest-init" ];
  # Use the workspace's own profile, for a small binary.
  buildType = "guest";
  # The check `tests` runs the unit tests.
  doCheck = false;

  meta = {
    description = "PID 1 of a kiln guest";
    license = lib.licenses.asl20;
    mainProgram = "guest-init";
    platforms = lib.platforms.linux;
  };
}
