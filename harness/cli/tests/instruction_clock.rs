//! Two boots on the instruction clock count the same, however busy the machine is. This takes
//! minutes and a guest, so it only runs by `make clock`.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, available_parallelism};

use assert_cmd::cargo::cargo_bin;
use cli::regress_table::{changes, table};
use criteria::costs::{self, Cost};
use evidence::clock::REPRODUCIBLE_TO;

/// Measures what both homes cost, in a guest of its own, while `burners` threads keep the host
/// busy.
fn costs(burners: usize) -> Vec<Cost> {
    let dir = tempfile::tempdir_in(machine::project::root().join("target")).unwrap();
    let done = AtomicBool::new(false);
    let status = thread::scope(|scope| {
        for _ in 0..burners {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        }
        let program = cargo_bin("vexfs-validate");
        let status = std::process::Command::new(&program)
            .args(["guest", "--clock", "instructions", "--evidence"])
            .arg(dir.path())
            .arg("--")
            .args([program.as_os_str(), "costs".as_ref()])
            .status();
        done.store(true, Ordering::Relaxed);
        status
    });
    assert!(status.unwrap().success());
    costs::read(dir.path()).unwrap()
}

#[test]
fn boots_on_an_idle_and_a_busy_machine_agree() {
    let changes = changes(&costs(0), &costs(available_parallelism().unwrap().get()));
    let changes = changes.unwrap();
    println!("{}", table(&changes));
    for change in &changes {
        assert!((change.ratio() - 1.0).abs() <= REPRODUCIBLE_TO, "{change:?}");
    }
}
