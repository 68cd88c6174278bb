//! Checks GitHub's workflows and actions as far as this repository can, and that what they name
//! exists.

use std::collections::BTreeSet;
use std::fs;

use crate::support::flake;
use crate::support::{Kiln, checkout};
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

/// Files of this directory, and of one level below, that are YAML.
fn yaml_files(dir: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(checkout().join(dir)).max_depth(2) {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|extension| extension == "yml") {
            found.push((path.display().to_string(), parse(&path)));
        }
    }
    assert!(!found.is_empty(), "{dir}");
    found
}

fn parse(path: &std::path::Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    let documents = YamlLoader::load_from_str(&text)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(documents.len(), 1, "{}", path.display());
    json(&documents[0])
}

fn json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Array(list) => list.iter().map(json).collect(),
        Yaml::Hash(map) => map
            .iter()
            .map(|(key, value)| (key.as_str().unwrap_or_default().to_owned(), json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Yaml::Boolean(value) => (*value).into(),
        Yaml::Integer(value) => (*value).into(),
        Yaml::String(text) | Yaml::Real(text) => text.as_str().into(),
        _ => Value::Null,
    }
}

fn workflows() -> Vec<(String, Value)> {
    yaml_files(".github/workflows")
}

/// Everything of YAML that GitHub reads here.
fn all() -> Vec<(String, Value)> {
    let action = checkout().join("action.yml");
    let mut files = workflows();
    files.extend(yaml_files(".github/actions"));
    files.push((action.display().to_string(), parse(&action)));
    files
}

/// The steps of the jobs of a workflow, or those of an action.
fn steps(document: &Value) -> Vec<&Value> {
    let of_jobs = document["jobs"].as_object().into_iter().flatten();
    let lists = of_jobs
        .map(|(_, job)| &job["steps"])
        .chain([&document["runs"]["steps"]]);
    lists.filter_map(Value::as_array).flatten().collect()
}

/// The scripts of all files, with continued lines joined.
fn scripts() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (file, document) in all() {
        for step in steps(&document) {
            if let Some(script) = step["run"].as_str() {
                found.push((file.clone(), script.replace("\\\n", " ")));
            }
        }
    }
    let script = checkout().join("scripts/github-action");
    found.push((
        script.display().to_string(),
        fs::read_to_string(&script).unwrap().replace("\\\n", " "),
    ));
    found
}

#[test]
fn a_workflow_may_do_little_and_ends() {
    for (file, workflow) in workflows() {
        let permissions = serde_json::json!({ "contents": "read" });
        assert_eq!(workflow["permissions"], permissions, "{file}");
        assert!(workflow["concurrency"]["group"].is_string(), "{file}");
        let events = workflow["on"].as_object().unwrap();
        // It has the base's secrets and the pull request's code.
        assert!(!events.contains_key("pull_request_target"), "{file}");
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            assert!(job["timeout-minutes"].is_i64(), "{file}: {name}");
            let more = &job["permissions"];
            if file.ends_with("/update.yml") {
                // It pushes a branch, and no pull request starts it.
                let may = serde_json::json!({ "contents": "write", "pull-requests": "write" });
                assert_eq!(more, &may, "{file}: {name}");
                assert!(!events.contains_key("pull_request"), "{file}");
            } else {
                assert!(more.is_null(), "{file}: {name}");
            }
        }
    }
}

#[test]
fn an_action_of_others_is_pinned() {
    let mut seen = 0;
    for (file, document) in all() {
        for step in steps(&document) {
            let Some(action) = step["uses"].as_str() else {
                continue;
            };
            seen += 1;
            if let Some(own) = action.strip_prefix("./") {
                assert!(
                    checkout().join(own).join("action.yml").is_file(),
                    "{file}: {action}"
                );
                continue;
            }
            let (name, version) = action.split_once('@').unwrap();
            let hash = version.len() == 40 && version.chars().all(|c| c.is_ascii_hexdigit());
            let major = version
                .strip_prefix('v')
                .is_some_and(|v| v.parse::<u16>().is_ok());
            assert!(hash || major, "{file}: {action}");
            if name == "actions/checkout" {
                assert_eq!(step["with"]["persist-credentials"], false, "{file}");
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn no_script_is_put_together_from_a_job_s_context() {
    for (file, script) in scripts() {
        // The author of a pull request controls titles and names of branches, so they come through
        // the environment, as words.
        assert!(!script.contains("${{"), "{file}: {script}");
    }
}

#[test]
fn every_kiln_command_of_a_workflow_is_one() {
    let kiln = Kiln::with_empty_cache();
    kiln.file("kernels.toml", "");
    kiln.file("bpftrace/CMakeLists.txt", "");
    let commands = ["ci", "matrix", "merge", "run"];
    let mut seen = BTreeSet::new();
    for (file, script) in scripts() {
        for line in script.lines() {
            let Some((_, command)) = line.split_once("nix run . -- ") else {
                continue;
            };
            // From a command substitution.
            let command = command.trim_end_matches(')');
            let words: Vec<String> = shlex::split(command)
                .unwrap()
                .into_iter()
                .map(|word| {
                    word.replace("$PROFILE", "llvm22")
                        .replace("$SHARD", "slice:1/1")
                })
                .collect();
            // `--help` only works if everything before it is valid.
            let ci = words.iter().any(|word| word == "ci");
            let last = if ci { "--list" } else { "--help" };
            let output = kiln.plain(&words).arg(last).run();
            assert_eq!(output.code(), 0, "{file}: {command}\n{}", output.err());
            let known = |word: &String| commands.contains(&word.as_str());
            seen.extend(words.into_iter().find(known));
        }
    }
    assert_eq!(seen, BTreeSet::from(commands.map(str::to_owned)));
}

#[test]
fn every_attribute_of_the_flake_in_a_workflow_exists() {
    let outputs: BTreeSet<String> = flake::names("packages")
        .union(&flake::names("shells"))
        .cloned()
        .collect();
    let checks = flake::names("workspaceChecks");
    let library = flake::names("lib");
    let mut seen = BTreeSet::new();
    for (file, script) in scripts() {
        let named = script
            .split_whitespace()
            .filter_map(|word| word.split_once(".#"))
            .map(|(_, name)| name.trim_end_matches(['"', '\'', ')']));
        for name in named {
            let output = name.split_once('^').map_or(name, |(output, _)| output);
            let known = if let Some(check) = output.strip_prefix("checks.x86_64-linux.") {
                checks.contains(check)
            } else if let Some(name) = output.strip_prefix("lib.") {
                library.contains(name)
            } else {
                outputs.contains(output)
            };
            assert!(known, "{file}: .#{name}");
            seen.insert(output.to_owned());
        }
    }
    assert!(seen.contains("appimage") && seen.len() > 4, "{seen:?}");
}

#[test]
fn the_image_runs_on_the_oldest_and_the_newest_kernel() {
    let catalogue: toml::Table = flake::read("kernels.toml").parse().unwrap();
    let version = |name: &str| {
        let (major, minor) = name.split_once('.').unwrap();
        (major.parse::<u32>().unwrap(), minor.parse::<u32>().unwrap())
    };
    let kernels = catalogue["kernels"].as_table().unwrap().keys();
    let mut kernels: Vec<_> = kernels.map(|name| (version(name), name)).collect();
    kernels.sort();
    let binary = parse(&checkout().join(".github/workflows/binary.yml"));
    let env = steps(&binary)
        .into_iter()
        .map(|step| &step["env"])
        .find(|env| env["OLDEST"].is_string())
        .unwrap();
    assert_eq!(env["OLDEST"].as_str(), Some(kernels[0].1.as_str()));
    assert_eq!(
        env["NEWEST"].as_str(),
        Some(kernels[kernels.len() - 1].1.as_str())
    );
}

#[test]
fn the_action_passes_on_every_input() {
    let action = parse(&checkout().join("action.yml"));
    let inputs = action["inputs"].as_object().unwrap();
    let env = steps(&action)
        .into_iter()
        .filter_map(|step| step["env"].as_object())
        .find(|env| env.contains_key("INPUT_KERNELS"))
        .unwrap();
    let script = flake::read("scripts/github-action");
    for name in inputs.keys().filter(|name| *name != "artifact") {
        let variable = format!("INPUT_{}", name.to_uppercase());
        let value = format!("${{{{ inputs.{name} }}}}");
        assert_eq!(env[&variable].as_str(), Some(value.as_str()));
        let named = script.contains(&format!("${{{variable}:-}}"));
        // Options that have the input's name.
        let looped = script.contains("for name in tests bpftrace root shard;")
            && ["tests", "bpftrace", "root", "shard"].contains(&name.as_str());
        assert!(named || looped, "{name}");
    }
    assert_eq!(env.len() + 1, inputs.len());
}

#[test]
fn each_job_of_upstream_is_a_profile_that_runs_here_and_is_in_the_docs() {
    let ci = parse(&checkout().join(".github/workflows/ci.yml"));
    let mut run = BTreeSet::new();
    for job in ["build", "kernels", "report", "others"] {
        let matrix = &ci["jobs"][job]["strategy"]["matrix"];
        let plain = matrix["profile"].as_array().into_iter().flatten();
        let included = matrix["include"].as_array().into_iter().flatten();
        let names = plain.chain(included.map(|job| &job["profile"]));
        run.extend(names.map(|name| name.as_str().unwrap().to_owned()));
    }
    let catalogue: toml::Table = flake::read("kernels.toml").parse().unwrap();
    let profiles = catalogue["ci"].as_table().unwrap();
    let known: BTreeSet<String> = profiles.keys().cloned().collect();
    assert_eq!(run, known);
    let docs = flake::read("docs/ci.md");
    for name in known {
        assert!(
            docs.contains(&format!("`kiln ci {name}`")),
            "docs/ci.md: {name}"
        );
    }
    // Their shells exist.
    let shells = flake::names("shells");
    for (name, profile) in profiles {
        let shell = match profile.get("llvm") {
            Some(llvm) => format!("bpftrace-llvm{llvm}"),
            None => profile["shell"].as_str().unwrap().to_owned(),
        };
        assert!(shells.contains(&shell), "{name}: {shell}");
    }
}
