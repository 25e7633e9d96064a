//! `vexfs-validate gate install`: decides whether a module may be installed.

use std::path::Path;
use std::process::ExitCode;

use evidence::exit;
use verdict::attestation::{BareMetalStanding, ShownFiles, Statement};

use super::place::{Parcel, Root};
use super::{AttestedLevel, Install};
use crate::attest::{open, public_key, refused, shown};
use crate::output::outln;
use crate::stop::Stop;

pub(super) fn install(options: &Install) -> Result<ExitCode, Stop> {
    let (file, name) = names(&options.module)?;
    let root = Root::new(&options.root);
    must_be_installed(&root, &options.kernel)?;
    let key = public_key(&options.key)?;
    // The bytes that are hashed are the bytes that are installed.
    let (module, bytes) = shown(&options.module, "module")?;
    let (statement, attestation) = open(&options.attestation, &key).map_err(shut)?;
    let due = ShownFiles { module: Some(&module), kernel: Some(&options.kernel), fuse: None };
    statement.must_hold_for(due).map_err(|why| shut(refused(&options.attestation, &why)))?;
    must_reach(options.level, &statement).map_err(shut)?;
    let notice = match options.level {
        AttestedLevel::BareMetal => None,
        AttestedLevel::Vm | AttestedLevel::Functional => {
            Some(format!("{name}: {}; signed by key {}", statement.standing(), key.id()))
        }
    };
    let parcel = Parcel {
        file: &file,
        name: &name,
        module: &bytes,
        attestation: &attestation,
        key: &key.to_text(),
        notice: notice.as_deref(),
    };
    let note = root.put(&options.kernel, &parcel)?;
    outln!("{}: {statement}", root.home(&options.kernel).join(&file).display());
    if notice.is_some() {
        outln!("each load by modprobe or mount says so in the kernel's log");
    }
    if let Some(note) = note {
        outln!("{note}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of the module's file and of the module. Only plain characters are allowed, since the
/// name goes into modprobe's configuration.
fn names(module: &Path) -> Result<(String, String), Stop> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let file = module.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match file.strip_suffix(".ko") {
        Some(stem) if !stem.is_empty() && !stem.starts_with('-') && stem.chars().all(is_plain) => {
            Ok((file.to_owned(), stem.replace('-', "_")))
        }
        _ => Err(Stop::new(
            exit::USAGE,
            format!("{}: a module's file is called NAME.ko; name such a file", module.display()),
        )),
    }
}

/// Refuses a release that would lead out of `/lib/modules`.
pub(super) fn must_be_a_release(release: &str) -> Result<(), Stop> {
    if release.is_empty() || release.starts_with('.') || release.contains('/') {
        return Err(Stop::new(
            exit::USAGE,
            format!("{release:?} is no kernel's release; name one as `uname -r` says it"),
        ));
    }
    Ok(())
}

pub(super) fn must_be_installed(root: &Root, release: &str) -> Result<(), Stop> {
    must_be_a_release(release)?;
    let modules = root.modules(release);
    if modules.is_dir() {
        return Ok(());
    }
    Err(Stop::new(
        exit::SETUP,
        format!(
            "kernel {release} is not installed: {} is not there; install it with: apt-get install \
             linux-image-{release}",
            modules.display()
        ),
    ))
}

fn must_reach(level: AttestedLevel, statement: &Statement) -> Result<(), Stop> {
    let level = match level {
        AttestedLevel::BareMetal
            if statement.tested().bare_metal == BareMetalStanding::NotEligible =>
        {
            if statement.is_of_all_criteria() { "vm" } else { "functional" }
        }
        AttestedLevel::Vm if !statement.is_of_all_criteria() => "functional",
        AttestedLevel::BareMetal | AttestedLevel::Vm | AttestedLevel::Functional => return Ok(()),
    };
    Err(Stop::new(
        exit::REFUSED,
        format!(
            "it {}; see what is missing with: vexfs-validate verdict DIR, or install it at that \
             level with --level {level}",
            statement.standing()
        ),
    ))
}

/// The error for a gate that stays shut.
fn shut(stop: Stop) -> Stop {
    Stop::new(stop.exit, format!("the gate stays shut, nothing is installed: {}", stop.message))
}
