//! What the workspace depends on: licences and sources as `deny.toml` allows, and nothing unused.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use e2e::environment;
use serde::Deserialize;

use crate::build;

/// The part of `deny.toml` that is checked here.
#[derive(Deserialize)]
struct Policy {
    licenses: Licenses,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

/// The part of `cargo metadata` that is checked here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    rename: Option<String>,
}

/// Fails, naming the packages, if something may not be depended on or is not used.
pub(crate) fn check() -> Result<()> {
    let root = environment::workspace_root();
    let policy = fs::read_to_string(root.join("deny.toml")).context("deny.toml cannot be read")?;
    let policy: Policy = toml::from_str(&policy).context("deny.toml")?;
    let output = build::cargo()
        .args(["metadata", "--format-version=1", "--locked"])
        .output()
        .context("cargo metadata cannot be run")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let mut faults = Vec::new();
    for package in &metadata.packages {
        faults.extend(forbidden(package, &policy));
        if package.source.is_none() {
            faults.extend(unused(package)?);
        }
    }
    if faults.is_empty() {
        tracing::info!("{} packages, all allowed and used", metadata.packages.len());
        return Ok(());
    }
    bail!("{}", faults.join("\n"))
}

fn forbidden(package: &Package, policy: &Policy) -> Vec<String> {
    let mut faults = Vec::new();
    let name = format!("{} {}", package.name, package.version);
    if let Some(source) = &package.source {
        let registry = source
            .strip_prefix("registry+")
            .or(source.strip_prefix("sparse+"));
        if !registry.is_some_and(|url| {
            policy
                .sources
                .allow_registry
                .iter()
                .any(|allowed| allowed == url)
        }) {
            faults.push(format!(
                "{name} comes from {source}, which deny.toml does not allow"
            ));
        }
    }
    match &package.license {
        None => faults.push(format!("{name} names no licence")),
        Some(license) if !is_allowed(license, &policy.licenses.allow) => {
            faults.push(format!(
                "{name} is under {license}, which deny.toml does not allow"
            ));
        }
        Some(_) => {}
    }
    faults
}

/// Whether an SPDX expression can be satisfied by licences of the list.
fn is_allowed(license: &str, allow: &[String]) -> bool {
    // Old manifests separate alternatives by a slash: `MIT/Apache-2.0`.
    let expression = spdx::Expression::parse_mode(license, spdx::ParseMode::LAX);
    expression.is_ok_and(|expression| {
        expression.evaluate(|requirement| {
            allow
                .iter()
                .any(|allowed| *allowed == requirement.to_string())
        })
    })
}

/// A dependency whose name stands nowhere in the package's sources is not used.
fn unused(package: &Package) -> Result<Vec<String>> {
    let dir = package
        .manifest_path
        .parent()
        .context("a manifest in a directory")?;
    let sources = ["src", "tests", "benches", "examples", "build.rs"]
        .iter()
        .map(|part| read_sources(&dir.join(part)))
        .collect::<Result<String>>()?;
    let is_used = |dependency: &&Dependency| {
        let name = dependency
            .rename
            .as_ref()
            .unwrap_or(&dependency.name)
            .replace('-', "_");
        !mentions(&sources, &name)
    };
    Ok(package
        .dependencies
        .iter()
        .filter(is_used)
        .map(|dependency| {
            format!(
                "{} depends on {} and does not use it",
                package.name, dependency.name
            )
        })
        .collect())
}

/// Whether a text has the word, as a whole, before `::` or after `use` or `extern crate`.
fn mentions(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = &text[at + word.len()..];
        // `std::time::` is not the crate `time`.
        let starts = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        let as_path = after.starts_with("::");
        let as_import = text[..at].trim_end().ends_with("use") && after.starts_with([';', ' ']);
        starts && (as_path || as_import)
    })
}

fn read_sources(path: &Path) -> Result<String> {
    if path.is_file() {
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        return if is_rust {
            fs::read_to_string(path).context("a source")
        } else {
            Ok(String::new())
        };
    }
    let mut text = String::new();
    for entry in fs::read_dir(path).into_iter().flatten() {
        text.push_str(&read_sources(&entry?.path())?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{is_allowed, mentions};

    #[test]
    fn an_expression_needs_one_allowed_way_to_satisfy_it() {
        let allow = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for allowed in [
            "MIT",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(allowed, &allow), "{allowed}");
        }
        for forbidden in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "Apache-2.0",
            "nonsense",
        ] {
            assert!(!is_allowed(forbidden, &allow), "{forbidden}");
        }
    }

    #[test]
    fn a_dependency_is_used_where_a_path_begins_with_it() {
        for used in [
            "use sha2::Digest;",
            "sha2::Sha256::new()",
            "use sha2;",
            "#[derive(sha2::X)]",
        ] {
            assert!(mentions(used, "sha2"), "{used}");
        }
        for unused in [
            "// sha2 is good",
            "my_sha2::x",
            "let sha2 = 1;",
            "std::sha2::x",
        ] {
            assert!(!mentions(unused, "sha2"), "{unused}");
        }
    }
}
