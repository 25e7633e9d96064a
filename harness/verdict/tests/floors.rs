//! Checks with cargo that each crate under `harness/` depends only on the crates listed here.
//!
//! Each crate has its allowed dependencies in the list below, and no crate depends on a higher one.
//! A pure crate must also not reach anything that mounts, boots, forks or opens a device: its whole
//! dependency tree is searched for crates that make system calls.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

/// A crate and its allowed dependencies.
struct Floor {
    name: &'static str,
    /// Neither it nor anything that it depends on makes system calls.
    pure: bool,
    /// Crates of this workspace, including those that its tests use.
    ours: &'static [&'static str],
    /// Crates of others; those that only its tests use are not restricted.
    others: &'static [&'static str],
}

const FLOORS: [Floor; 8] = [
    Floor {
        name: "evidence",
        pure: true,
        ours: &[],
        others: &[
            "chrono",
            "libm",
            "rand_mt",
            "schemars",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
        ],
    },
    Floor {
        name: "verdict",
        pure: true,
        ours: &["evidence"],
        others: &[
            "anstream",
            "base64",
            "ed25519-dalek",
            "libm",
            "maud",
            "quick-junit",
            "quick-xml",
            "serde",
            "serde_json",
        ],
    },
    Floor {
        name: "machine",
        pure: false,
        ours: &["evidence"],
        others: &[
            "nix",
            "rand_mt",
            "rustix",
            "serde",
            "serde_json",
            "signal-hook",
            "tempfile",
            "toml",
        ],
    },
    Floor {
        name: "guest",
        pure: false,
        ours: &["evidence", "machine"],
        others: &["libc", "nix", "serde", "serde_json", "tempfile", "thiserror"],
    },
    Floor {
        name: "measure",
        pure: false,
        ours: &["evidence", "machine", "vexfs-anns", "vexfs-uapi"],
        others: &[
            "clap",
            "indicatif",
            "libc",
            "nix",
            "rand_mt",
            "rustix",
            "serde",
            "serde_json",
            "sha2",
            "tempfile",
        ],
    },
    Floor {
        name: "homes",
        pure: false,
        ours: &["evidence", "machine", "measure", "vexfs-anns", "vexfs-uapi"],
        others: &["libc", "nix", "rand_mt", "rustix", "serde", "serde_json", "sha2", "tempfile"],
    },
    Floor {
        name: "criteria",
        pure: false,
        ours: &["evidence", "guest", "homes", "machine", "measure", "verdict", "vexfs-uapi"],
        others: &[
            "libc",
            "libtest-mimic",
            "nix",
            "rustix",
            "serde",
            "serde_json",
            "tempfile",
            "thiserror",
        ],
    },
    Floor {
        name: "cli",
        pure: false,
        ours: &[
            "criteria",
            "evidence",
            "guest",
            "homes",
            "machine",
            "measure",
            "verdict",
            "vexfs-uapi",
        ],
        others: &[
            "base64",
            "bcrypt-pbkdf",
            "blake2",
            "clap",
            "clap_complete",
            "console",
            "humantime",
            "indicatif",
            "libc",
            "nix",
            "scrypt",
            "serde",
            "serde_json",
            "sha2",
            "tempfile",
        ],
    },
];

/// Crates that make system calls, which must not be anywhere in a pure crate's dependency tree.
const SYSTEM_CALLS: [&str; 8] =
    ["fuser", "libc", "linux-raw-sys", "mio", "nix", "rustix", "signal-hook", "tokio"];

/// The edges of a workspace that are not allowed.
fn forbidden(metadata: &Value) -> Vec<String> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeMap<String, String> = list(&metadata["packages"])
        .iter()
        .map(|one| (text(&one["id"]), text(&one["name"])))
        .collect();
    let members: BTreeSet<String> =
        list(&metadata["workspace_members"]).iter().map(|id| names[&text(id)].clone()).collect();
    // For each crate: the crates that it uses, and whether it uses them outside its tests.
    let mut uses: BTreeMap<String, Vec<(String, bool)>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let edges = list(&node["deps"]).into_iter().map(|edge| {
            let normal = list(&edge["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
            (names[&text(&edge["pkg"])].clone(), normal)
        });
        uses.entry(names[&text(&node["id"])].clone()).or_default().extend(edges);
    }
    let mut found = Vec::new();
    for Floor { name, pure, ours, others } in &FLOORS {
        let Some(edges) = uses.get(*name) else {
            found.push(format!("{name}: there is no such crate"));
            continue;
        };
        for (on, normal) in edges {
            let allowed = if members.contains(on) {
                ours.contains(&on.as_str())
            } else {
                !normal || others.contains(&on.as_str())
            };
            if !allowed {
                found.push(format!("{name} -> {on}"));
            }
        }
        if !pure {
            continue;
        }
        let (mut seen, mut next) = (BTreeSet::new(), vec![vec![(*name).to_owned()]]);
        while let Some(path) = next.pop() {
            for (on, _) in uses[&path[path.len() - 1]].iter().filter(|(_, normal)| *normal) {
                let path = [path.as_slice(), std::slice::from_ref(on)].concat();
                if SYSTEM_CALLS.contains(&on.as_str()) {
                    found.push(path.join(" -> "));
                } else if seen.insert(on.clone()) {
                    next.push(path);
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn no_crate_stands_on_more_than_is_listed() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let words = ["metadata", "--format-version", "1", "--offline", "--locked"];
    let platform = ["--filter-platform", "x86_64-unknown-linux-gnu"];
    let mut command = Command::new(cargo);
    command.args(words).args(platform).current_dir(env!("CARGO_MANIFEST_DIR"));
    let said = command.output().unwrap();
    assert!(said.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&said.stderr));
    let found = forbidden(&serde_json::from_slice(&said.stdout).unwrap());
    assert!(found.is_empty(), "edges that are not allowed: {}", found.join(", "));
}

/// A workspace of these crates, with the given edges in addition to allowed ones.
fn workspace(edges: &[(&str, &str, Option<&str>)]) -> Value {
    let names = [
        "evidence", "verdict", "machine", "guest", "measure", "homes", "criteria", "cli", "serde",
        "nix", "libc", "fuser", "tempfile",
    ];
    let packages: Vec<Value> = names.iter().map(|name| json!({"id": name, "name": name})).collect();
    let own = [
        ("verdict", "evidence", None),
        ("evidence", "serde", None),
        ("machine", "evidence", None),
        ("machine", "nix", None),
        ("guest", "machine", None),
        ("measure", "machine", None),
        ("homes", "measure", None),
        ("criteria", "homes", None),
    ];
    let all: Vec<_> = own.iter().chain(edges).collect();
    let node = |name: &&str| {
        let of_this = all.iter().filter(|(from, ..)| from == name);
        let deps: Vec<Value> = of_this
            .map(|(_, on, kind)| json!({"pkg": on, "dep_kinds": [{"kind": kind}]}))
            .collect();
        json!({"id": name, "deps": deps})
    };
    let nodes: Vec<Value> = names.iter().map(node).collect();
    json!({
        "packages": packages,
        "workspace_members": ["evidence", "verdict", "machine", "guest", "measure", "homes", "criteria", "cli"],
        "resolve": {"nodes": nodes},
    })
}

#[rstest::rstest]
#[case::as_it_is(&[], &[])]
#[case::a_crate_for_tests(&[("evidence", "tempfile", Some("dev"))], &[])]
#[case::system_calls_of_tests(&[("verdict", "tempfile", Some("dev")), ("tempfile", "libc", None)], &[])]
#[case::another_crate(&[("evidence", "tempfile", None)], &["evidence -> tempfile"])]
#[case::upwards(&[("verdict", "cli", None)], &["verdict -> cli"])]
#[case::upwards_in_tests(&[("verdict", "cli", Some("dev"))], &["verdict -> cli"])]
#[case::a_ring(&[("evidence", "verdict", Some("dev"))], &["evidence -> verdict"])]
#[case::beside(&[("verdict", "machine", None)], &["verdict -> machine", "verdict -> machine -> nix"])]
#[case::from_the_machine_upwards(&[("machine", "cli", None)], &["machine -> cli"])]
#[case::the_launcher_judges(&[("guest", "verdict", None)], &["guest -> verdict"])]
#[case::who_measures_boots(&[("measure", "guest", None)], &["measure -> guest"])]
#[case::who_mounts_boots(&[("homes", "guest", None)], &["homes -> guest"])]
#[case::a_home_knows_trials(&[("homes", "criteria", Some("dev"))], &["homes -> criteria"])]
#[case::another_crate_of_the_machine(&[("machine", "fuser", None)], &["machine -> fuser"])]
#[case::system_calls(
    &[("evidence", "nix", None)],
    &["evidence -> nix", "verdict -> evidence -> nix"]
)]
#[case::system_calls_below(
    &[("serde", "libc", None)],
    &["evidence -> serde -> libc", "verdict -> evidence -> serde -> libc"]
)]
fn an_edge_that_is_not_allowed_is_named(
    #[case] edges: &[(&str, &str, Option<&str>)],
    #[case] named: &[&str],
) {
    assert_eq!(forbidden(&workspace(edges)), named);
}
