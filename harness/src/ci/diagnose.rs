//! Why a step failed, if the development shell is the cause: it does not exist, or it
//! lacks a compiler or a sanitizer.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::step::{Name, Settings};
use crate::child::Supervised;
use crate::config::{Sanitizer, nearest_first};

/// How long each look may take: Nix may fetch what it evaluates.
const DEADLINE: Duration = Duration::from_secs(300);

/// Prints a line for each compiler that is not there, or cannot do what it should. Arguments: what
/// `-fsanitize` gets, or nothing; then the compilers.
const LOOK: &str = r#"sanitizers=$1; shift
for compiler; do
  if ! command -v "$compiler" >/dev/null; then echo "missing $compiler"; continue; fi
  [ -n "$sanitizers" ] || continue
  out=$(mktemp) || exit 0
  echo 'int main(void) { return 0; }' |
    "$compiler" "-fsanitize=$sanitizers" -x c -o "$out" - >/dev/null 2>&1 ||
    echo "plain $compiler"
  rm -f "$out"
done"#;

/// The cause and what to do, in one line; `None` if the shell has what `step` needs. `stopped` says
/// that the shell itself may be the cause.
pub async fn diagnose(settings: &Settings, step: Name, stopped: bool) -> Option<String> {
    // A compiler may fail because of its sanitizers only when it is used.
    let compiles =
        step == Name::Configure || step == Name::Build && !settings.sanitizers.is_empty();
    if !stopped && !compiles {
        return None;
    }
    let sanitizers: Vec<&str> = settings
        .sanitizers
        .iter()
        .map(|sanitizer| match sanitizer {
            Sanitizer::Address => "address",
            Sanitizer::Undefined => "undefined",
        })
        .collect();
    let sanitizers = sanitizers.join(",");
    let (cc, cxx) = &settings.compilers;
    let mut look = vec!["sh", "-c", LOOK, "sh", &sanitizers];
    if compiles {
        look.extend([cc.as_str(), cxx.as_str()]);
    }
    let look = look.into_iter().map(OsString::from).collect();
    let shell = &settings.shell;
    let Some(looked) = output(settings, settings.environment.develop(shell, look)).await else {
        return no_shell(settings).await;
    };
    let otherwise = "name another one with --cc and --cxx, or another shell with --llvm, --shell \
                      or --flake";
    let line = looked.lines().next()?;
    if let Some(compiler) = line.strip_prefix("missing ") {
        return Some(format!(
            "the shell {shell} has no compiler `{compiler}`; {otherwise}"
        ));
    }
    let compiler = line.strip_prefix("plain ")?;
    Some(format!(
        "`{compiler}` of the shell {shell} cannot build with -fsanitize={sanitizers}; {otherwise}"
    ))
}

/// Why the shell cannot be entered, if the flake lacks it.
async fn no_shell(settings: &Settings) -> Option<String> {
    let (flake, name) = settings.shell.rsplit_once('#')?;
    // The same names as in Nix.
    let system = format!("{}-linux", std::env::consts::ARCH);
    let names = [
        "nix",
        "--extra-experimental-features",
        "nix-command flakes",
        "eval",
        "--json",
        &format!("{flake}#devShells.{system}"),
        "--apply",
        "builtins.attrNames",
    ];
    let what_to_do = "name a shell with --llvm N (bpftrace-llvmN) or --shell NAME, or another \
                      flake with --flake";
    let Some(json) = output(settings, names.map(OsString::from).into()).await else {
        return Some(format!(
            "{flake} is not a flake with development shells for {system}; {what_to_do}"
        ));
    };
    let names: Vec<String> = serde_json::from_str(&json).ok()?;
    if names.iter().any(|known| known == name) {
        return Some(format!(
            "Nix cannot enter the shell {flake}#{name}; it says why above"
        ));
    }
    let known = nearest_first(name, names.iter().map(String::as_str)).join(", ");
    Some(format!(
        "the flake {flake} has no development shell `{name}`; it has: {known}; {what_to_do}"
    ))
}

/// What a command printed, if it succeeded.
async fn output(settings: &Settings, argv: Vec<OsString>) -> Option<String> {
    let (program, arguments) = argv.split_first()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&settings.directory)
        .env_clear()
        .envs(settings.environment.of_nix(|name| std::env::var_os(name)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ran = tokio::time::timeout(DEADLINE, Supervised::output(command)).await;
    let output = ran.ok()?.ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
