//! `vexfs.toml`: names the VexFS to test instead of this checkout's reference.
//!
//! docs/own-vexfs.md describes the file for its authors.

mod command;
mod lines;

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Deserialize;

pub use self::command::{ConfiguredCommand, Values, quoted, written};
pub use self::lines::line_of;
use crate::failure::{Failure, WithContext};
use crate::{project, require};

/// Names a file other than the checkout's `vexfs.toml`; a relative path begins in the checkout.
pub const VARIABLE: &str = "VEXFS_CONFIG";

const FILE: &str = "vexfs.toml";

/// The content of the file. A missing setting means the reference.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The FUSE daemon: a program and its arguments, or the directory of its sources. Options and
    /// the mount point are appended.
    pub fuse: Option<ConfiguredCommand>,
    /// The module's file, built for the guest's kernel, or the directory of its sources.
    pub module: Option<Module>,
    /// How they are mounted.
    #[serde(default)]
    pub mount: Mount,
    /// The benchmark whose claims are checked.
    pub benchmark: Option<ConfiguredCommand>,
}

/// A kernel module.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WrittenModule")]
pub struct Module {
    /// Its file, or the directory of its sources.
    pub path: PathBuf,
    /// Its name, if its `.modinfo` does not give one.
    pub name: Option<String>,
    /// The name of its file system, if that differs from the module's.
    pub filesystem: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a module: its path, or a table of path, name and filesystem")]
enum WrittenModule {
    Path(PathBuf),
    Table(ModuleTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModuleTable {
    path: PathBuf,
    name: Option<String>,
    filesystem: Option<String>,
}

impl From<WrittenModule> for Module {
    fn from(written: WrittenModule) -> Self {
        match written {
            WrittenModule::Path(path) => Module { path, name: None, filesystem: None },
            WrittenModule::Table(ModuleTable { path, name, filesystem }) => {
                Module { path, name, filesystem }
            }
        }
    }
}

/// Commands that mount.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Starts the FUSE daemon, with `{program}`, `{options}` and `{mountpoint}`; it must stay in
    /// the foreground.
    pub fuse: Option<ConfiguredCommand>,
    /// Mounts the module's file system, with `{module}`, `{options}` and `{mountpoint}`; it ends
    /// when the file system is mounted.
    pub module: Option<ConfiguredCommand>,
}

/// The configuration in force, read once.
///
/// # Errors
/// If the file cannot be read or understood; every call returns the same error.
pub fn current() -> Result<&'static Config, Failure> {
    static CONFIG: OnceLock<Result<Config, String>> = OnceLock::new();
    CONFIG
        .get_or_init(|| read(env::var_os(VARIABLE).map(PathBuf::from)).map_err(|e| e.to_string()))
        .as_ref()
        .map_err(Failure::new)
}

/// Reads the configuration before anything is begun that would need it.
///
/// # Errors
/// As [`current`], with where to read on.
pub fn check() -> Result<(), Failure> {
    let advice = "; docs/own-vexfs.md says what the file may say";
    current().map(|_| ()).map_err(|failure| failure.and_then(advice))
}

/// The path of the configuration file, whether it exists or not.
pub fn path() -> PathBuf {
    path_of(env::var_os(VARIABLE).map(PathBuf::from).as_deref())
}

/// The file that was `named`, or else the checkout's file.
fn path_of(named: Option<&Path>) -> PathBuf {
    project::root().join(named.unwrap_or(Path::new(FILE)))
}

/// Reads the file that was `named`, which must exist, or else the checkout's file, which need not.
fn read(named: Option<PathBuf>) -> Result<Config, Failure> {
    let path = path_of(named.as_deref());
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => {
            return Ok(Config::default());
        }
        Err(error) => {
            return Err(Failure::new(format!(
                "{} cannot be read ({error}); correct {VARIABLE}, or unset it",
                path.display()
            )));
        }
    };
    parse(&text, &path)
}

/// The configuration in `text`, read as if it were the file `path`, which need not exist.
///
/// # Errors
/// If it cannot be understood, or names something that does not exist.
pub fn parse(text: &str, path: &Path) -> Result<Config, Failure> {
    let mut config: Config = toml::from_str(text).map_err(|error| {
        Failure::new(format!("{} is refused: {}", path.display(), error.to_string().trim_end()))
    })?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    config.settle(directory).context(path.display())?;
    Ok(config)
}

impl Config {
    /// Finds the files that are named; relative paths begin in `directory`.
    fn settle(&mut self, directory: &Path) -> Result<(), Failure> {
        let commands = [
            ("fuse", &mut self.fuse, &[][..]),
            ("mount.fuse", &mut self.mount.fuse, &["program", "options", "mountpoint"]),
            ("mount.module", &mut self.mount.module, &["module", "options", "mountpoint"]),
            ("benchmark", &mut self.benchmark, &["mountpoint"]),
        ];
        for (key, command, known) in commands {
            let Some(command) = command else { continue };
            command.settle(directory, known).context(key)?;
            let mounts = key.starts_with("mount");
            require!(
                !mounts || command.mentions("mountpoint"),
                "{key}: the command does not say {{mountpoint}}"
            );
        }
        if let Some(module) = &mut self.module {
            module.path = directory.join(&module.path);
            require!(module.path.exists(), "module: {} is not there", module.path.display());
            for (key, name) in [("name", &module.name), ("filesystem", &module.filesystem)] {
                let Some(name) = name else { continue };
                let is_one = |glyph: char| glyph.is_ascii_alphanumeric() || "_-.".contains(glyph);
                require!(
                    !name.is_empty() && name.chars().all(is_one),
                    "module.{key}: {name:?} is not a valid name; use letters, digits, _, - and . \
                     only"
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tempfile::TempDir;

    use super::*;

    fn written(text: &str) -> (TempDir, Result<Config, String>) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("daemon"), "").unwrap();
        let path = directory.path().join("mine.toml");
        fs::write(&path, text).unwrap();
        let config = read(Some(path)).map_err(|failure| failure.to_string());
        (directory, config)
    }

    #[test]
    fn invalid_module_names_are_refused() {
        for name in ["", "my fs", "fs\\n", "/"] {
            for key in ["name", "filesystem"] {
                let text = format!("module = {{ path = 'daemon', {key} = \"{name}\" }}");
                let said = written(&text).1.unwrap_err();
                assert!(said.contains(&format!("module.{key}")), "{text}: {said}");
            }
        }
    }

    #[test]
    fn paths_begin_beside_the_file() {
        let (directory, config) = written("fuse = 'daemon'\nmodule = './daemon'\n");
        let config = config.unwrap();
        assert_eq!(config.fuse.unwrap().program, directory.path().join("daemon"));
        let module = config.module.unwrap();
        assert_eq!((module.path, module.name), (directory.path().join("daemon"), None));
        let (directory, config) =
            written("module = { path = 'daemon', name = 'a', filesystem = 'b' }\n");
        let module = config.unwrap().module.unwrap();
        assert_eq!(module.path, directory.path().join("daemon"));
        assert_eq!((module.name.as_deref(), module.filesystem.as_deref()), (Some("a"), Some("b")));
    }

    #[rstest]
    #[case("fuse = ['daemon', '-f', '-o', 'ro']")]
    #[case("fuse = 'daemon -f -o ro'")]
    fn a_program_has_arguments(#[case] text: &str) {
        let (_directory, config) = written(text);
        assert_eq!(config.unwrap().fuse.unwrap().arguments, ["-f", "-o", "ro"]);
    }

    #[rstest]
    #[case("fues = 'daemon'", "unknown field `fues`")]
    #[case("fuse = 'nosuch'", "nosuch is no file, and no program")]
    #[case("module = 'nosuch.ko'", "nosuch.ko is not there")]
    #[case("fuse = 7", "a command: a string, split at blanks")]
    #[case("mount = { fuse = '{program} {where}' }", "an unknown placeholder")]
    #[case("fuse = 'daemon {mountpoint}'", "a placeholder, and this command takes none: ")]
    #[case("mount = { module = 'mount -t vexfs none' }", "does not say {mountpoint}")]
    #[case("mount = 'mount'", "is refused")]
    #[case("module = { path = 'daemon', nmae = 'x' }", "a module: its path, or a table")]
    #[case("fuse = []", "a command without words")]
    #[case("module = ", "is refused")]
    fn what_is_wrong_is_named(#[case] text: &str, #[case] part: &str) {
        let (_directory, config) = written(text);
        let said = config.unwrap_err();
        assert!(said.contains("mine.toml") && said.contains(part), "{said}");
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let said = read(Some("/nonexistent/vexfs.toml".into())).unwrap_err().to_string();
        assert!(said.contains("/nonexistent/vexfs.toml cannot be read"), "{said}");
    }
}
