//! Commands in a form that a person can copy into a shell.

use std::process::Command;

use evidence::shell::quoted;

/// `words` for a shell, quoted if necessary.
#[must_use]
pub fn in_shell(words: &[String]) -> String {
    let plain = |glyph: char| glyph.is_ascii_alphanumeric() || "_-./,:=@%+".contains(glyph);
    let word = |word: &String| match word.is_empty() || !word.chars().all(plain) {
        true => quoted(word),
        false => word.clone(),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// `command`, preceded by changing to its directory.
pub(super) fn as_run(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let shown = in_shell(&words);
    match command.get_current_dir() {
        Some(directory) => {
            format!("cd {} && {shown}", in_shell(&[directory.display().to_string()]))
        }
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that executes the result runs the same words.
    #[test]
    fn a_shell_understands_the_shown_command() {
        let words =
            ["printf", "%s\\n", "-o", "size=1M,x", "my dir/it's", "", "$HOME*", "a\nb", "~"];
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir("/");
        let run = command.output().unwrap();
        let shown = as_run(&command);
        assert!(shown.starts_with("cd / && printf '%s\\n' -o size=1M,x 'my dir/it'"), "{shown}");
        let copied = Command::new("sh").args(["-c", &shown]).output().unwrap();
        assert_eq!(copied.stdout, run.stdout, "{shown}");
    }
}
