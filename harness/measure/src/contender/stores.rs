//! Several stores of the same rows that are searched in turn.
//!
//! The cost of a search depends on where its store lies in memory (page colours, huge pages, NUMA,
//! cache conflicts), and a store stays where it was built. With one store per side, that is a bias,
//! which no number of rounds removes. With several stores, one per round, it is noise, which the
//! bounds include.

use evidence::protocol::{Arm, ORDERS, Protocol};
use machine::failure::{Failure, WithContext};
use serde_json::{Value, json};

use super::interface::{Answers, Contender, Insertion};
use super::rounds::sides::fill;
use crate::dataset::Dataset;

/// How many stores a side has that has several. Seven has no common factor with the four orders of
/// sides, so each store meets every order.
pub const STORES: usize = 7;

/// How many stores the sides of a search have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stock {
    /// [`STORES`] per side, and new ones for each pass.
    Many,
    /// One per side for all passes, if building takes long.
    One,
    /// One for A, one for B, and one that both copies of A share, for all passes: an emulated CPU
    /// needs minutes to build one.
    OneOfBothCopies,
}

impl Stock {
    /// The choice for a search whose time depends on memory placement: several stores, unless the
    /// CPU is emulated.
    pub fn of(emulated: bool) -> Stock {
        if emulated { Stock::OneOfBothCopies } else { Stock::Many }
    }

    /// How many stores a side has.
    pub fn a_side(self) -> usize {
        if self == Stock::Many { STORES } else { 1 }
    }

    /// Whether each pass has new stores.
    pub fn is_new_each_pass(self) -> bool {
        self == Stock::Many
    }
}

/// Equal stores; each turn searches in the next one.
pub struct Stores<C> {
    stores: Vec<C>,
    turn: usize,
}

impl<C> Stores<C> {
    /// Creates stores with `make`, which gets the number of each.
    pub fn new(
        count: usize,
        make: impl FnMut(usize) -> Result<C, Failure>,
    ) -> Result<Self, Failure> {
        Ok(Stores { stores: (0..count).map(make).collect::<Result<_, _>>()?, turn: 0 })
    }

    /// All stores.
    pub fn each(&self) -> &[C] {
        &self.stores
    }

    /// All stores, to be filled.
    pub fn each_mut(&mut self) -> &mut [C] {
        &mut self.stores
    }

    /// Adds a store.
    pub fn add(&mut self, store: C) {
        self.stores.push(store);
    }

    /// Drops all stores.
    pub fn clear(&mut self) {
        self.stores.clear();
        self.turn = 0;
    }
}

impl<C: Contender> Contender for Stores<C> {
    fn name(&self) -> &str {
        self.stores[0].name()
    }

    /// The first store's description, with the counters of all stores added up.
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

    /// Inserts into each store, one after the other.
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

/// The order in which the sides get their `number`-th stores. It changes from store to store, so
/// that no side always gets the memory that is free first. `drawn` is drawn once per measurement.
pub fn building_order(number: usize, drawn: usize) -> [Arm; 4] {
    ORDERS[(number + drawn) % ORDERS.len()]
}

/// A number for [`building_order`] that differs between measurements, which are processes, and
/// between their passes.
pub fn draw_order(pass: usize) -> usize {
    std::process::id() as usize + pass
}

/// Fills the empty stores of all sides, which are indexed by [`Arm::ALL`], store by store in
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

    /// A store that records when it is filled.
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
