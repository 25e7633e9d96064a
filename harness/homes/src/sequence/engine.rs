//! The reference answer: the engine in this process, which gets the changes of a file row by row in
//! the contract's order. Every home must give the same bits, however the bytes reached its file.

use machine::failure::Failure;
use machine::require;
use measure::contender::InProcess;
use vexfs_anns::{Hit, Index, Scratch, SimdLevel, Userspace};
use vexfs_uapi::client::Declaration;

use super::change::{Change, Way};
use super::model::Model;

/// A file's model, and an index of its rows.
pub struct InOrder {
    /// The file.
    pub model: Model,
    declaration: Declaration,
    index: Index,
    scratch: Scratch,
}

impl InOrder {
    /// An empty file with an index.
    pub fn new(declaration: &Declaration) -> Result<InOrder, Failure> {
        let index = empty(declaration)?;
        let model = Model::new(declaration.dim as usize, declaration.metric);
        Ok(InOrder { model, declaration: *declaration, index, scratch: Scratch::new() })
    }

    /// Builds the index again from the present rows, as ATTACH does.
    pub fn attach_anew(&mut self) -> Result<(), Failure> {
        self.index = empty(&self.declaration)?;
        self.append_new()
    }

    /// Makes `change` if it is allowed, and returns whether it is.
    pub fn change(&mut self, change: &Change) -> Result<bool, Failure> {
        match change {
            Change::SetLen(length) => {
                let done = self.model.set_len(*length).is_some();
                if done {
                    let rows = self.model.rows() as u64;
                    let cut = self.index.truncate(&Userspace, rows);
                    cut.map_err(|error| said("truncate", error))?;
                    self.append_new()?;
                }
                Ok(done)
            }
            Change::Punch { at, length } => {
                let rows = self.model.punch(*at..at + length);
                self.overwrite(rows)?;
                Ok(true)
            }
            Change::Write { at, bytes, way: Way::Pieces(size) } => {
                for (n, piece) in bytes.chunks(*size).enumerate() {
                    if !self.write(at + n * size, piece)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Change::Write { at, bytes, .. } => self.write(*at, bytes),
        }
    }

    /// Does what one request does: rows that existed come first, in ascending order, then new rows.
    fn write(&mut self, at: usize, bytes: &[u8]) -> Result<bool, Failure> {
        let Some(replaced) = self.model.write(at, bytes) else { return Ok(false) };
        self.overwrite(replaced)?;
        self.append_new()?;
        Ok(true)
    }

    fn bits(&self, row: usize) -> Vec<u32> {
        self.model.row(row).into_iter().map(f32::to_bits).collect()
    }

    fn overwrite(&mut self, rows: std::ops::Range<usize>) -> Result<(), Failure> {
        for row in rows {
            let bits = self.bits(row);
            let done = self.index.overwrite(&Userspace, row as u64, &bits);
            done.map_err(|error| said("overwrite", error))?;
        }
        Ok(())
    }

    fn append_new(&mut self) -> Result<(), Failure> {
        for row in self.index.rows() as usize..self.model.rows() {
            let bits = self.bits(row);
            self.index.append(&Userspace, &bits).map_err(|error| said("append", error))?;
        }
        Ok(())
    }

    /// The `k` nearest rows to `query`, with `param` as efSearch, nprobe or refine.
    pub fn search(
        &mut self,
        query: &[f32],
        k: u32,
        param: u32,
    ) -> Result<Vec<vexfs_uapi::Hit>, Failure> {
        let query: Vec<u32> = query.iter().map(|value| value.to_bits()).collect();
        let mut hits = vec![Hit::default(); k as usize];
        let found = self.index.search(&Userspace, &mut self.scratch, &query, k, param, &mut hits);
        let found = found.map_err(|error| said("search", error))?.hits;
        require!(found <= k as usize, "the engine found {found} rows, more than the {k} asked for");
        let told =
            |hit: &Hit| vexfs_uapi::Hit { row: hit.row, distance: hit.distance, reserved: 0 };
        Ok(hits[..found].iter().map(told).collect())
    }
}

fn empty(declaration: &Declaration) -> Result<Index, Failure> {
    let params = InProcess::params(declaration);
    Index::new(&params, SimdLevel::detect()).map_err(|error| said("an index", error))
}

fn said(what: &str, error: vexfs_anns::Error) -> Failure {
    Failure::new(format!("the engine in process refused {what}: {error:?}"))
}
