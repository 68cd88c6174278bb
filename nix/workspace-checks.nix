# Checks of this workspace: build, lints, format, unit tests; workflows and scripts.
{ pkgs, kiln }:

let
  inherit (pkgs) lib;

  scripts = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [ ../.github ../action.yml ../scripts ];
  };

  check = name: packages: command: kiln.overrideAttrs (old: {
    pname = "kiln-${name}";
    nativeBuildInputs = old.nativeBuildInputs ++ packages;
    buildPhase = ''
      runHook preBuild
      ${command}
      runHook postBuild
    '';
    installPhase = "touch $out";
    postInstall = "";
    dontFixup = true;
  });
in
{
  build = kiln;
  clippy = check "clippy" [ pkgs.clippy ]
    "cargo clippy --workspace --all-targets --locked --offline -- -D warnings";
  fmt = check "fmt" [ pkgs.rustfmt ] "cargo fmt --all --check";
  tests = check "tests" [ ] "cargo test --workspace --locked --offline --lib --bins";

  # actionlint brings shellcheck, for the scripts in the workflows.
  workflows = pkgs.runCommand "workflows"
    { nativeBuildInputs = [ pkgs.actionlint pkgs.shellcheck ]; } ''
    cp -r ${scripts} source
    chmod -R u+w source
    cd source
    # Local actions are only looked up inside a repository.
    mkdir .git
    actionlint -verbose
    # The others are not for a shell.
    shellcheck $(grep -l '^#!.*sh$' scripts/*)
    touch $out
  '';
}
