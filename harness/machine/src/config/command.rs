//! A command as `vexfs.toml` writes it.

use std::path::{Path, PathBuf};
use std::process;

use serde::Deserialize;

use crate::failure::Failure;
use crate::{programs, require};

/// A program and its arguments, which may contain placeholders like `{mountpoint}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct ConfiguredCommand {
    /// The program to run.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The directory to run it in: that of the configuration file.
    pub directory: PathBuf,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a command: a string, split at blanks, or a list of words")]
enum Written {
    Text(String),
    Words(Vec<String>),
}

impl TryFrom<Written> for ConfiguredCommand {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let words = match written {
            Written::Text(text) => text.split_whitespace().map(str::to_owned).collect(),
            Written::Words(words) => words,
        };
        let mut words = words.into_iter();
        let program = words.next().ok_or("a command without words")?.into();
        Ok(ConfiguredCommand { program, arguments: words.collect(), directory: PathBuf::new() })
    }
}

/// The words that replace each placeholder, by its name. An argument that is only a placeholder may
/// become no word at all.
pub type Values<'a> = [(&'a str, Vec<String>)];

impl ConfiguredCommand {
    /// A program without arguments, run in the root directory.
    pub fn of(program: PathBuf) -> Self {
        ConfiguredCommand { program, arguments: vec![], directory: "/".into() }
    }

    /// Finds the program in `directory` or on the PATH, and refuses placeholders that are not
    /// `known`.
    pub(super) fn settle(&mut self, directory: &Path, known: &[&str]) -> Result<(), Failure> {
        directory.clone_into(&mut self.directory);
        for word in self.words() {
            placeholders(&word, known)?;
        }
        let first = self.program.to_string_lossy();
        require!(
            !first.starts_with('{') || first.starts_with("{program}"),
            "{first:?} is the first word, but not a program; the command begins with one{}",
            if known.contains(&"program") { ", or with {program}" } else { "" }
        );
        if self.program.to_string_lossy().contains('{') {
            return Ok(());
        }
        let beside = directory.join(&self.program);
        if beside.exists() {
            self.program = beside;
            return Ok(());
        }
        let found = self.program.to_str().filter(|name| !name.contains('/'));
        match found.and_then(programs::on_path) {
            Some(path) => self.program = path,
            None => crate::fail!(
                "{} is no file, and no program of that name is on the path{}",
                beside.display(),
                self.with_blanks(directory)
            ),
        }
        Ok(())
    }

    /// A hint, in case the first words together are a path that contains blanks.
    fn with_blanks(&self, directory: &Path) -> String {
        let words = self.words();
        let whole =
            (2..=words.len()).find(|&many| directory.join(words[..many].join(" ")).exists());
        whole.map_or_else(String::new, |many| {
            let mut all = vec![words[..many].join(" ")];
            all.extend_from_slice(&words[many..]);
            format!("; write a path that contains blanks as a word of a list: {}", written(&all))
        })
    }

    /// Program and arguments.
    pub fn words(&self) -> Vec<String> {
        let program = self.program.to_string_lossy().into_owned();
        std::iter::once(program).chain(self.arguments.iter().cloned()).collect()
    }

    /// Whether a word contains the placeholder `name`.
    pub fn mentions(&self, name: &str) -> bool {
        self.words().iter().any(|word| word.contains(&format!("{{{name}}}")))
    }

    /// The command to run, with its placeholders replaced by `values`. A word that is only a
    /// placeholder becomes all the words of its value.
    pub fn filled(&self, values: &Values<'_>) -> process::Command {
        let mut words = self.words().into_iter().flat_map(|word| fill(word, values));
        let mut command = process::Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(&self.directory);
        command
    }
}

/// Writes a command as `vexfs.toml` does: as a string if blanks separate its words, otherwise as a
/// list.
pub fn written(words: &[String]) -> String {
    let apart = |word: &String| word.is_empty() || word.contains(char::is_whitespace);
    if words.iter().any(apart) {
        let all: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        return format!("[{}]", all.join(", "));
    }
    quoted(&words.join(" "))
}

/// `text` as a TOML string. JSON strings are TOML strings, except that JSON does not escape DEL.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Refuses placeholders in `word` that are not `known`, not closed, or in the wrong position.
fn placeholders(word: &str, known: &[&str]) -> Result<(), Failure> {
    let mut rest = word;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else {
            require!(!known.iter().any(|one| one.starts_with(after)), "{word:?} lacks its }}");
            break;
        };
        require!(
            known.contains(&name),
            "{word:?} has {}",
            match known {
                [] =>
                    "a placeholder, and this command takes none: options and mount point are added \
                     behind it; set mount.fuse to place them elsewhere"
                        .to_owned(),
                known => format!(
                    "an unknown placeholder; known are: {}",
                    known.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
                ),
            }
        );
        // In the script of a shell, which contains blanks, `{options}` may stand anywhere.
        require!(
            name != "options" || word == "{options}" || word.contains(char::is_whitespace),
            "{word:?}: {{options}} has to be a word of its own, because it is replaced by -o and \
             the options, or by nothing"
        );
        rest = behind;
    }
    Ok(())
}

fn fill(word: String, values: &Values<'_>) -> Vec<String> {
    let placeholder = |name: &str| format!("{{{name}}}");
    if let Some((_, words)) = values.iter().find(|(name, _)| word == placeholder(name)) {
        return words.clone();
    }
    let filled = values
        .iter()
        .fold(word, |word, (name, words)| word.replace(&placeholder(name), &words.join(" ")));
    vec![filled]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> ConfiguredCommand {
        let mut words = words.iter().map(|word| (*word).to_owned());
        let program = words.next().unwrap().into();
        ConfiguredCommand { program, arguments: words.collect(), directory: "/".into() }
    }

    #[test]
    fn placeholders_are_filled() {
        let command = command(&["{program}", "{options}", "--on={mountpoint}", "{mountpoint}"]);
        let words = |options: &[&str]| {
            let options = options.iter().map(|word| (*word).to_owned()).collect();
            let mountpoint = vec!["/m".to_owned()];
            let program = vec!["/bin/daemon".to_owned(), "-f".to_owned()];
            let filled = command.filled(&[
                ("program", program),
                ("options", options),
                ("mountpoint", mountpoint),
            ]);
            let arguments = filled.get_args().map(|word| word.to_str().unwrap().to_owned());
            assert_eq!(filled.get_program(), "/bin/daemon");
            arguments.collect::<Vec<_>>()
        };
        assert_eq!(words(&["-o", "ro"]), ["-f", "-o", "ro", "--on=/m", "/m"]);
        assert_eq!(words(&[]), ["-f", "--on=/m", "/m"]);
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for words in [&["daemon", "-f"][..], &["/my dir/daemon", "\"quoted\"\\ \u{7f}\n", "-f"]] {
            let due = command(words);
            let text = format!("command = {}", written(&due.words()));
            #[derive(Deserialize)]
            struct File {
                command: ConfiguredCommand,
            }
            let File { command } = toml::from_str(&text).unwrap();
            assert_eq!(command.words(), due.words(), "{text}");
        }
    }

    #[test]
    fn programs_are_found_on_the_path_and_placeholders_must_be_known() {
        let directory = Path::new("/nonexistent");
        let mut shell = command(&["sh", "{mountpoint}"]);
        shell.settle(directory, &["mountpoint"]).unwrap();
        assert!(shell.program.is_absolute() && shell.program.ends_with("sh"));
        let said = command(&["sh", "{where}"]).settle(directory, &["mountpoint", "module"]);
        let said = said.unwrap_err().to_string();
        assert!(said.contains("\"{where}\"") && said.contains("{mountpoint}, {module}"), "{said}");
        let mut alone = command(&["sh", "{mountpoint}"]);
        let said = alone.settle(directory, &[]).unwrap_err().to_string();
        assert!(said.contains("this command takes none: options and mount point"), "{said}");
    }

    #[test]
    fn misplaced_placeholders_are_refused() {
        let known = ["program", "options", "mountpoint"];
        for (words, says) in [
            (&["{program}", "{mountpoint"][..], "\"{mountpoint\" lacks its }"),
            (&["{mountpoint}"], "\"{mountpoint}\" is the first word, but not a program"),
            (&["{options}", "{program}"], "is the first word, but not a program"),
            (&["{program}", "-o{options}", "{mountpoint}"], "has to be a word of its own"),
        ] {
            let said = command(words).settle(Path::new("/"), &known).unwrap_err().to_string();
            assert!(said.contains(says), "{words:?}: {said}");
        }
        command(&["sh", "-c", "exec {program} {options}"]).settle(Path::new("/"), &known).unwrap();
    }

    #[test]
    fn a_path_with_blanks_gets_advice_to_use_a_list() {
        let room = tempfile::tempdir().unwrap();
        std::fs::create_dir(room.path().join("my dir")).unwrap();
        std::fs::write(room.path().join("my dir/daemon"), "").unwrap();
        let said = command(&["my", "dir/daemon", "-f"]).settle(room.path(), &[]).unwrap_err();
        assert!(said.to_string().ends_with(r#"list: ["my dir/daemon", "-f"]"#), "{said}");
    }
}
