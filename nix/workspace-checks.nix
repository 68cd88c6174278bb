# This workspace: build, lints, format, unit tests.
{ pkgs, kiln }:

let
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
}
