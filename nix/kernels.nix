# The kernels to test on, all with BTF. Except for 5.10 they are nixpkgs' own
# derivations, so that binary caches have them: a check compares the paths.
{ pkgs }:

let
  inherit (pkgs) lib;

  # `nix build` builds the image and the modules. Does not change the path.
  withModules = kernel: lib.addMetaAttrs
    {
      outputsToInstall = [ "out" ] ++ lib.optional (lib.elem "modules" kernel.outputs) "modules";
    }
    kernel;

  # nixpkgs enables BTF from 5.11 on. To say so again would change the path.
  withBtf = kernel:
    if lib.versionAtLeast kernel.version "5.11" then kernel
    else kernel.override { structuredExtraConfig.DEBUG_INFO_BTF = lib.kernel.yes; };

  # What bpftrace's own CI boots; built for x86-64 only.
  prebuilt = version: hash: pkgs.stdenvNoCC.mkDerivation {
    pname = "kernel-bpftrace";
    inherit version;
    src = pkgs.fetchurl {
      url = "https://github.com/bpftrace/kernels/releases/download/assets/linux-v${version}.tar.zst";
      sha256 = hash;
    };
    nativeBuildInputs = [ pkgs.zstd ];
    installPhase = ''
      runHook preInstall
      cp -r . $out
      runHook postInstall
    '';
    # These files are for a guest.
    dontFixup = true;
    meta.platforms = [ "x86_64-linux" ];
  };
in
lib.mapAttrs (_: kernel: withModules (withBtf kernel))
{
  kernel-5_10 = pkgs.linux_5_10;
  kernel-5_15 = pkgs.linux_5_15;
  kernel-6_1 = pkgs.linux_6_1;
  kernel-6_6 = pkgs.linux_6_6;
  kernel-6_12 = pkgs.linux_6_12;
  kernel-6_18 = pkgs.linux_6_18;
  kernel-latest = pkgs.linux_latest;
  kernel-testing = pkgs.linux_testing;
}
  // lib.optionalAttrs pkgs.stdenv.hostPlatform.isx86_64 {
  kernel-bpftrace-6_14 = prebuilt "6.14.4"
    "0gvbw38vmbccvz64b3ljqiwkkgil0hgnlakpdjang038pxsxddmr";
}
