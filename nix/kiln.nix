# kiln with its QEMU; guest-init comes from a build of its own.
{ lib
, rustPlatform
, pkg-config
, makeWrapper
, libcap_ng
, libseccomp
, qemu_test
, source
, guest-init
}:

rustPlatform.buildRustPackage {
  pname = "kiln";
  version = (lib.importTOML ../Cargo.toml).workspace.package.version;
  src = source;
  cargoLock.lockFile = ../Cargo.lock;

  cargoBuildFlags = [ "--package" "kiln" "--bin" "kiln" ];
  nativeBuildInputs = [ pkg-config makeWrapper ];
  buildInputs = [ libcap_ng libseccomp ];

  # harness/build.rs embeds it instead of building its own.
  env.KILN_GUEST_INIT = lib.getExe guest-init;

  # The check `tests` runs the unit tests; the end-to-end tests need VMs.
  doCheck = false;

  # A QEMU on the user's PATH comes first. This is the one that NixOS' own tests
  # boot: binary caches have it, without GTK, SPICE and PipeWire. Over 9p, which
  # only kernels without virtiofs need, root owns all its files.
  postInstall = ''
    wrapProgram $out/bin/kiln --suffix PATH : ${lib.makeBinPath [ qemu_test ]}
  '';

  meta = {
    description = "Tests programs against kernels in QEMU microVMs, as an ordinary user";
    license = lib.licenses.asl20;
    mainProgram = "kiln";
    platforms = lib.platforms.linux;
  };
}
