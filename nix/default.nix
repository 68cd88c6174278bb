# The outputs of the flake: which attribute comes from which file.
{ self, nixpkgs, nix-appimage, bpftrace }:

let
  inherit (nixpkgs) lib;

  # Oldest first: the last one is the default.
  llvmVersions = [ "18" "19" "20" "21" "22" ];
  systems = [ "x86_64-linux" "aarch64-linux" ];

  mkKernelMatrix = import ./matrix.nix { inherit self nixpkgs; };

  forSystem = system:
    let
      pkgs = nixpkgs.legacyPackages.${system};
      source = import ./source.nix { inherit lib; };
      libraries = import ./libraries.nix { inherit pkgs; llvm = lib.last llvmVersions; };

      guest-init = pkgs.callPackage ./guest-init.nix { inherit source; };
      kiln = pkgs.callPackage ./kiln.nix { inherit source guest-init; };
      kernels = import ./kernels.nix { inherit pkgs; };
      bpftraces = lib.listToAttrs (map (llvm: lib.nameValuePair "bpftrace-llvm${llvm}" (
        pkgs.callPackage ./bpftrace.nix { inherit llvm libraries; source = bpftrace; }
      )) llvmVersions);
      default = bpftraces."bpftrace-llvm${lib.last llvmVersions}";
      shells = import ./shells.nix { inherit pkgs kiln bpftraces llvmVersions; };
    in
    {
      packages = bpftraces // kernels // {
        inherit default guest-init kiln;
        appimage = import ./appimage.nix { inherit pkgs nix-appimage; bpftrace = default; };
      };

      devShells = shells;

      apps.default = {
        type = "app";
        program = lib.getExe kiln;
        meta.description = "Run bpftrace's tests in the kernels of kernels.toml";
      };

      formatter = import ./formatter.nix { inherit pkgs; };

      checks = import ./workspace-checks.nix { inherit pkgs kiln; }
        // { kernels = import ./kernels-check.nix { inherit pkgs kernels; }; }
        # kiln boots x86-64 kernels.
        // lib.optionalAttrs (system == "x86_64-linux") (mkKernelMatrix {
        kernels = lib.filterAttrs (name: _: name != "kernel-testing") kernels;
        package = default;
        suites.bpftrace = { inherit (default) tests; shards = 2; };
      });
    };

  perSystem = lib.genAttrs systems forSystem;
  # { SYSTEM.packages = …; } → { packages.SYSTEM = …; }
  output = name: lib.mapAttrs (_: outputs: outputs.${name}) perSystem;
in
lib.genAttrs [ "packages" "devShells" "apps" "formatter" "checks" ] output
// { lib = { inherit llvmVersions mkKernelMatrix; }; }
