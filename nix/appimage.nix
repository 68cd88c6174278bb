# One file that runs anywhere: bpftrace and its closure, without files that it
# does not read at run time.
{ pkgs, nix-appimage, bpftrace }:

let
  inherit (pkgs) lib pkgsStatic;
  mkAppImage = pkgsStatic.callPackage "${nix-appimage}/mkAppImage.nix" {
    mkappimage-runtime =
      pkgsStatic.callPackage "${nix-appimage}/runtimes/appimage-type2-runtime" { };
    mkappimage-apprun = pkgsStatic.callPackage "${nix-appimage}/appruns/userns-chroot" { };
  };
in
mkAppImage {
  program = lib.getExe bpftrace;
  name = "bpftrace.AppImage";
  # Static libraries, headers and Python. Quoted twice: mkAppImage puts the words
  # into a shell script.
  squashfsArgs = [ "-wildcards" "-e" ]
    ++ map (pattern: "'... ${pattern}'") [ "*.a" "*.h" "*.py" "*.pyc" "*.whl" ];
}
