//! Appends, changes and removes rows.

use std::os::unix::fs::FileExt;

use homes::sequence::{Change, Model, Shape, apply, query};
use homes::torture::fuzz::Dice;
use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset;
use vexfs_uapi::client::{Declaration, Searcher, attach, detach, stats};
use vexfs_uapi::{Kind, Metric};

use super::attach_the_most;
use crate::adversary::scene::Scene;

const KINDS: [Kind; 5] = [Kind::Pq, Kind::Lsh, Kind::Ivf, Kind::Hnsw, Kind::Flat];

/// Changes the rows of an index whose changes take long, until the adversary is killed.
pub fn change_without_end(scene: &mut Scene) -> Result<(), Failure> {
    match scene.order.round {
        0 => append_without_end(scene),
        1 => make_lists_without_end(scene),
        _ => cut_without_end(scene),
    }
}

/// Writes a megabyte of rows to a graph, which takes minutes: the more rows are inserted, the more
/// must be taken back when the write is interrupted. A machine that finishes the write does it
/// again with other rows.
fn append_without_end(scene: &mut Scene) -> Result<(), Failure> {
    const DIM: usize = 8;
    let (there, new): (usize, usize) = scene.sized((1_000, 32_000), (200, 8_000));
    let params = [64, 1_500, 0, 0, 0, 0, 0, 0];
    let declaration = Declaration { kind: Kind::Hnsw, params, ..Declaration::flat(DIM as u32) };
    let file = scene.file("append.f32")?;
    let values = |scene: &mut Scene, rows| query(&mut scene.dice, rows * DIM);
    let first = values(scene, there);
    file.write_all_at(dataset::bytes(&first), 0).context("writing rows")?;
    let [m, ef, ..] = attach_the_most(&file, &declaration).context("ATTACH")?.params;
    let told = format!("HNSW (M {m}, efConstruction {ef}) of {there} rows of {DIM}");
    let mut rows = values(scene, new);
    scene.ready();
    let at = first.len() as u64 * 4;
    loop {
        scene.says(format!("write of {} bytes to {told}", rows.len() * 4));
        file.write_all_at(dataset::bytes(&rows), at).context("write")?;
        rows = values(scene, new);
    }
}

/// Writes, in one write, enough rows for the largest number of lists that the contract allows. Then
/// overwrites them, cuts them off and writes them again. No machine finishes one of these writes
/// before the adversary is killed.
fn make_lists_without_end(scene: &mut Scene) -> Result<(), Failure> {
    // An IVF index makes its lists when it has four rows for each.
    let lists: u32 = scene.sized(65_536, 8_192);
    let rows = 4 * lists as usize;
    let file = scene.file("lists.f32")?;
    let params = [lists, 0, 0, 0, 0, 0, 0, 0];
    let declaration = Declaration { kind: Kind::Ivf, params, ..Declaration::flat(1) };
    let attached = attach_the_most(&file, &declaration).context("ATTACH of IVF")?;
    let told = format!("IVF of {} lists", attached.params[0]);
    scene.ready();
    for number in 0_usize.. {
        let values: Vec<f32> = (0..rows).map(|_| scene.dice.below(1 << 24) as f32).collect();
        scene.says(format!("write of {rows} rows of 1 under {told}"));
        file.write_all_at(dataset::bytes(&values), 0).context("write")?;
        // To one row below a training step, and to another step.
        let left = [rows - 1, rows / 4 - 1, rows / 2][number % 3];
        scene.says(format!("truncate to {left} rows of {rows} under {told}"));
        file.set_len(left as u64 * 4).context("truncate")?;
    }
    Ok(())
}

/// Attaches a graph to rows that were written under a Flat index, and cuts more than half of them
/// off, so that the graph is linked anew. SIGKILL finds the adversary in the truncate or, where the
/// home owes the cut, in the search that makes up for it. A machine that finishes both writes the
/// rows again.
fn cut_without_end(scene: &mut Scene) -> Result<(), Failure> {
    const DIM: usize = 8;
    let rows: usize = scene.sized(6_000, 1_500);
    let left = rows * 2 / 5;
    let file = scene.file("cut.f32")?;
    attach(&file, &Declaration { index: 1, ..Declaration::flat(DIM as u32) })
        .context("ATTACH of Flat")?;
    let values = query(&mut scene.dice, rows * DIM);
    file.write_all_at(dataset::bytes(&values), 0).context("writing rows")?;
    let params = [64, 1_500, 0, 0, 0, 0, 0, 0];
    let declaration = Declaration { kind: Kind::Hnsw, params, ..Declaration::flat(DIM as u32) };
    scene.says(format!("ATTACH over {rows} rows of {DIM}"));
    let [m, ef, ..] = attach_the_most(&file, &declaration).context("ATTACH")?.params;
    let told = format!("HNSW (M {m}, efConstruction {ef}) and Flat of rows of {DIM}");
    let mut model = Model::new(DIM, Metric::L2);
    require!(model.write(0, &dataset::bytes(&values)[..left * DIM * 4]).is_some(), "not finite");
    scene.ready();
    loop {
        scene.says(format!("truncate to {left} rows of {rows} under {told}"));
        file.set_len((left * DIM * 4) as u64).context("truncate")?;
        scene.says(format!("search of the {left} rows that are left under {told}"));
        for (index, exact) in [(0, false), (1, true)] {
            let query = query(&mut scene.dice, DIM);
            let hits = Searcher::new(DIM as u32, 10, index)?.search(&file, &query)?.to_vec();
            model.check(&query, 10, exact, &hits).context(format!("index {index} after a cut"))?;
        }
        scene.says(format!("write of {rows} rows again under {told}"));
        file.write_all_at(dataset::bytes(&values), 0).context("write")?;
    }
}

/// Makes sequences of changes and checks all answers.
pub fn across_training_steps(scene: &mut Scene) -> Result<(), Failure> {
    scene.ready();
    for round in 0..scene.order.times {
        for (kind, metric) in KINDS.into_iter().zip([
            Metric::L2,
            Metric::L2,
            Metric::InnerProduct,
            Metric::Cosine,
            Metric::L2,
        ]) {
            // PQ and LSH with fewer than 8 components search exactly and are never trained.
            for &dim in scene.sized(&[1, 4, 24][..], &[4, 24]) {
                one_file(scene, round, kind, metric, dim)?;
            }
        }
    }
    Ok(())
}

fn one_file(
    scene: &mut Scene,
    round: u32,
    kind: Kind,
    metric: Metric,
    dim: u32,
) -> Result<(), Failure> {
    let most = if kind == Kind::Hnsw { 700 } else { 4_500 };
    let most_rows = scene.sized(most, most.min(1_300));
    let shape = Shape { dim: dim as usize, most_rows };
    let seed = scene.order.seed;
    let declaration = Declaration { kind, metric, seed, ..Declaration::flat(dim) };
    let name = format!("steps-{round}-{kind:?}-{dim}.f32");
    let file = scene.file(&name)?;
    attach(&file, &declaration).context(format!("ATTACH of {kind:?}"))?;
    let mut model = Model::new(shape.dim, metric);
    let mut history = Vec::new();
    for _ in 0..scene.sized(40, 16) {
        let change = Change::draw(&mut scene.dice, shape, model.bytes().len());
        history.push(format!("{} rows, {change}", model.rows()));
        let recent = history[history.len().saturating_sub(4)..].join("; ");
        let told = format!("{kind:?} by {metric:?}, {dim} components, after {recent}");
        scene.says(&told);
        let done = apply(&file, &change).context(&told)?;
        let finite = follow(&mut model, &change);
        require!(done == finite, "{told}: accepted: {done}, expected: {finite}");
        if !done {
            // The kernel may have carried out a part of the write; the file shows which.
            let mut bytes = vec![0; usize::try_from(file.metadata()?.len())?];
            file.read_exact_at(&mut bytes, 0).context("read")?;
            model = Model::new(shape.dim, metric);
            require!(model.write(0, &bytes).is_some(), "{told}: a row is not finite");
        }
        for effort in [0, 1] {
            let k = scene.dice.pick(&[1, 10, 300, 1_000]);
            let mut searcher = Searcher::new(dim, k, 0)?.with_param(effort);
            let query = query(&mut scene.dice, shape.dim);
            let hits = searcher.search(&file, &query).context(&told)?;
            let exact = kind == Kind::Flat;
            model.check(&query, k as usize, exact, hits).context(&told)?;
        }
    }
    std::fs::remove_file(scene.path(&name)).context("unlink")
}

/// Applies `change` to the model as it is applied to a file. Returns whether all its values were
/// finite.
pub fn follow(model: &mut Model, change: &Change) -> bool {
    use homes::sequence::Way;
    match change {
        Change::SetLen(length) => model.set_len(*length).is_some(),
        Change::Punch { at, length } => {
            model.punch(*at..at + length);
            true
        }
        Change::Write { at, bytes, way: Way::Pieces(size) } => {
            let mut pieces = bytes.chunks(*size).enumerate();
            pieces.all(|(n, piece)| model.write(at + n * size, piece).is_some())
        }
        Change::Write { at, bytes, .. } => model.write(*at, bytes).is_some(),
    }
}

/// Overwrites all rows again and again, each time with a cloud of points around another centre: the
/// memory of an index must not grow by that.
pub fn all_rows_again(scene: &mut Scene) -> Result<(), Failure> {
    const DIM: usize = 16;
    const CLOUDS: usize = 64;
    let (rows, times) = scene.sized((4_096, 40), (1_024, 24));
    scene.ready();
    for kind in KINDS {
        let (rows, times) = if kind == Kind::Hnsw { (rows / 4, 8) } else { (rows, times) };
        let file = scene.file(&format!("again-{kind:?}.f32"))?;
        let mut values = Vec::new();
        let mut params = [0; 8];
        if kind == Kind::Ivf {
            params[0] = CLOUDS as u32;
        }
        let declaration = Declaration { kind, params, ..Declaration::flat(DIM as u32) };
        for time in 0..=times {
            let cloud = |scene: &mut Scene, about: usize| -> Vec<f32> {
                let mut centre = Dice::new(scene.order.seed, 1_000 + about as u64);
                let centre: Vec<f32> = query(&mut centre, DIM);
                let near = query(&mut scene.dice, DIM);
                centre.iter().zip(near).map(|(centre, near)| 50.0 * centre + near).collect()
            };
            // The first rows come from all clouds, so that each cloud gets lists.
            let about = |row: usize| if time == 0 { row % CLOUDS } else { time % CLOUDS };
            values = (0..rows).flat_map(|row| cloud(scene, about(row))).collect();
            scene.says(format!("overwriting {rows} rows of {DIM} under {kind:?}, time {time}"));
            file.write_all_at(dataset::bytes(&values), 0).context("overwriting")?;
            if time == 0 {
                attach(&file, &declaration).context("ATTACH")?;
            }
        }
        let after = stats(&file, 0).context("STATS")?.memory;
        detach(&file, 0).context("DETACH")?;
        attach(&file, &declaration).context("ATTACH")?;
        let fresh = stats(&file, 0).context("STATS")?.memory;
        require!(
            after <= 2 * fresh + (64 << 10),
            "{kind:?} over {rows} rows of {DIM}, all overwritten {times} times, uses {after} \
             bytes; one made of the same rows uses {fresh}"
        );
        let mut model = Model::new(DIM, Metric::L2);
        model.write(0, dataset::bytes(&values));
        let query = query(&mut scene.dice, DIM);
        let hits = Searcher::new(DIM as u32, 10, 0)?.search(&file, &query)?.to_vec();
        model.check(&query, 10, kind == Kind::Flat, &hits).context(format!("{kind:?}"))?;
    }
    Ok(())
}
