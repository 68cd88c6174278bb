//! The steps and their commands.

use std::ffi::OsString;
use std::path::PathBuf;

use super::environment::Environment;
use crate::config::Sanitizer;
use crate::run::partition::Partition;
use crate::suite::bpftrace::Dialect;

/// cmake's build directory below the working directory, as in upstream's ci.py.
const BUILD: &str = "build-ci";

/// A step, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Name {
    /// Runs cmake
    Configure,
    /// Builds bpftrace and its tests
    Build,
    /// Runs the unit tests (gtest), on this machine, several at a time
    Gtest,
    /// Runs tests/self-tests.sh in each kernel
    SelfTests,
    /// Runs the runtime tests in each kernel
    RuntimeTests,
    /// Lets bpftrace parse its tools in each kernel
    ToolsParsing,
    /// Runs the tests of programs compiled ahead of time in each kernel
    Aot,
    /// Lets bpftrace attach its tools in each kernel, and compares that with the kernel's types
    Btf,
    /// Runs AFL++ for a few executions, on this machine; only if named
    Fuzz,
}

impl Name {
    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Build => "build",
            Self::Gtest => "gtest",
            Self::SelfTests => "self-tests",
            Self::RuntimeTests => "runtime-tests",
            Self::ToolsParsing => "tools-parsing",
            Self::Aot => "aot",
            Self::Btf => "btf",
            Self::Fuzz => "fuzz",
        }
    }

    /// The step without which this one cannot run.
    pub fn needs(self) -> Option<Self> {
        match self {
            Self::Configure => None,
            Self::Build => Some(Self::Configure),
            _ => Some(Self::Build),
        }
    }

    /// Whether it runs tests: then a failure means failed tests, not failed set-up.
    pub fn tests(self) -> bool {
        !matches!(self, Self::Configure | Self::Build)
    }

    /// Whether it runs another kiln, with kiln's exit codes.
    pub fn runs_kiln(self) -> bool {
        self.runs_suite() || self.boots()
    }

    /// Whether that kiln has a run directory.
    pub fn runs_suite(self) -> bool {
        matches!(self, Self::Gtest | Self::RuntimeTests | Self::Aot)
    }

    /// Whether it boots kernels.
    pub fn boots(self) -> bool {
        matches!(
            self,
            Self::SelfTests | Self::RuntimeTests | Self::ToolsParsing | Self::Aot | Self::Btf
        )
    }

    /// Whether it only runs if it is named: it needs a build of its own.
    pub fn by_name_only(self) -> bool {
        self == Self::Fuzz
    }
}

/// What to test, and on what.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The development shell, as in `.#bpftrace-llvm20`.
    pub shell: String,
    /// Kernels, as for `kiln run -k`.
    pub kernels: Vec<String>,
    /// `CMAKE_BUILD_TYPE`.
    pub build_type: String,
    /// C and C++ compilers.
    pub compilers: (String, String),
    /// Sanitizers; usually none.
    pub sanitizers: Vec<Sanitizer>,
    /// Further variables of cmake, `NAME=VALUE`.
    pub defines: Vec<String>,
    /// Targets of cmake to build; empty means all.
    pub targets: Vec<String>,
    /// Number of parallel build processes.
    pub jobs: usize,
    /// The dialect of the runtime and AOT tests, as for `kiln run --dialect`; by default that of
    /// the engine beside them.
    pub dialect: Option<&'static Dialect>,
    /// Filters for runtime tests, as for `kiln run -t`.
    pub filters: Vec<String>,
    /// The part of the runtime and AOT tests to run; by default all.
    pub shard: Option<Partition>,
    /// File that lists the AOT tests to run; by default all.
    pub aot_allowlist: Option<PathBuf>,
    /// The catalogue of kernels, absolute; by default what `kiln` finds in the steps' directory or
    /// above.
    pub config: Option<PathBuf>,
    /// Contains the run directories of the unit, runtime and AOT tests, absolute; by default they are in
    /// the usual place.
    pub run_dir: Option<PathBuf>,
    /// The sources, where commands run.
    pub directory: PathBuf,
    /// The kiln that boots kernels: its own path.
    pub kiln: PathBuf,
    /// The part of the caller's environment that commands see.
    pub environment: Environment,
}

impl Settings {
    /// The run directory of a step that has one, if it was given.
    pub fn run_dir_of(&self, step: Name) -> Option<PathBuf> {
        let dir = self.run_dir.as_ref().filter(|_| step.runs_suite())?;
        Some(dir.join(step.as_str()))
    }
}

/// One step, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub name: Name,
    /// The whole command: `nix develop … --command …`.
    pub argv: Vec<OsString>,
    /// Where it runs.
    pub directory: PathBuf,
}

impl Step {
    /// Its command in shell syntax, to show it.
    pub fn line(&self) -> String {
        let words = self.argv.iter().map(|word| {
            let word = word.to_string_lossy();
            shlex::try_quote(&word).map_or_else(|_| word.to_string(), std::borrow::Cow::into_owned)
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// All steps, in their order.
pub fn steps(settings: &Settings) -> Vec<Step> {
    [
        (Name::Configure, configure(settings)),
        (Name::Build, build(settings)),
        (Name::Gtest, gtest(settings)),
        (Name::SelfTests, exec(settings, "./tests/self-tests.sh")),
        (Name::RuntimeTests, runtime_tests(settings)),
        (
            Name::ToolsParsing,
            exec(settings, "./tests/tools-parsing-test.sh"),
        ),
        (Name::Aot, aot(settings)),
        (Name::Btf, btf(settings)),
        (Name::Fuzz, fuzz()),
    ]
    .into_iter()
    .map(|(name, command)| Step {
        name,
        argv: settings.environment.develop(&settings.shell, command),
        // Unit tests and scripts look for their files relative to the build directory.
        directory: if name.tests() {
            settings.directory.join(BUILD)
        } else {
            settings.directory.clone()
        },
    })
    .collect()
}

fn configure(settings: &Settings) -> Vec<OsString> {
    let on = |sanitizer| u8::from(settings.sanitizers.contains(&sanitizer));
    let mut command = words(&["cmake", "-B", BUILD]);
    command.extend(
        [
            format!("-DCMAKE_C_COMPILER={}", settings.compilers.0),
            format!("-DCMAKE_CXX_COMPILER={}", settings.compilers.1),
            format!("-DCMAKE_BUILD_TYPE={}", settings.build_type),
            format!("-DBUILD_ASAN={}", on(Sanitizer::Address)),
            format!("-DBUILD_UBSAN={}", on(Sanitizer::Undefined)),
            "-DCMAKE_VERBOSE_MAKEFILE=1".to_owned(),
            "-DBUILD_TESTING=1".to_owned(),
            "-DENABLE_SKB_OUTPUT=1".to_owned(),
            "-DHARDENED_STDLIB=1".to_owned(),
        ]
        .map(OsString::from),
    );
    let defines = settings.defines.iter();
    command.extend(defines.map(|define| format!("-D{define}").into()));
    command
}

fn build(settings: &Settings) -> Vec<OsString> {
    let jobs = settings.jobs.to_string();
    let mut command = Vec::new();
    if settings.compilers.0.starts_with("afl-") {
        // AFL++'s compilers take no option for it.
        command.extend(words(&["env", "AFL_USE_ASAN=1"]));
    }
    command.extend(words(&["cmake", "--build", BUILD, "--parallel", &jobs]));
    if !settings.targets.is_empty() {
        command.push("--target".into());
        command.extend(settings.targets.iter().map(OsString::from));
    }
    command
}

fn gtest(settings: &Settings) -> Vec<OsString> {
    let mut command: Vec<OsString> = vec![settings.kiln.clone().into(), "gtest".into()];
    command.extend(words(&["--jobs", &settings.jobs.to_string()]));
    if let Some(run_dir) = settings.run_dir_of(Name::Gtest) {
        command.push("--run-dir".into());
        command.push(run_dir.into());
    }
    command.push("./tests/bpftrace_test".into());
    command
}

/// The smoke run of upstream's ci.py: ten executions from one trivial program.
fn fuzz() -> Vec<OsString> {
    let prepare = "rm -rf inputs outputs && mkdir inputs outputs && \
                   echo 'BEGIN {}' > inputs/seed.bt && exec \"$@\"";
    let mut command = words(&["sh", "-c", prepare, "sh", "env"]);
    command.extend(words(&[
        "AFL_NO_AFFINITY=1",
        // The machine's core pattern stays as it is.
        "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1",
        "ASAN_OPTIONS=abort_on_error=1,symbolize=0",
        "BPFTRACE_BTF=",
        "BPFTRACE_AVAILABLE_FUNCTIONS_TEST=",
    ]));
    command.extend(words(&["afl-fuzz", "-M", "0", "-m", "none"]));
    command.extend(words(&["-i", "inputs", "-o", "outputs", "-E", "10"]));
    command.extend(words(&["-t", "60000", "--"]));
    command.extend(words(&["src/bpftrace", "--test=codegen", "@@"]));
    command
}

/// How many times slower than without a program with these sanitizers is, at most: two to four
/// times with ASan, less than twice with UBSan (clang's documentation of both).
fn build_scale(sanitizers: &[Sanitizer]) -> Option<&'static str> {
    if sanitizers.contains(&Sanitizer::Address) {
        Some("4")
    } else if sanitizers.contains(&Sanitizer::Undefined) {
        Some("2")
    } else {
        None
    }
}

fn runtime_tests(settings: &Settings) -> Vec<OsString> {
    let mut command = kiln(settings, "run");
    for filter in &settings.filters {
        // One word: a filter may begin with a hyphen.
        command.push(format!("--filter={filter}").into());
    }
    suite(command, settings, Name::RuntimeTests)
}

fn aot(settings: &Settings) -> Vec<OsString> {
    let mut command = kiln(settings, "run");
    command.extend(words(&["--aot", "--filter", r"^aot\."]));
    if let Some(list) = &settings.aot_allowlist {
        command.push("--allowlist".into());
        command.push(settings.directory.join(list).into());
    }
    suite(command, settings, Name::Aot)
}

fn btf(settings: &Settings) -> Vec<OsString> {
    let mut command = kiln(settings, "btf check");
    command.extend(words(&["--load", "--bpftrace"]));
    command.push(settings.directory.join(BUILD).join("src/bpftrace").into());
    command.push(settings.directory.join("tools/*.bt").into());
    command
}

fn suite(mut command: Vec<OsString>, settings: &Settings, step: Name) -> Vec<OsString> {
    let build = settings.directory.join(BUILD);
    if let Some(shard) = settings.shard {
        command.push("--shard".into());
        command.push(shard.to_string().into());
    }
    if let Some(dialect) = settings.dialect {
        command.extend(words(&["--dialect", dialect.name]));
    }
    if let Some(scale) = build_scale(&settings.sanitizers) {
        command.extend(words(&["--build-scale", scale]));
    }
    if let Some(run_dir) = settings.run_dir_of(step) {
        command.push("--run-dir".into());
        command.push(run_dir.into());
    }
    command.push("--tests".into());
    command.push(build.join("tests").into());
    command.push("--bpftrace".into());
    command.push(build.join("src/bpftrace").into());
    command.push("bpftrace".into());
    command
}

fn exec(settings: &Settings, script: &str) -> Vec<OsString> {
    let mut command = kiln(settings, "exec");
    for variable in settings.environment.names() {
        command.push("--env".into());
        command.push(variable.into());
    }
    command.extend(words(&["--", script]));
    command
}

fn kiln(settings: &Settings, subcommand: &str) -> Vec<OsString> {
    let mut command: Vec<OsString> = vec![settings.kiln.clone().into()];
    if let Some(config) = &settings.config {
        command.push("--config".into());
        command.push(config.into());
    }
    command.extend(subcommand.split(' ').map(OsString::from));
    for kernel in &settings.kernels {
        command.push("-k".into());
        command.push(kernel.into());
    }
    command
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(Into::into).collect()
}
