//! Real Nix stores for a test: its own chroot stores, filled from programs of the host, without a
//! network.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Invocation, Kiln};

/// Nix without a network, a daemon or build users. In a chroot store builds run
/// in namespaces whatever `sandbox` says.
const CONFIGURATION: &str = "experimental-features = nix-command flakes
substituters =
flake-registry =
build-users-group =
sandbox = false
";

/// From Debian's package busybox-static.
const BUSYBOX: &str = "/bin/busybox";

/// Where a glibc for x86-64 looks for its loader.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// A chroot store in a test's own directory, which belongs to the kiln's user.
#[derive(Debug)]
pub(crate) struct Store<'k> {
    kiln: &'k Kiln,
    root: PathBuf,
}

impl<'k> Store<'k> {
    /// An empty one.
    pub(crate) fn new(kiln: &'k Kiln) -> Self {
        Self::named(kiln, "st")
    }

    /// An empty one in this directory of the test.
    pub(crate) fn named(kiln: &'k Kiln, name: &str) -> Self {
        kiln.file("conf/nix.conf", CONFIGURATION);
        let root = kiln.path(name);
        fs::create_dir_all(&root).unwrap();
        kiln.give(&root);
        Self { kiln, root }
    }

    /// Adds settings to Nix's configuration.
    pub(crate) fn configure(&self, settings: &str) {
        let text = format!("{CONFIGURATION}{settings}");
        self.kiln.file("conf/nix.conf", text);
    }

    /// Its root, as for `--store`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a store path is on the host.
    pub(crate) fn on_host(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Runs `nix` as the kiln's user and returns its output.
    pub(crate) fn nix<A: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> String {
        let output = self
            .command("nix")
            .args(args)
            .output()
            .expect("the package nix-bin is installed: scripts/install-packages");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A program of the host with Nix set up for the test.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = self.kiln.host_command(program);
        command.env("NIX_CONF_DIR", self.configuration());
        command
    }

    /// Kiln with Nix set up for the test.
    pub(crate) fn with<'a>(&self, kiln: Invocation<'a>) -> Invocation<'a> {
        kiln.env("NIX_CONF_DIR", self.configuration())
    }

    fn configuration(&self) -> PathBuf {
        self.kiln.work().join("conf")
    }

    /// Adds a directory or a file under this name, without references.
    pub(crate) fn add(&self, path: &Path, name: &str) -> String {
        self.kiln.give(path);
        let root = self.root.as_os_str();
        let args = [
            "store".as_ref(),
            "add-path".as_ref(),
            "--store".as_ref(),
            root,
        ];
        let rest = ["--name".as_ref(), name.as_ref(), path.as_os_str()];
        self.nix(args.into_iter().chain(rest))
    }

    /// Builds an expression and returns its output.
    pub(crate) fn build(&self, expression: &str) -> String {
        let root = self.root.to_str().unwrap();
        let told = self.nix([
            "build",
            "--store",
            root,
            "--impure",
            "--no-link",
            "--json",
            "--expr",
            expression,
        ]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        told[0]["outputs"]["out"].as_str().unwrap().to_owned()
    }

    /// The names of a closure's paths, sorted.
    pub(crate) fn closure(&self, paths: &[&str]) -> Vec<String> {
        let root = self.root.to_str().unwrap();
        let args = ["path-info", "-r", "--store", root];
        let told = self.nix(args.iter().chain(paths));
        let mut names: Vec<String> = told
            .lines()
            .map(|path| path.trim_start_matches("/nix/store/").to_owned())
            .collect();
        names.sort();
        names
    }

    /// busybox with a link for each of its programs.
    pub(crate) fn busybox(&self) -> String {
        let tree = self.kiln.path("material/busybox");
        let bin = tree.join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy(BUSYBOX, bin.join("busybox"))
            .expect("the package busybox-static is installed: scripts/install-packages");
        let listed = Command::new(BUSYBOX).arg("--list").output().unwrap();
        for applet in String::from_utf8(listed.stdout).unwrap().lines() {
            if applet != "busybox" {
                symlink("busybox", bin.join(applet)).unwrap();
            }
        }
        self.add(&tree, "busybox-1.35")
    }

    /// A program of the host as a package `NAME`: with a C library, other libraries and, if it has
    /// one, LLVM in separate store paths, so that its closure has several paths. Needs
    /// [`busybox`](Self::busybox).
    pub(crate) fn program(&self, program: &Path, name: &str, busybox: &str) -> String {
        let material = self.kiln.path(format!("material/{name}"));
        let mut places = Vec::new();
        for (file, library) in libraries(program) {
            let place = if is_glibc(&file) {
                "glibc-2.36"
            } else if file.starts_with("libLLVM") {
                "llvm-14"
            } else {
                "libraries-1"
            };
            let dir = material.join(place).join("lib");
            fs::create_dir_all(&dir).unwrap();
            fs::copy(&library, dir.join(&file)).unwrap();
            if !is_glibc(&file) {
                // A library's own DT_RPATH would hide the program's.
                patchelf(&["--remove-rpath".as_ref(), dir.join(&file).as_os_str()]);
            }
            if !places.contains(&place) {
                places.push(place);
            }
        }
        fs::copy(LOADER, material.join("glibc-2.36/lib/ld-linux-x86-64.so.2")).unwrap();
        let packages: Vec<String> = places
            .iter()
            .map(|place| self.add(&material.join(place), place))
            .collect();
        let glibc = packages
            .iter()
            .find(|path| path.contains("-glibc-"))
            .unwrap();
        let run_path: Vec<String> = packages.iter().map(|path| format!("{path}/lib")).collect();
        let patched = material.join("program");
        fs::copy(program, &patched).unwrap();
        // DT_RPATH, unlike DT_RUNPATH, also applies to the libraries' libraries.
        patchelf(&[
            "--set-interpreter".as_ref(),
            format!("{glibc}/lib/ld-linux-x86-64.so.2").as_ref(),
            "--force-rpath".as_ref(),
            "--set-rpath".as_ref(),
            run_path.join(":").as_ref(),
            patched.as_os_str(),
        ]);
        let patched = self.add(&patched, "patched");
        let file = program.file_name().unwrap().to_str().unwrap();
        // Nix finds the references in what the builder leaves.
        self.build(&format!(
            "let path = builtins.storePath; in derivation {{
               name = \"{name}\"; system = \"x86_64-linux\";
               builder = \"${{path {busybox}}}/bin/sh\";
               PATH = \"${{path {busybox}}}/bin\";
               program = path {patched}; libraries = map path [ {packages} ];
               args = [ \"-c\" ''mkdir -p $out/bin; cp $program $out/bin/{file}; chmod 755 $out/bin/{file}'' ];
             }}",
            packages = packages.join(" "),
        ))
    }
}

/// File names and paths of what ldd(1) says that a program loads.
fn libraries(program: &Path) -> Vec<(String, PathBuf)> {
    let told = Command::new("ldd").arg(program).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    told.lines()
        .filter_map(|line| {
            let (name, rest) = line.trim().split_once(" => ")?;
            let path = rest.split_whitespace().next()?;
            path.starts_with('/')
                .then(|| (name.to_owned(), path.into()))
        })
        .collect()
}

fn is_glibc(file: &str) -> bool {
    ["libc.", "libm.", "libdl.", "librt.", "libpthread."]
        .iter()
        .any(|prefix| file.starts_with(prefix))
}

fn patchelf(args: &[&std::ffi::OsStr]) {
    let file = Path::new(args.last().unwrap());
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    let status = Command::new("patchelf")
        .args(args)
        .status()
        .expect("the package patchelf is installed: scripts/install-packages");
    assert!(status.success(), "patchelf {args:?}");
}
