//! Several stores of the same rows that are asked in turn.
//!
//! What a search costs depends on where in memory its store lies (pages and their colours, huge pages,
//! NUMA, what it meets in the caches), and a store stays where it was built. One store a side makes
//! that a bias, which no number of rounds takes away. Several, one a round, make it noise, which the
//! bounds hold.

use evidence::protocol::{Arm, ORDERS, Protocol};
use machine::failure::{Failure, WithContext};
use serde_json::{Value, json};

use super::interface::{Answers, Contender, Insertion};
use super::rounds::sides::fill;
use crate::dataset::Dataset;

/// How many a side has, where they are many. No round of the orders of sides belongs to one store:
/// four and seven have no common factor.
pub const STORES: usize = 7;

/// How many stores the sides of a search have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stock {
    /// [`STORES`] a side, and new ones for each pass.
    Many,
    /// One a side, for all passes: it takes long to build.
    One,
    /// One of A and one of B for all passes, and one that both copies of A ask: an emulated CPU
    /// builds it for minutes.
    OneOfBothCopies,
}

impl Stock {
    /// What a measurement with a place of memory in it asks for: many, but on a CPU that is emulated.
    pub fn of(emulated: bool) -> Stock {
        if emulated { Stock::OneOfBothCopies } else { Stock::Many }
    }

    /// Stores of a side.
    pub fn a_side(self) -> usize {
        if self == Stock::Many { STORES } else { 1 }
    }

    /// Whether a pass has stores of its own.
    pub fn is_new_each_pass(self) -> bool {
        self == Stock::Many
    }
}

/// Stores that are alike. Each turn asks the next of them.
pub struct Stores<C> {
    stores: Vec<C>,
    turn: usize,
}

impl<C> Stores<C> {
    /// Those that `make` makes, given the number of each.
    pub fn new(
        count: usize,
        make: impl FnMut(usize) -> Result<C, Failure>,
    ) -> Result<Self, Failure> {
        Ok(Stores { stores: (0..count).map(make).collect::<Result<_, _>>()?, turn: 0 })
    }

    /// Each of them.
    pub fn each(&self) -> &[C] {
        &self.stores
    }

    /// Each of them, to be filled.
    pub fn each_mut(&mut self) -> &mut [C] {
        &mut self.stores
    }

    /// One more.
    pub fn add(&mut self, store: C) {
        self.stores.push(store);
    }

    /// None any more.
    pub fn clear(&mut self) {
        self.stores.clear();
        self.turn = 0;
    }
}

impl<C: Contender> Contender for Stores<C> {
    fn name(&self) -> &str {
        self.stores[0].name()
    }

    /// The first's, with what all have counted.
    fn describe(&mut self) -> Result<Value, Failure> {
        let all: Vec<Value> =
            self.stores.iter_mut().map(Contender::describe).collect::<Result<_, _>>()?;
        let mut told = all[0].clone();
        for counter in ["searches", "distances", "memory"] {
            let counts: Option<Vec<u64>> = all.iter().map(|one| one[counter].as_u64()).collect();
            if let Some(counts) = counts {
                told[counter] = json!(counts.iter().sum::<u64>());
            }
        }
        told["stores"] = json!(all.len());
        Ok(told)
    }

    /// Into each of them, one after the other.
    fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure> {
        let mut sum = Insertion { took: Default::default(), wall: Default::default() };
        for one in &mut self.stores {
            let Insertion { took, wall } = one.insert(first_row, rows)?;
            sum.took += took;
            sum.wall += wall;
        }
        Ok(sum)
    }

    fn vectors(&mut self) -> Result<Vec<f32>, Failure> {
        self.stores[0].vectors()
    }

    fn search(&mut self, queries: &[f32], k: usize) -> Result<Answers, Failure> {
        self.stores[self.turn].search(queries, k)
    }

    fn next_turn(&mut self) {
        self.turn = (self.turn + 1) % self.stores.len();
    }
}

/// In which order the sides get their `number`-th stores: another one from store to store, so that
/// no side has what was free first. `drawn` is drawn once a measurement.
pub fn building_order(number: usize, drawn: usize) -> [Arm; 4] {
    ORDERS[(number + drawn) % ORDERS.len()]
}

/// A number of this measurement's for [`building_order`]: each is a process, and has passes.
pub fn draw_order(pass: usize) -> usize {
    std::process::id() as usize + pass
}

/// Fills the empty stores of sides, by the numbers of [`Arm::ALL`], store by store in
/// [`building_order`].
pub fn fill_stores<C: Contender>(
    mut sides: [Option<&mut Stores<C>>; Arm::ALL.len()],
    dataset: &Dataset,
    protocol: &Protocol,
    drawn: usize,
) -> Result<(), Failure> {
    let most = sides.iter().flatten().map(|side| side.stores.len()).max().unwrap_or_default();
    for number in 0..most {
        for arm in building_order(number, drawn) {
            let side = sides[arm as usize].as_mut();
            if let Some(store) = side.and_then(|side| side.stores.get_mut(number)) {
                let name = store.name().to_owned();
                fill(store, dataset, protocol).context(name)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use vexfs_uapi::client::Declaration;

    use super::super::InProcess;
    use super::*;

    fn of(count: usize) -> Stores<InProcess> {
        Stores::new(count, |_| InProcess::new(&Declaration::flat(2))).unwrap()
    }

    #[test]
    fn each_turn_asks_the_next_store() {
        let mut stores = of(3);
        stores.insert(0, &[0.0, 0.0, 1.0, 1.0]).unwrap();
        for turn in 1..=7 {
            stores.next_turn();
            assert_eq!(stores.search(&[1.0, 1.0], 1).unwrap().answers[0].ids, [1]);
            let told = stores.describe().unwrap();
            assert_eq!((&told["searches"], &told["stores"]), (&json!(turn), &json!(3)));
        }
        let asked = |store: &mut InProcess| store.describe().unwrap()["searches"].clone();
        let asked: Vec<Value> = stores.each_mut().iter_mut().map(asked).collect();
        assert_eq!(asked, [2, 3, 2]);
    }

    /// A store that tells when it is filled.
    struct Telling(InProcess, &'static str, Rc<RefCell<String>>);

    impl Contender for Telling {
        fn name(&self) -> &str {
            self.1
        }
        fn describe(&mut self) -> Result<Value, Failure> {
            self.0.describe()
        }
        fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure> {
            self.2.borrow_mut().push_str(self.1);
            self.0.insert(first_row, rows)
        }
        fn vectors(&mut self) -> Result<Vec<f32>, Failure> {
            self.0.vectors()
        }
        fn search(&mut self, queries: &[f32], k: usize) -> Result<Answers, Failure> {
            self.0.search(queries, k)
        }
    }

    #[test]
    fn no_side_is_built_first_more_often_than_another() {
        let told = Rc::new(RefCell::new(String::new()));
        let side = |name, count| {
            let made = |_| Ok(Telling(InProcess::new(&Declaration::flat(2))?, name, told.clone()));
            Stores::new(count, made).unwrap()
        };
        let (mut a, mut b, mut again) = (side("A", 4), side("B", 1), side("a", 4));
        let protocol =
            Protocol { rows: 2, dim: 2, insertion_batch: 2, ..evidence::protocol::PROTOCOL };
        let dataset = Dataset::generate(5, 2, 2, 1);
        let sides = [Some(&mut a), Some(&mut b), Some(&mut again), None];
        fill_stores(sides, &dataset, &protocol, 0).unwrap();
        assert_eq!(*told.borrow(), "ABaaAaAAa");
        let firsts: Vec<u8> = (0..4).map(|number| building_order(number, 3)[0] as u8).collect();
        assert_eq!(firsts.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    }
}
