//! Which Linux this is. The set-up installs Debian's packages; on other distributions everything runs in a
//! container of Debian.

use std::fs;
use std::path::Path;

/// The command that runs the whole validation on a Linux that is not Debian.
pub const IN_A_CONTAINER: &str = "make validate HOST=container";

/// The name that `os-release` gives this machine's system; `None` on Debian.
#[must_use]
pub fn other_than_debian() -> Option<String> {
    // The set-up decides in the same way.
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let apt = ["/usr/bin/apt-get", "/bin/apt-get"].iter().any(|path| Path::new(path).is_file());
    if apt {
        other(&text)
    } else {
        Some(other(&text).unwrap_or_else(|| "a Debian without apt".into()))
    }
}

fn other(os_release: &str) -> Option<String> {
    let value = |key: &str| {
        os_release.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name == key).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
        })
    };
    if value("ID").as_deref() == Some("debian") {
        return None;
    }
    Some(value("PRETTY_NAME").or_else(|| value("ID")).unwrap_or_else(|| "an unknown Linux".into()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn debian_is_distinguished_from_its_derivatives() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n";
        assert_eq!(other(debian), None);
        let ubuntu = "PRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\nID=ubuntu\nID_LIKE=debian\n";
        assert_eq!(other(ubuntu).as_deref(), Some("Ubuntu 24.04.1 LTS"));
        assert_eq!(other("ID='arch'\n").as_deref(), Some("arch"));
        assert_eq!(other("").as_deref(), Some("an unknown Linux"));
    }

    /// Runs the set-up's own functions as if this were Fedora and packages were missing.
    #[test]
    fn the_set_up_names_the_container_where_there_is_no_debian() {
        let setup = crate::project::root().join("fixtures/guest/setup");
        let words = r#"ROOT=/checkout
            . "$1/common.sh" && . "$1/debian.sh"
            os() { case $1 in ID) echo fedora ;; PRETTY_NAME) echo Fedora Linux 42 ;; esac; }
            is_installed() { false; }
            install_packages <<<"fuse3 mounts""#;
        let said = Command::new("bash").args(["-euc", words, "bash"]).arg(setup).output().unwrap();
        assert_eq!(said.status.code(), Some(10));
        let said = String::from_utf8_lossy(&said.stderr);
        assert!(said.contains("this is Fedora Linux 42"), "{said}");
        assert!(said.contains("packages: fuse3"), "{said}");
        assert!(said.contains(IN_A_CONTAINER), "{said}");
    }

    /// A user whom sudo refuses is told in one line what root has to run.
    #[test]
    fn the_set_up_says_what_root_has_to_run() {
        let setup = crate::project::root().join("fixtures/guest/setup");
        let words = r#"ROOT=/checkout
            . "$1/common.sh"
            id() { echo 1000; }
            sudo() { false; }
            ROOT_RUNS=$2
            as_root apt-get install fuse3 </dev/null"#;
        let said = |root_runs: &str| {
            let mut bash = Command::new("bash");
            let said = bash.args(["-euc", words, "bash"]).arg(&setup).arg(root_runs).output();
            let said = said.unwrap();
            assert_eq!(said.status.code(), Some(10));
            String::from_utf8_lossy(&said.stderr).into_owned()
        };
        let command = said("");
        assert!(command.contains("root is needed for: apt-get install fuse3"), "{command}");
        assert!(command.contains("let root run: apt-get install fuse3"), "{command}");
        let all = said("setup.sh --system");
        assert!(all.contains("let root run: setup.sh --system"), "{all}");
    }

    /// What root installs for everybody is readable for everybody, whatever the user's umask is.
    #[test]
    fn root_does_not_work_with_the_users_umask() {
        let setup = crate::project::root().join("fixtures/guest/setup");
        let words = r#". "$1/common.sh"
            sudo() { if [[ $1 == --non-interactive ]]; then true; else "$@"; fi; }
            umask 077
            for user in 0 1000; do id() { echo "$user"; }; as_root sh -c umask; done
            umask"#;
        let said = Command::new("bash").args(["-euc", words, "bash"]).arg(setup).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "0022\n0022\n0077\n");
    }
}
