//! Long builds: ATTACH with the parameters that make it slowest.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use machine::failure::{Failure, WithContext};
use measure::dataset;
use vexfs_uapi::client::{Declaration, detach};
use vexfs_uapi::{Kind, MAX_DIM};

use super::attach_the_most;
use crate::adversary::scene::Scene;

/// Errors with which a home may refuse a request that is too large. EINVAL is none of them: it is
/// about parameters, and [`attach_the_most`] goes down to the home's own.
const REFUSED: &[i32] = &[libc::ENOSPC, libc::ENOMEM, libc::EINTR];

fn refusable<T>(result: io::Result<T>, what: &str) -> Result<Option<T>, Failure> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.raw_os_error().is_some_and(|errno| REFUSED.contains(&errno)) => {
            Ok(None)
        }
        Err(error) => Err(error).context(what),
    }
}

/// Starts a build that takes hours. Meanwhile other threads, which may have to wait for it, write
/// to its file, read it, unlink it and make new files beside it.
pub fn without_end(scene: &mut Scene) -> Result<(), Failure> {
    const DIM: usize = 16;
    let rows = scene.sized(30_000, 20_000);
    let values: Vec<f32> = (0..rows * DIM).map(|_| scene.dice.component()).collect();
    let file = scene.file("mine")?;
    file.write_all_at(dataset::bytes(&values), 0).context("writing rows")?;
    scene.says(format!("ATTACH of HNSW (M 128, efConstruction 20000) over {rows} rows of {DIM}"));
    let slow = Declaration {
        kind: Kind::Hnsw,
        params: [128, 20_000, 0, 0, 0, 0, 0, 0],
        ..Declaration::flat(DIM as u32)
    };
    let path = scene.path("mine");
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let attaching = scope.spawn(|| {
            let attached = refusable(attach_the_most(&file, &slow), "a long ATTACH");
            ended.store(true, Ordering::SeqCst);
            attached.map(drop)
        });
        thread::sleep(Duration::from_millis(300));
        scene.ready();
        scope.spawn(|| fs::OpenOptions::new().write(true).open(&path)?.write_at(&[0; 4], 0));
        scope.spawn(|| fs::read(&path));
        thread::sleep(Duration::from_millis(300));
        scene.says("unlink of the file that an ATTACH is busy with, in the mount's root");
        scope.spawn(|| fs::remove_file(&path));
        for number in 0_u64.. {
            if ended.load(Ordering::SeqCst) {
                break;
            }
            // The adversary's other files in the same directory.
            let another = scene.path(&format!("another-{}", number % 8));
            let _ = fs::write(&another, [0; 64]);
            let _ = fs::rename(&another, scene.path("renamed"));
            let _ = fs::remove_file(scene.path("renamed"));
            thread::sleep(Duration::from_millis(5));
        }
        attaching.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Builds one index after the other, declared with the largest and smallest parameters.
pub fn at_extremes(scene: &mut Scene) -> Result<(), Failure> {
    // Nearly all rows are equal, so most lists stay empty.
    let rows: u32 = scene.sized(262_144, 65_536);
    let alike = scene.file("alike.f32")?;
    alike.write_all_at(&1_f32.to_le_bytes(), 0)?;
    alike.set_len(u64::from(rows) * 4)?;
    let distinct = scene.file("distinct.f32")?;
    let values: Vec<f32> = (0..rows).map(|_| scene.dice.below(1 << 24) as f32).collect();
    distinct.write_all_at(dataset::bytes(&values), 0)?;
    let wide = scene.file("wide.f32")?;
    let wide_rows = scene.sized(1_100, 300);
    for row in 0..wide_rows {
        let values: Vec<f32> = (0..MAX_DIM).map(|_| scene.dice.component()).collect();
        wide.write_all_at(dataset::bytes(&values), row * u64::from(MAX_DIM) * 4)?;
    }
    let narrow = Declaration::flat(1);
    let broad = Declaration { index: 1, ..Declaration::flat(MAX_DIM) };
    let ivf = |lists: u32| (Kind::Ivf, [lists, 0, 0, 0, 0, 0, 0, 0]);
    let lists = scene.sized(16_384, 8_192);
    let (most, some) = (ivf(65_536), ivf(lists));
    let hnsw = (Kind::Hnsw, [128, 65_536, 65_536, 0, 0, 0, 0, 0]);
    let all = [
        (&alike, narrow, some),
        (&alike, narrow, most),
        (&alike, narrow, hnsw),
        (&alike, narrow, (Kind::Lsh, [8_192, 10_000, 0, 0, 0, 0, 0, 0])),
        (&alike, narrow, (Kind::Pq, [1, 8, 10_000, 0, 0, 0, 0, 0])),
        (&wide, broad, (Kind::Pq, [MAX_DIM, 8, 10_000, 0, 0, 0, 0, 0])),
        (&wide, broad, (Kind::Ivf, [256, 256, 0, 0, 0, 0, 0, 0])),
        (&wide, broad, (Kind::Lsh, [8_192, 10_000, 0, 0, 0, 0, 0, 0])),
        (&wide, broad, hnsw),
        // These take minutes on any machine, so SIGKILL finds the adversary in one of them.
        (&distinct, narrow, most),
        (&distinct, narrow, hnsw),
    ];
    // A home that refused all of them would do no work, and hurt nobody. Over a few rows each needs
    // little room and time.
    let few = scene.file("few.f32")?;
    few.write_all_at(dataset::bytes(&values[..32]), 0)?;
    let few_wide = scene.file("few-wide.f32")?;
    few_wide.write_all_at(dataset::bytes(&values[..4 * MAX_DIM as usize]), 0)?;
    for (_, declaration, (kind, params)) in all {
        let (file, dim) = if declaration.dim == 1 { (&few, 1) } else { (&few_wide, MAX_DIM) };
        let told = format!("ATTACH of {kind:?} ({:?}) over a few rows of {dim}", &params[..3]);
        attach_the_most(file, &Declaration { kind, params, ..declaration }).context(&told)?;
        detach(file, declaration.index).context(format!("DETACH after {told}"))?;
    }
    scene.ready();
    let any = |scene: &mut Scene| scene.dice.below(all.len() as u64) as usize;
    // The first round begins with a build that a naive home takes long for and a good one does not.
    // The later rounds begin with builds that take long in any home. The seed decides which follow.
    let mut next = match scene.order.round {
        0 => 0,
        round => all.len() - 1 - (round as usize - 1) % 2,
    };
    loop {
        let (file, declaration, (kind, params)) = all[next];
        let declaration = Declaration { kind, params, ..declaration };
        let told = format!(
            "ATTACH of {kind:?} ({:?}) over {} rows of {}",
            &params[..3],
            if declaration.dim == 1 { u64::from(rows) } else { wide_rows },
            declaration.dim
        );
        scene.says(&told);
        if refusable(attach_the_most(file, &declaration), &told)?.is_some() {
            detach(file, declaration.index).context(format!("DETACH after {told}"))?;
        }
        next = any(scene);
    }
}
