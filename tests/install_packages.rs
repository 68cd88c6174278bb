//! `scripts/install-packages`: which packages it chooses on which release, by programs that stand
//! in for apt and dpkg.

use std::process::{Command, Output};

use crate::support::{Kiln, checkout};

/// What a release's apt answers.
struct Release {
    kiln: Kiln,
}

impl Release {
    /// A release that lacks `absent`, and that only knows `virtual_names` as names that other
    /// packages provide.
    fn new(absent: &[&str], virtual_names: &[&str]) -> Self {
        let kiln = Kiln::with_empty_cache();
        kiln.program(
            "bin/apt-cache",
            format!(
                "#!/bin/sh\nfor name; do :; done\ncase \" {} \" in *\" $name \"*) exit 100;; esac\n\
                 case \" {} \" in *\" $name \"*) exit 0;; esac\necho \"Package: $name\"\n",
                absent.join(" "),
                virtual_names.join(" ")
            ),
        );
        kiln.program("bin/apt-get", "#!/bin/sh\necho \"$*\" >>asked\n");
        // What the file `installed` lists is there.
        kiln.program(
            "bin/dpkg-query",
            "#!/bin/sh\nfor name; do :; done\n\
             grep -qx \"$name\" installed 2>/dev/null && printf 'install ok installed'\n",
        );
        for program in ["cargo", "sudo"] {
            kiln.program(&format!("bin/{program}"), "#!/bin/sh\nexec \"$@\"\n");
        }
        Self { kiln }
    }

    fn run(&self, args: &[&str]) -> Output {
        let bin = self.kiln.work().join("bin");
        Command::new(checkout().join("scripts/install-packages"))
            .args(args)
            .current_dir(self.kiln.work())
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .output()
            .unwrap()
    }

    /// What it asks apt-get to install.
    fn chosen(&self) -> Vec<String> {
        let output = self.run(&[]);
        assert!(output.status.success(), "{output:?}");
        let asked = std::fs::read_to_string(self.kiln.work().join("asked")).unwrap();
        let install = asked
            .lines()
            .find(|line| line.contains("install "))
            .unwrap();
        let words = install
            .split_whitespace()
            .skip_while(|word| *word != "install");
        words
            .skip(1)
            .filter(|word| !word.starts_with('-') && !word.contains('='))
            .map(str::to_owned)
            .collect()
    }
}

#[test]
fn each_release_gets_the_packages_that_it_has() {
    for (release, absent, virtual_names, expected) in [
        (
            "Debian 12",
            &[][..],
            &[][..],
            ["python3-distutils", "bpftool"],
        ),
        (
            "Debian 13",
            &["python3-distutils"],
            &[],
            ["python3-looseversion", "bpftool"],
        ),
        // There, two packages provide bpftool, and apt installs neither by that name.
        (
            "Ubuntu 24.04",
            &["python3-distutils"],
            &["bpftool"],
            ["python3-looseversion", "linux-tools-common"],
        ),
    ] {
        let chosen = Release::new(absent, virtual_names).chosen();
        assert!(chosen.len() > 30, "{release}: {chosen:?}");
        for package in ["qemu-system-x86", "bpftrace", "docker-registry", "rpm"] {
            assert!(chosen.iter().any(|name| name == package), "{release}");
        }
        for package in expected {
            assert!(
                chosen.iter().any(|name| name == package),
                "{release}: {chosen:?}"
            );
        }
        for package in absent.iter().chain(virtual_names) {
            assert!(
                chosen.iter().all(|name| name != package),
                "{release}: {chosen:?}"
            );
        }
        assert!(chosen.iter().all(|name| !name.contains('|')), "{chosen:?}");
    }
}

#[test]
fn what_is_installed_under_either_name_is_not_missing() {
    let release = Release::new(&["python3-distutils"], &["bpftool"]);
    let all = release.chosen();
    release.kiln.file("installed", all.join("\n") + "\n");
    let output = release.run(&["--check"]);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    let fewer = all.into_iter().filter(|name| name != "linux-tools-common");
    let fewer = fewer.collect::<Vec<_>>().join("\n");
    release.kiln.file("installed", fewer + "\n");
    let output = release.run(&["--check"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("bpftool or linux-tools-common: "), "{told}");
}
