//! Makes the same changes in both homes and checks that both give the same answers after each.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use homes::sequence::{Change, Shape, apply, query};
use homes::torture::fuzz::Dice;
use homes::torture::scale;
use machine::failure::{Failure, WithContext};
use machine::require;
use measure::home;
use vexfs_uapi::client::{Declaration, Searcher, attach};
use vexfs_uapi::{Hit, Home, Kind, Metric};

use crate::trial::Context;

const SEED: u64 = 20;
const CHANGES: u64 = 20;
const K: u32 = 10;
const KINDS: [(Kind, Metric, usize); 5] = [
    (Kind::Flat, Metric::Cosine, 1_300),
    (Kind::Hnsw, Metric::L2, 400),
    (Kind::Pq, Metric::InnerProduct, 1_300),
    (Kind::Ivf, Metric::L2, 1_300),
    (Kind::Lsh, Metric::Cosine, 1_300),
];

/// A file in one home, with an index.
struct HomeFile {
    home: &'static str,
    file: File,
}

impl HomeFile {
    fn new(
        home: Home,
        mount: &Path,
        name: &str,
        declaration: &Declaration,
    ) -> Result<HomeFile, Failure> {
        let home = home::name(home);
        let mut how = OpenOptions::new();
        how.read(true).write(true).create(true).truncate(true);
        let file = how.open(mount.join(name)).context(home)?;
        attach(&file, declaration).context(format!("ATTACH, {home}"))?;
        Ok(HomeFile { home, file })
    }

    fn search(&self, dim: u32, effort: u32, query: &[f32]) -> Result<Vec<Hit>, Failure> {
        let mut searcher = Searcher::new(dim, K, 0)?.with_param(effort);
        Ok(searcher.search(&self.file, query).context(format!("SEARCH, {}", self.home))?.to_vec())
    }
}

/// Makes the same changes to files in both homes, and compares the answers bit for bit.
///
/// # Errors
/// The first difference, and the change after which it appeared.
pub fn changed_rows(context: &Context, kernel: &Path, fuse: &Path) -> Result<(), Failure> {
    let mut compared = 0_u64;
    for round in 0..u64::from(scale()?) {
        for ((kind, metric, most_rows), dim) in
            KINDS.iter().flat_map(|one| [(*one, 16), (*one, 25)])
        {
            let seed = SEED + round;
            let declaration = Declaration { kind, metric, seed, ..Declaration::flat(dim) };
            let name = format!("{kind:?}-{dim}.f32");
            let sides = [
                HomeFile::new(Home::Kernel, kernel, &name, &declaration)?,
                HomeFile::new(Home::Fuse, fuse, &name, &declaration)?,
            ];
            let shape = Shape { dim: dim as usize, most_rows };
            compared += one_pair(&sides, shape, declaration)
                .context(format!("{kind:?} by {metric:?}, {dim} components, seed {seed}"))?;
        }
    }
    context.fact("answers compared", compared)
}

fn one_pair(sides: &[HomeFile; 2], shape: Shape, declaration: Declaration) -> Result<u64, Failure> {
    let mut dice = Dice::new(declaration.seed, u64::from(declaration.dim));
    let mut compared = 0;
    for number in 0..CHANGES {
        let length = usize::try_from(sides[0].file.metadata()?.len())?;
        let change = Change::draw(&mut dice, shape, length);
        let told = format!("change {number} of a file of {length} bytes, {change}");
        let [kernel, fuse] = sides;
        // Read the file first: when its pages are in the page cache, a FUSE write goes to the
        // daemon in one request, and is refused as a whole.
        fuse.file.read_exact_at(&mut vec![0; length], 0).context(&told)?;
        let done = (
            apply(&kernel.file, &change).context(&told)?,
            apply(&fuse.file, &change).context(&told)?,
        );
        require!(done.0 == done.1, "{told}: accepted by kernel: {}, by FUSE: {}", done.0, done.1);
        let lengths = (kernel.file.metadata()?.len(), fuse.file.metadata()?.len());
        require!(lengths.0 == lengths.1, "{told}: kernel and fuse differ in length: {lengths:?}");
        for effort in [0, 1] {
            let query = query(&mut dice, shape.dim);
            let by_kernel = kernel.search(declaration.dim, effort, &query).context(&told)?;
            let by_fuse = fuse.search(declaration.dim, effort, &query).context(&told)?;
            require!(
                by_kernel == by_fuse,
                "{told}: kernel and fuse answer differently: {by_kernel:?} and {by_fuse:?}"
            );
            compared += 1;
        }
    }
    Ok(compared)
}
