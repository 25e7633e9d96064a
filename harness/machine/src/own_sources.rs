//! Builds a user's own VexFS from its sources. The host builds it; the guest uses what the host
//! built.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use evidence::digest::sha256;
use evidence::place::Place;
use serde_json::Value;

use crate::child::Running;
use crate::failure::{Failure, WithContext};
use crate::file_lock::{FileLock, Sharing};
use crate::interrupt::interrupted;
use crate::{atomic, config, fail, place, project, require};

/// How long a build may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30 * 60);

fn products() -> PathBuf {
    project::root().join("target/own-vexfs")
}

/// The path of the daemon after it has been built.
pub fn fuse_product() -> PathBuf {
    products().join("vexfs_fuse")
}

/// The path of the module for kernel `release` after it has been built.
pub fn module_product(release: &str) -> PathBuf {
    products().join(release).join("vexfs.ko")
}

/// Builds everything that `vexfs.toml` gives as sources. The module is built for kernel `release`;
/// its `headers` are looked for only if there is a module to build.
///
/// # Errors
/// If something cannot be built, `vexfs.toml` is refused, or the build is interrupted.
pub fn build_all<E: Into<Failure>>(
    release: &str,
    headers: impl FnOnce() -> Result<PathBuf, E>,
) -> Result<(), Failure> {
    let config = config::current()?;
    if let Some(fuse) = config.fuse.as_ref().filter(|fuse| fuse.program.is_dir()) {
        build_fuse(&fuse.program)?;
    }
    if let Some(module) = config.module.as_ref().filter(|own| own.path.is_dir()) {
        build_module(&module.path, release, headers)?;
    }
    Ok(())
}

/// Builds the cargo package in `source`, which must have exactly one program, and returns the
/// program's path.
///
/// # Errors
/// If there is no package, cargo fails, or there are several programs.
pub fn build_fuse(source: &Path) -> Result<PathBuf, Failure> {
    let product = fuse_product();
    if place::here().place == Place::Guest {
        require!(product.is_file(), "the host has not built {}", source.display());
        return Ok(product);
    }
    let _lock = lock()?;
    keep(&cargo_program(source)?, &product)?;
    Ok(product)
}

/// The program that `cargo build --release` builds from the package in `source`.
pub fn cargo_program(source: &Path) -> Result<PathBuf, Failure> {
    let manifest = source.join("Cargo.toml");
    require!(
        manifest.is_file(),
        "{} has no Cargo.toml; name the daemon's program itself in vexfs.toml",
        source.display()
    );
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--message-format=json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(&manifest)
        .current_dir(source);
    let built = Running::start(&mut cargo)?.until(interrupted).finish(LIMIT)?;
    built.must_succeed(&format!("cargo build --release in {}", source.display()))?;
    let mut programs: Vec<PathBuf> = built.output.lines().filter_map(executable).collect();
    match (programs.pop(), programs.is_empty()) {
        (Some(program), true) => Ok(program),
        (last, _) => fail!(
            "cargo builds {} programs in {}, expected one; name it in vexfs.toml",
            programs.len() + usize::from(last.is_some()),
            source.display()
        ),
    }
}

/// The program that a line of cargo's output announces, if it announces one.
fn executable(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_program = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "bin");
    message["executable"].as_str().filter(|_| is_program).map(PathBuf::from)
}

/// Builds the module in `source` for kernel `release` with Kbuild, and returns the module's path.
///
/// # Errors
/// If there is no Kbuild or Makefile, there are no headers, make fails, or it leaves no module or
/// several.
pub fn build_module<E: Into<Failure>>(
    source: &Path,
    release: &str,
    headers: impl FnOnce() -> Result<PathBuf, E>,
) -> Result<PathBuf, Failure> {
    let _lock = lock()?;
    let product = module_product(release);
    keep(&kbuild_module(source, headers)?, &product)?;
    Ok(product)
}

/// The module that Kbuild builds from `source` with the `headers` of a kernel.
pub fn kbuild_module<E: Into<Failure>>(
    source: &Path,
    headers: impl FnOnce() -> Result<PathBuf, E>,
) -> Result<PathBuf, Failure> {
    require!(
        ["Kbuild", "Makefile"].iter().any(|name| source.join(name).is_file()),
        "{} has neither Kbuild nor Makefile; name the module's file itself in vexfs.toml",
        source.display()
    );
    let headers = headers().map_err(Into::into)?;
    let mut make = Command::new("make");
    make.arg("-C").arg(&headers).arg(format!("M={}", source.display())).arg("modules");
    let made = Running::start(&mut make)?.until(interrupted).finish(LIMIT)?;
    made.must_succeed(&format!("make -C {} M={}", headers.display(), source.display()))?;
    the_module_in(source)
}

/// How deep a module's sources may be nested; a link to a directory above them would never end.
const DEEPEST: usize = 16;

/// SHA-256 over the paths and the contents of a module's sources, without Kbuild's products, which
/// differ from kernel to kernel.
///
/// # Errors
/// If a file cannot be read, or they are nested too deeply.
pub(crate) fn module_sources_hash(source: &Path) -> Result<String, Failure> {
    let mut files = BTreeMap::new();
    collect_sources(source, "", DEEPEST, &mut files)?;
    let lines = files.iter().map(|(path, hash)| format!("{hash} {path}\n"));
    Ok(sha256(lines.collect::<String>().as_bytes()))
}

/// Adds the SHA-256 of each source file in `directory` to `files`, by its path, which begins with
/// `prefix`.
fn collect_sources(
    directory: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BTreeMap<String, String>,
) -> Result<(), Failure> {
    require!(depth > 0, "{} is nested too deeply for a module's sources", directory.display());
    for entry in fs::read_dir(directory).context(directory.display())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_product(&name) {
            continue;
        }
        let inner = format!("{prefix}{name}");
        if path.is_dir() {
            collect_sources(&path, &format!("{inner}/"), depth - 1, files)?;
        } else {
            files.insert(inner, sha256(&fs::read(&path).context(path.display())?));
        }
    }
    Ok(())
}

/// Whether Kbuild makes a file or directory of this name beside the sources.
fn is_product(name: &str) -> bool {
    const ENDINGS: [&str; 7] = [".o", ".ko", ".mod", ".mod.c", ".cmd", ".o.d", ".symtypes"];
    const NAMES: [&str; 5] =
        ["Module.symvers", "modules.order", "modules.nsdeps", ".tmp_versions", ".git"];
    NAMES.contains(&name) || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// `vexfs.ko` in `directory`, or else the only module there.
fn the_module_in(directory: &Path) -> Result<PathBuf, Failure> {
    let usual = directory.join("vexfs.ko");
    if usual.is_file() {
        return Ok(usual);
    }
    let paths =
        fs::read_dir(directory).context(directory.display())?.flatten().map(|one| one.path());
    let mut modules: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "ko")).collect();
    match (modules.pop(), modules.is_empty()) {
        (Some(module), true) => Ok(module),
        (None, _) => fail!("make left no module (*.ko) in {}", directory.display()),
        (Some(_), false) => fail!(
            "make left {} modules in {} and none is vexfs.ko; name the file itself in vexfs.toml",
            modules.len() + 1,
            directory.display()
        ),
    }
}

/// Copies what was built to its expected path, unless it is already there. A process that runs the
/// old file keeps it.
fn keep(built: &Path, product: &Path) -> Result<(), Failure> {
    let bytes = fs::read(built).context(built.display())?;
    if fs::read(product).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let directory = atomic::parent(product);
    fs::create_dir_all(directory).context(directory.display())?;
    atomic::write_with_mode(product, &bytes, 0o755).context(product.display())
}

/// Allows one build at a time, because each trial is a process of its own.
fn lock() -> Result<FileLock, Failure> {
    let directory = products();
    fs::create_dir_all(&directory).context(directory.display())?;
    let path = directory.join("lock");
    let file = File::options().create(true).append(true).open(&path).context(path.display())?;
    let what = format!("the end of another build, which holds {}", path.display());
    FileLock::wait(file, Sharing::Alone, &what, LIMIT, interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_are_no_sources_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let headers = || Err(Failure::new("this kernel has no headers"));
        let said = cargo_program(directory.path()).unwrap_err().to_string();
        assert!(said.contains("has no Cargo.toml; name the daemon's program"), "{said}");
        let said = kbuild_module(directory.path(), headers).unwrap_err().to_string();
        assert!(said.contains("neither Kbuild nor Makefile"), "{said}");
        fs::write(directory.path().join("Kbuild"), "obj-m := vexfs.o\n").unwrap();
        let said = kbuild_module(directory.path(), headers).unwrap_err().to_string();
        assert_eq!(said, "this kernel has no headers");
    }

    #[test]
    fn a_modules_sources_are_told_apart_and_its_products_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::create_dir_all(atomic::parent(&path)).unwrap();
            fs::write(path, text).unwrap();
        };
        let hash = || module_sources_hash(directory.path()).unwrap();
        write("Kbuild", "obj-m := vexfs.o\n");
        write("engine/index.c", "int a;\n");
        let before = hash();
        for product in ["vexfs.ko", "engine/index.o", "engine/.index.o.cmd", "vexfs.mod.c"] {
            write(product, "for one kernel");
        }
        assert_eq!(hash(), before);
        write("engine/index.c", "int b;\n");
        let changed = hash();
        assert_ne!(changed, before);
        write("engine/new.h", "");
        assert_ne!(hash(), changed);
        // A file that cannot be read must not go unnoticed.
        std::os::unix::fs::symlink("/nowhere", directory.path().join("lost.c")).unwrap();
        assert!(module_sources_hash(directory.path()).is_err());
        fs::remove_file(directory.path().join("lost.c")).unwrap();
        std::os::unix::fs::symlink(directory.path(), directory.path().join("loop")).unwrap();
        assert!(module_sources_hash(directory.path()).is_err());
    }

    #[test]
    fn a_module_may_have_another_name() {
        let directory = tempfile::tempdir().unwrap();
        let found = || the_module_in(directory.path()).map_err(|failure| failure.to_string());
        assert!(found().unwrap_err().contains("make left no module"));
        for (name, due) in
            [("my.ko", Some("my.ko")), ("b.ko", None), ("vexfs.ko", Some("vexfs.ko"))]
        {
            fs::write(directory.path().join(name), "").unwrap();
            match due {
                Some(due) => assert_eq!(found().unwrap(), directory.path().join(due)),
                None => assert!(found().unwrap_err().contains("make left 2 modules")),
            }
        }
    }

    #[test]
    fn cargos_programs_are_found() {
        let line = |kind: &str, executable: Value| {
            let artifact =
                serde_json::json!({"target": {"kind": [kind]}, "executable": executable});
            super::executable(&artifact.to_string())
        };
        assert_eq!(line("bin", "/t/daemon".into()), Some("/t/daemon".into()));
        assert_eq!(line("lib", Value::Null), None);
        assert_eq!(line("bin", Value::Null), None);
        assert_eq!(super::executable("   Compiling daemon"), None);
    }
}
