//! `vexfs.toml`: the VexFS that is tested where it is not the reference of this checkout.
//!
//! docs/own-vexfs.md describes the file for whoever writes it.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Deserialize;

use crate::failure::Failure;
use crate::{project, require};

/// Names another file than `vexfs.toml` of the checkout; a relative path begins in the checkout.
pub const VARIABLE: &str = "VEXFS_CONFIG";

const FILE: &str = "vexfs.toml";

/// What the file says. Whatever is not there is the reference's.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The FUSE daemon: a program and its arguments. The mount point is added behind them.
    pub fuse: Option<Command>,
    /// The module's file, built for the guest's kernel.
    pub module: Option<PathBuf>,
}

/// A program, by its path alone or with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Command {
    /// What is run.
    pub program: PathBuf,
    /// What it is given first.
    pub arguments: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a path, or a list of a path and arguments")]
enum Written {
    Program(PathBuf),
    Words(Vec<String>),
}

impl TryFrom<Written> for Command {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Program(program) => Ok(Command { program, arguments: vec![] }),
            Written::Words(words) => {
                let mut words = words.into_iter();
                let program = words.next().ok_or("a command of no words")?.into();
                Ok(Command { program, arguments: words.collect() })
            }
        }
    }
}

/// The configuration in force, read once.
///
/// # Errors
/// The file cannot be read, or says what nobody understands; every time that it is asked for.
pub fn current() -> Result<&'static Config, Failure> {
    static CONFIG: OnceLock<Result<Config, String>> = OnceLock::new();
    CONFIG
        .get_or_init(|| read(env::var_os(VARIABLE).map(PathBuf::from)).map_err(|e| e.to_string()))
        .as_ref()
        .map_err(Failure::new)
}

/// Reads the file that was `named`, which must be there, or else the checkout's, which need not.
fn read(named: Option<PathBuf>) -> Result<Config, Failure> {
    let path = project::root().join(named.as_deref().unwrap_or(Path::new(FILE)));
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
    let mut config: Config = toml::from_str(&text).map_err(|error| {
        Failure::new(format!("{} is refused: {}", path.display(), error.to_string().trim_end()))
    })?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let paths = config.fuse.iter_mut().map(|fuse| &mut fuse.program).chain(&mut config.module);
    for file in paths {
        *file = directory.join(&*file);
        require!(
            file.is_file(),
            "{} names {}, which is no file; correct it",
            path.display(),
            file.display()
        );
    }
    Ok(config)
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
    fn paths_begin_beside_the_file() {
        let (directory, config) = written("fuse = 'daemon'\nmodule = './daemon'\n");
        let config = config.unwrap();
        let fuse = Command { program: directory.path().join("daemon"), arguments: vec![] };
        assert_eq!(config.fuse, Some(fuse));
        assert_eq!(config.module, Some(directory.path().join("daemon")));
    }

    #[test]
    fn a_program_has_arguments() {
        let (_directory, config) = written("fuse = ['daemon', '-f', '-o', 'ro']\n");
        assert_eq!(config.unwrap().fuse.unwrap().arguments, ["-f", "-o", "ro"]);
    }

    #[rstest]
    #[case("fues = 'daemon'", "unknown field `fues`")]
    #[case("fuse = 'nosuch'", "nosuch, which is no file")]
    #[case("fuse = 7", "a path, or a list of a path and arguments")]
    #[case("fuse = []", "a command of no words")]
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
