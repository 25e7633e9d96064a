//! Whether the host may have made a trial in the guest fail. The guest's root is a view of the host's
//! files, so a program there may find a file that the host has replaced stale, missing or garbled.

/// The spellings of ESTALE in the kernel, the C library, Rust and the loader.
const STALE: [&str; 4] = ["ESTALE", "Stale file handle", "os error 116", "Error 116"];
/// How many changed files a reason names.
const SHOWN: usize = 5;

/// The reason why a failure in the guest with `message` decides nothing, if files of the host
/// changed meanwhile and the message reports a stale file, or names one of the `changes`.
pub(crate) fn excuses(changes: &[&str], message: &str) -> Option<String> {
    let named: Vec<&str> = changes.iter().copied().filter(|path| names(message, path)).collect();
    let is_stale = STALE.iter().any(|one| message.contains(one));
    if changes.is_empty() || named.is_empty() && !is_stale {
        return None;
    }
    let shown = if named.is_empty() { changes } else { &named };
    let more = match shown.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = shown[..shown.len().min(SHOWN)].join(", ");
    let found = if named.is_empty() { "them stale" } else { "what it names in between" };
    Some(format!(
        "files of the host, on which the guest runs, changed meanwhile ({shown}{more}), so that it \
         may have found {found}: {message}"
    ))
}

/// Whether `message` names the file at `path`: by its path, or a shared library by its file name,
/// which is all that the loader tells of one that it does not find.
fn names(message: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    holds(message, path) || name.contains(".so") && holds(message, name)
}

/// Whether `text` holds `name` other than as a part of a longer name.
fn holds(text: &str, name: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !name.is_empty()
        && text.match_indices(name).any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + name.len()..]);
            let after = after.trim_start_matches('.');
            !before.ends_with(|c| is_of_name(c) || c == '.')
                && !after.starts_with(|c| is_of_name(c) || c == '/')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::the_loader("x: /usr/lib/libc.so.6: invalid ELF header", "/usr/lib/libc.so.6", true)]
    #[case::by_name("x: libssl.so.3: cannot open shared object", "/usr/lib/libssl.so.3", true)]
    #[case::at_the_end("cannot run /usr/bin/fio.", "/usr/bin/fio", true)]
    #[case::another_version("libssl.so.3: cannot open", "/usr/lib/libssl.so", false)]
    #[case::another_library("libvexfs-ssl.so.3: cannot open", "/usr/lib/ssl.so.3", false)]
    #[case::a_longer_path("/usr/bin/fio-verify: EIO", "/usr/bin/fio", false)]
    #[case::below_it("/usr/bin/fio/x: EIO", "/usr/bin/fio", false)]
    #[case::elsewhere("/mnt/usr/bin/fio: EIO", "/usr/bin/fio", false)]
    #[case::a_trial_of_that_name("rename: EIO", "/usr/bin/rename", false)]
    fn a_file_is_named_as_a_whole(#[case] message: &str, #[case] path: &str, #[case] due: bool) {
        assert_eq!(names(message, path), due);
        assert_eq!(excuses(&["/etc/passwd", path], message).is_some(), due);
    }

    #[test]
    fn many_changes_are_told_in_short() {
        let changes: Vec<String> = (0..100).map(|number| format!("/etc/{number}")).collect();
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        let told = excuses(&changes, "read: ESTALE").unwrap();
        assert!(told.contains("/etc/4 and 95 more), so"), "{told}");
    }
}
