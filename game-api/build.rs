//! Lists the built page (`target/web/dist`) for `src/page` to embed. Without it the crate compiles all the
//! same, and serves a page that says how to build it.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/web/dist");
    // Cargo runs this again on every build while a path that it watches does not exist. Where the
    // sources cannot be written to, that is all that happens.
    let _ = fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed={}", dist.display());
    // New migrations are embedded too, and a macro cannot say so itself.
    println!("cargo::rerun-if-changed=../migrations");

    let mut files = Vec::new();
    collect(&dist, &mut files)?;
    files.sort();
    let mut list = "&[\n".to_owned();
    for file in files {
        let (name, source) = (file.strip_prefix(&dist)?, file.canonicalize()?);
        let (Some(name), Some(source)) = (name.to_str(), source.to_str()) else {
            return Err(format!("the name of {} is no UTF-8", file.display()).into());
        };
        writeln!(list, "    (\"/{name}\", include_bytes!({source:?})),")?;
    }
    list.push(']');
    #[expect(
        clippy::disallowed_methods,
        reason = "Cargo tells build scripts where to write so"
    )]
    let out = std::env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("page_files.rs"), list)?;
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
