//! The pre-registered thresholds. Evidence repeats them, and the verdict refuses evidence whose
//! numbers differ from those here.

use crate::clock::Clock;
use crate::criterion::Criterion;
use crate::place::Place;

/// One-sided error of the bounds of a soak: its failure rate, and the rate of false alarms.
pub const SOAK_ALPHA: f64 = 0.05;

/// Where and how a ratio is measured, which decides the bound that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleScene {
    /// Host or guest.
    pub place: Place,
    /// Whether the CPU is emulated (TCG).
    pub emulated: bool,
    /// What measured times count.
    pub clock: Clock,
}

/// The operation whose speeds a rule compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleOperation {
    /// A round stores a batch of rows, which counts as one operation.
    Insertion,
    /// A round answers queries, each of which counts as an operation.
    Search,
}

/// A ratio of speeds that must reach a threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Its name in the evidence.
    pub id: &'static str,
    /// The criterion that it belongs to.
    pub criterion: Criterion,
    /// What it says, for a person.
    pub title: &'static str,
    /// What is measured.
    pub work: RuleOperation,
    /// On the host.
    host: Bound,
    /// In the guest.
    guest: Bound,
    /// In a guest whose CPU is emulated.
    emulated: Bound,
    /// The clock that decides in an emulated guest; wall time decides everywhere else.
    emulated_clock: Clock,
}

/// A threshold and whether it decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Speed of A over speed of B.
    pub threshold: f64,
    /// Whether the lower bound must lie above the threshold; else it is enough to reach it.
    pub strictly: bool,
    /// Whether the criterion depends on it here.
    pub decides: bool,
    /// The reason, if it does not decide.
    pub reason: &'static str,
}

const fn decides(threshold: f64) -> Bound {
    Bound { threshold, strictly: false, decides: true, reason: "" }
}

const fn decides_strictly(threshold: f64) -> Bound {
    Bound { strictly: true, ..decides(threshold) }
}

const fn reported(threshold: f64, reason: &'static str) -> Bound {
    Bound { threshold, strictly: false, decides: false, reason }
}

const EMULATED_FLOATS: &str = "an emulated CPU computes float SIMD in software, so a full scan is \
                               no measure of anything but the emulator";
const RECORDED_NATIVELY: &str = "a rate recorded on a real CPU is no measure for an emulated one; \
                                 the live competitor decides";
const REPORTED: &str = "reported beside the criterion, which is about ChromaDB";
const BESIDE: &str = "reported beside the like-for-like ratio";
const GRAPH_EACH: &str = "reported: to answer at no less recall FUSE needs no graph";
const BESIDE_INSTRUCTIONS: &str = "wall time on an emulated CPU stands beside guest instructions, \
                                   which decide there";
const BESIDE_WALL_TIME: &str = "guest instructions stand beside wall time, which decides";
const GUEST_ONLY: &str = "the module is loaded in the guest only";

/// FUSE Flat over ChromaDB, rows inserted: each side does what it needs to answer searches at its
/// recall.
pub const FUSE_OVER_CHROMADB_INSERTION: Rule = Rule {
    id: "fuse_over_chromadb_insertion",
    criterion: Criterion::Baseline,
    title: "FUSE Flat over ChromaDB (HNSW), insertion",
    work: RuleOperation::Insertion,
    host: decides(2.2),
    guest: decides(2.0),
    emulated: decides(2.0),
    emulated_clock: Clock::Wall,
};
/// FUSE Flat over ChromaDB's HNSW at ef_search 256, queries answered.
pub const FUSE_OVER_CHROMADB_FLAT: Rule = Rule {
    id: "fuse_over_chromadb_flat",
    criterion: Criterion::Baseline,
    title: "FUSE Flat over ChromaDB (HNSW, ef_search 256), search",
    work: RuleOperation::Search,
    host: decides(2.2),
    guest: decides(2.0),
    emulated: reported(2.0, EMULATED_FLOATS),
    emulated_clock: Clock::Wall,
};
/// FUSE HNSW over ChromaDB's HNSW at ef_search 256, queries answered: graph with graph.
pub const FUSE_OVER_CHROMADB_HNSW: Rule = Rule {
    id: "fuse_over_chromadb_hnsw",
    title: "FUSE HNSW over ChromaDB (HNSW, ef_search 256), search",
    work: RuleOperation::Search,
    ..FUSE_OVER_CHROMADB_INSERTION
};
/// FUSE PQ over ChromaDB's HNSW at ef_search 256, queries answered.
pub const FUSE_OVER_CHROMADB_PQ: Rule = Rule {
    id: "fuse_over_chromadb_pq",
    title: "FUSE PQ over ChromaDB (HNSW, ef_search 256), search",
    work: RuleOperation::Search,
    host: reported(2.2, BESIDE),
    guest: reported(2.0, BESIDE),
    emulated: reported(2.0, BESIDE),
    ..FUSE_OVER_CHROMADB_INSERTION
};
/// FUSE HNSW over ChromaDB's HNSW at its default ef_search, queries answered.
pub const FUSE_OVER_CHROMADB_DEFAULT: Rule = Rule {
    id: "fuse_over_chromadb_default",
    title: "FUSE HNSW over ChromaDB (HNSW, default ef_search, lower recall), search",
    ..FUSE_OVER_CHROMADB_PQ
};
/// FUSE HNSW over ChromaDB's HNSW, both with ChromaDB's M and efConstruction, rows inserted: graph
/// with graph.
pub const FUSE_OVER_CHROMADB_DEFAULT_INSERTION: Rule = Rule {
    id: "fuse_over_chromadb_default_insertion",
    title: "FUSE HNSW over ChromaDB (HNSW, the same M and efConstruction), insertion",
    work: RuleOperation::Insertion,
    host: reported(2.2, GRAPH_EACH),
    guest: reported(2.0, GRAPH_EACH),
    emulated: reported(2.0, GRAPH_EACH),
    ..FUSE_OVER_CHROMADB_PQ
};
/// FUSE over Qdrant, rows inserted.
pub const FUSE_OVER_QDRANT_INSERTION: Rule = Rule {
    id: "fuse_over_qdrant_insertion",
    criterion: Criterion::Baseline,
    title: "FUSE Flat over Qdrant (its defaults), insertion",
    work: RuleOperation::Insertion,
    host: reported(2.2, REPORTED),
    guest: reported(2.0, REPORTED),
    emulated: reported(2.0, REPORTED),
    emulated_clock: Clock::Wall,
};
/// FUSE Flat over Qdrant, queries answered.
pub const FUSE_OVER_QDRANT_FLAT: Rule = Rule {
    id: "fuse_over_qdrant_flat",
    criterion: Criterion::Baseline,
    title: "FUSE Flat over Qdrant (its defaults), search",
    work: RuleOperation::Search,
    host: reported(2.2, REPORTED),
    guest: reported(2.0, REPORTED),
    emulated: reported(2.0, REPORTED),
    emulated_clock: Clock::Wall,
};
/// Kernel over FUSE, rows inserted.
pub const KERNEL_OVER_FUSE_INSERTION: Rule = Rule {
    id: "kernel_over_fuse_insertion",
    criterion: Criterion::KernelVsFuse,
    title: "kernel over FUSE, Flat insertion",
    work: RuleOperation::Insertion,
    host: reported(1.0, GUEST_ONLY),
    guest: decides_strictly(1.0),
    emulated: decides_strictly(1.0),
    emulated_clock: Clock::Instructions,
};
/// Kernel over FUSE, Flat queries answered: not inferior.
pub const KERNEL_OVER_FUSE_FLAT: Rule = Rule {
    id: "kernel_over_fuse_flat",
    criterion: Criterion::KernelVsFuse,
    title: "kernel over FUSE, Flat search (not inferior)",
    work: RuleOperation::Search,
    host: reported(0.95, GUEST_ONLY),
    guest: decides(0.95),
    emulated: decides(0.95),
    emulated_clock: Clock::Instructions,
};

/// Kernel over FUSE, HNSW queries answered.
pub const KERNEL_OVER_FUSE_HNSW: Rule = Rule {
    id: "kernel_over_fuse_hnsw",
    title: "kernel over FUSE, HNSW search",
    work: RuleOperation::Search,
    ..KERNEL_OVER_FUSE_INSERTION
};
/// Kernel over FUSE, PQ queries answered: not inferior.
pub const KERNEL_OVER_FUSE_PQ: Rule = Rule {
    id: "kernel_over_fuse_pq",
    title: "kernel over FUSE, PQ search (not inferior)",
    ..KERNEL_OVER_FUSE_FLAT
};
/// Kernel over FUSE, IVF queries answered: not inferior.
pub const KERNEL_OVER_FUSE_IVF: Rule = Rule {
    id: "kernel_over_fuse_ivf",
    title: "kernel over FUSE, IVF search (not inferior)",
    ..KERNEL_OVER_FUSE_FLAT
};
/// Kernel over FUSE, LSH queries answered: not inferior.
pub const KERNEL_OVER_FUSE_LSH: Rule = Rule {
    id: "kernel_over_fuse_lsh",
    title: "kernel over FUSE, LSH search (not inferior)",
    ..KERNEL_OVER_FUSE_FLAT
};

/// FUSE over ChromaDB's recorded insertion rate, at the recorded size. A recorded rate has no
/// rounds, so its own trial judges it, and it is not among [`ALL`].
pub const FUSE_OVER_RECORDED_INSERTION: Rule = Rule {
    id: "fuse_over_recorded_insertion",
    criterion: Criterion::Baseline,
    title: "FUSE Flat over ChromaDB's recorded insertion",
    work: RuleOperation::Insertion,
    host: decides(2.2),
    guest: decides(2.0),
    emulated: reported(2.0, RECORDED_NATIVELY),
    emulated_clock: Clock::Wall,
};

/// All rules that are judged by rounds.
pub const ALL: &[Rule] = &[
    FUSE_OVER_CHROMADB_INSERTION,
    FUSE_OVER_CHROMADB_FLAT,
    FUSE_OVER_CHROMADB_HNSW,
    FUSE_OVER_CHROMADB_PQ,
    FUSE_OVER_CHROMADB_DEFAULT,
    FUSE_OVER_CHROMADB_DEFAULT_INSERTION,
    FUSE_OVER_QDRANT_INSERTION,
    FUSE_OVER_QDRANT_FLAT,
    KERNEL_OVER_FUSE_INSERTION,
    KERNEL_OVER_FUSE_FLAT,
    KERNEL_OVER_FUSE_HNSW,
    KERNEL_OVER_FUSE_PQ,
    KERNEL_OVER_FUSE_IVF,
    KERNEL_OVER_FUSE_LSH,
];

impl Rule {
    /// The bound that holds at `scene`. It decides on one clock and is only reported on the other.
    pub fn at(&self, scene: RuleScene) -> Bound {
        let bound = match (scene.place, scene.emulated) {
            (Place::Host, _) => self.host,
            (Place::Guest, false) => self.guest,
            (Place::Guest, true) => self.emulated,
        };
        match self.clock(scene.place, scene.emulated) {
            clock if clock == scene.clock || !bound.decides => bound,
            Clock::Instructions => Bound { decides: false, reason: BESIDE_INSTRUCTIONS, ..bound },
            Clock::Wall => Bound { decides: false, reason: BESIDE_WALL_TIME, ..bound },
        }
    }

    /// The clock that decides in `place`.
    pub fn clock(&self, place: Place, emulated: bool) -> Clock {
        match (place, emulated) {
            (Place::Guest, true) => self.emulated_clock,
            _ => Clock::Wall,
        }
    }

    /// The rule called `id`.
    pub fn find(id: &str) -> Option<&'static Rule> {
        ALL.iter().find(|rule| rule.id == id)
    }
}

/// How long a module must run under load without a failure, on each kernel of the matrix, before it
/// may be loaded outside the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endurance {
    /// The matrix of `fixtures/guest/kernels.txt`: series of kernels, each of which needs a soak of
    /// its own.
    pub kernels: &'static [&'static str],
    /// Seconds under load, all cycles together.
    pub seconds: u64,
    /// Load/unload cycles.
    pub cycles: u32,
}

/// The registered endurance. 1,000 cycles without a failure prove a failure rate below 0.3 % a
/// cycle; two hours are long enough for faults that accumulate with time rather than with cycles.
pub const ENDURANCE: Endurance =
    Endurance { kernels: &["6.1", "6.12", "6.12-rt", "7.3"], seconds: 2 * 60 * 60, cycles: 1_000 };
