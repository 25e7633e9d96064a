//! Requests: valid ones, and random mutations of them.

use vexfs_uapi::{
    ABI_VERSION, Attach, Detach, Hit, IOC_ATTACH, IOC_DETACH, IOC_MAX_SIZE, MAX_DIM, MAX_INDEXES,
    MAX_K, STATS_SIZE_0, Search, Stats, ioc_read_write, ioc_search, ioc_stats_of, most_queries,
    search_size,
};

use super::dice::Dice;
use super::memory::Placement;

/// The kind of request that an ioctl number encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `VEXFS_IOC_ATTACH`.
    Attach,
    /// `VEXFS_IOC_DETACH`.
    Detach,
    /// `VEXFS_IOC_SEARCH` of some size.
    Search,
    /// `VEXFS_IOC_STATS` of some size that the contract allows.
    Stats,
    /// No request of the contract.
    Unknown,
}

impl Kind {
    /// The kind of an ioctl number.
    pub fn of(number: u32) -> Kind {
        match number {
            IOC_ATTACH => Kind::Attach,
            IOC_DETACH => Kind::Detach,
            _ => match size_of_number(number) {
                size if number == ioc_search(size) => Kind::Search,
                size if size >= STATS_SIZE_0 && number == ioc_stats_of(size) => Kind::Stats,
                _ => Kind::Unknown,
            },
        }
    }
}

/// The size that an ioctl number encodes.
pub fn size_of_number(number: u32) -> usize {
    (number >> 16) as usize & IOC_MAX_SIZE
}

/// The access mode of the descriptor on which a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// `O_RDWR`.
    Both,
    /// `O_RDONLY`.
    Read,
    /// `O_WRONLY`.
    Write,
}

/// The file on which a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A vector file, by its number (see [`DIMS`]).
    File(usize, Access),
    /// A directory of the mount.
    Directory,
    /// A file of another file system.
    Stranger,
}

/// The dimension that most indexes of each file have. The last file is unlinked but open.
pub const DIMS: [u32; 3] = [8, 16, 4];

/// A complete request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FuzzedRequest {
    /// The ioctl's number.
    pub number: u32,
    /// As many bytes as the number encodes.
    pub bytes: Vec<u8>,
    /// Where the bytes are.
    pub placement: Placement,
    /// The file that it is made on.
    pub target: Target,
}

impl FuzzedRequest {
    /// The next request; five out of eight are allowed by the contract.
    pub fn next(dice: &mut Dice) -> FuzzedRequest {
        let file = dice.below(DIMS.len() as u64) as usize;
        let dim = if dice.one_in(12) { dice.pick(&[1, 3, 32, MAX_DIM]) } else { DIMS[file] };
        let (number, bytes) = valid(dice, dim);
        let target = Target::File(file, Access::Both);
        let mut request =
            FuzzedRequest { number, bytes, placement: Placement::BeforeGuard, target };
        if dice.one_in(2) {
            request.placement = Placement::AfterGuard;
        }
        if dice.below(8) < 3 {
            for _ in 0..=dice.below(2) {
                request.change(dice);
            }
        }
        request
    }

    /// Changes one thing about the request.
    fn change(&mut self, dice: &mut Dice) {
        match dice.below(8) {
            0..4 if self.bytes.len() >= 4 => {
                // Changes a word of the header; words of the payload are arbitrary floats anyway.
                let words = (self.bytes.len() / 4).min(17);
                let at = dice.below(words as u64) as usize * 4;
                self.bytes[at..at + 4].copy_from_slice(&dice.word().to_le_bytes());
            }
            4 => self.renumber(dice),
            5 => {
                let accesses = [Access::Read, Access::Write];
                let file = dice.below(DIMS.len() as u64) as usize;
                let files = accesses.map(|access| Target::File(file, access));
                self.target = dice.pick(&[files[0], files[1], Target::Directory, Target::Stranger]);
            }
            6 => {
                // Flips a bit of a query, or of whatever else is there.
                if !self.bytes.is_empty() {
                    let at = dice.below(self.bytes.len() as u64) as usize;
                    self.bytes[at] ^= 1 << dice.below(8);
                }
            }
            _ => self.placement = dice.pick(&Placement::BAD),
        }
    }

    /// Changes the number, and the bytes to as many as it encodes.
    fn renumber(&mut self, dice: &mut Dice) {
        let size = match dice.below(3) {
            0 => dice.below(IOC_MAX_SIZE as u64 + 1) as usize,
            1 => self.bytes.len().saturating_sub(1 + dice.below(32) as usize),
            _ => (self.bytes.len() + 1 + dice.below(32) as usize).min(IOC_MAX_SIZE),
        };
        self.number = match dice.below(4) {
            0 => ioc_search(size),
            1 => ioc_read_write(dice.below(256) as u8, size),
            // Any direction, size and number, with our magic or with one that nobody uses.
            2 => (dice.word() & 0xffff_00ff) | u32::from(vexfs_uapi::IOC_MAGIC) << 8,
            _ => (dice.word() & 0xffff_00ff) | 0xfb00,
        };
        self.bytes.resize(size_of_number(self.number), dice.below(256) as u8);
    }

    /// The name under which it is counted; batches are counted separately.
    pub fn name(&self) -> &'static str {
        match Kind::of(self.number) {
            Kind::Attach => "ATTACH",
            Kind::Detach => "DETACH",
            Kind::Search if self.word(7) > 1 => "SEARCH of a batch",
            Kind::Search => "SEARCH",
            Kind::Stats => "STATS",
            Kind::Unknown => "none of the contract's",
        }
    }

    /// Word `n` of the request; 0 beyond its end.
    pub fn word(&self, n: usize) -> u32 {
        word(&self.bytes, n)
    }

    /// Whether all fields satisfy the contract, whatever the state of the file.
    pub fn is_well_formed(&self) -> bool {
        let common = self.word(0) == ABI_VERSION && self.word(1) == 0;
        let is_one_of = |n, last| (1..=last).contains(&self.word(n));
        common
            && match Kind::of(self.number) {
                Kind::Attach => {
                    is_one_of(2, MAX_DIM)
                        && is_one_of(3, 3)
                        && is_one_of(4, 5)
                        && self.word(5) < MAX_INDEXES
                }
                Kind::Detach => self.word(2) < MAX_INDEXES && self.word(3) == 0,
                Kind::Stats => self.word(2) < MAX_INDEXES,
                Kind::Search => self.search_is_well_formed(),
                Kind::Unknown => false,
            }
    }

    fn search_is_well_formed(&self) -> bool {
        let Some(payload) = self.bytes.len().checked_sub(size_of::<Search>()) else {
            return false;
        };
        let (dim, k, queries) = (self.word(3), self.word(4), self.word(7).max(1));
        let fits = |each: u64| u64::from(queries) * each <= payload as u64;
        self.word(2) < MAX_INDEXES
            && (1..=MAX_DIM).contains(&dim)
            && (1..=MAX_K).contains(&k)
            && fits(u64::from(dim) * 4)
            && fits(u64::from(k) * size_of::<Hit>() as u64)
    }
}

/// Little-endian word `n` of `bytes`; 0 beyond the end.
pub fn word(bytes: &[u8], n: usize) -> u32 {
    let at = bytes.get(n * 4..n * 4 + 4).and_then(|four| four.try_into().ok());
    u32::from_le_bytes(at.unwrap_or_default())
}

/// A request that the contract allows, for rows of `dim` components.
fn valid(dice: &mut Dice, dim: u32) -> (u32, Vec<u8>) {
    let slot = dice.below(u64::from(MAX_INDEXES)) as u32;
    match dice.below(16) {
        0..3 => {
            let mut words = [0; size_of::<Attach>() / 4];
            let (metric, kind) = (1 + dice.below(3) as u32, 1 + dice.below(5) as u32);
            words[..8].copy_from_slice(&[ABI_VERSION, 0, dim, metric, kind, slot, 42, 0]);
            if dice.one_in(4) {
                words[8 + dice.below(8) as usize] = dice.word();
            }
            (IOC_ATTACH, bytes_of(&words))
        }
        3 => {
            let words = [ABI_VERSION, 0, slot, 0];
            const { assert!(size_of::<Detach>() == 16) };
            (IOC_DETACH, bytes_of(&words))
        }
        4..6 => {
            let sizes = [STATS_SIZE_0, size_of::<Stats>(), size_of::<Stats>() + 64];
            let size = dice.pick(&sizes);
            let mut words = [0; (size_of::<Stats>() + 64) / 4];
            words[..3].copy_from_slice(&[ABI_VERSION, 0, slot]);
            (ioc_stats_of(size), bytes_of(&words[..size / 4]))
        }
        _ => {
            let k = dice.pick(&[1, 1, 10, 10, 100, MAX_K]);
            let most = most_queries(dim as usize, k as usize).min(8) as u64;
            let queries = 1 + dice.below(most) as usize;
            let param = if dice.one_in(4) { dice.word() } else { 0 };
            let mut words = vec![ABI_VERSION, 0, slot, dim, k, 0, param, queries as u32];
            words.resize(search_size(queries, dim as usize, k as usize) / 4, 0);
            for component in &mut words[8..8 + queries * dim as usize] {
                *component = dice.component().to_bits();
            }
            (ioc_search(words.len() * 4), bytes_of(&words))
        }
    }
}

fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn stream(seed: u64, count: usize) -> Vec<FuzzedRequest> {
        let mut dice = Dice::new(seed, 0);
        (0..count).map(|_| FuzzedRequest::next(&mut dice)).collect()
    }

    #[test]
    fn a_seed_decides_everything() {
        assert_eq!(stream(7, 2000), stream(7, 2000));
        assert_ne!(stream(7, 100), stream(8, 100));
    }

    #[test]
    fn a_request_has_the_size_in_its_number() {
        for request in stream(1, 5000) {
            assert_eq!(request.bytes.len(), size_of_number(request.number), "{request:?}");
        }
    }

    /// All kinds, well-formed and not, all targets and all placements must occur.
    #[test]
    fn every_kind_target_and_placement_occurs() {
        let all = stream(3, 20_000);
        let kinds: HashSet<_> =
            all.iter().map(|one| (Kind::of(one.number), one.is_well_formed())).collect();
        assert_eq!(kinds.len(), 4 * 2 + 1, "{kinds:?}");
        let targets: HashSet<_> = all.iter().map(|one| one.target).collect();
        assert_eq!(targets.len(), DIMS.len() * 3 + 2, "{targets:?}");
        let placements: HashSet<_> = all.iter().map(|one| one.placement).collect();
        assert_eq!(placements.len(), Placement::BAD.len() + 2, "{placements:?}");
        let well_formed = all.iter().filter(|one| one.is_well_formed()).count();
        assert!((all.len() / 2..all.len() * 9 / 10).contains(&well_formed), "{well_formed}");
    }

    #[rstest::rstest]
    #[case::enough(1, 8, 2, true)]
    #[case::no_queries_is_one(0, 8, 2, true)]
    #[case::hits_do_not_fit(1, 8, 3, false)]
    #[case::queries_do_not_fit(2, 8, 1, false)]
    #[case::product_overflows(u32::MAX, 8, 1, false)]
    #[case::no_neighbours(1, 8, 0, false)]
    #[case::no_dimension(1, 0, 1, false)]
    fn a_search_must_fit(
        #[case] queries: u32,
        #[case] dim: u32,
        #[case] k: u32,
        #[case] fits: bool,
    ) {
        let mut words = vec![ABI_VERSION, 0, 0, dim, k, 0, 0, queries];
        words.resize(8 + 8, 0);
        let request = FuzzedRequest {
            number: ioc_search(words.len() * 4),
            bytes: bytes_of(&words),
            placement: Placement::BeforeGuard,
            target: Target::File(0, Access::Both),
        };
        assert_eq!(request.is_well_formed(), fits);
    }
}
