//! Random choices from a seed.

use rand_mt::Mt64;

/// A stream of random choices.
pub struct Dice(Mt64);

impl Dice {
    /// Stream `number` of `seed`.
    pub fn new(seed: u64, number: u64) -> Self {
        Dice(Mt64::new_with_key([seed, number]))
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // For the bounds of a fuzzer, the bias is 2^-40.
        self.0.next_u64() % bound
    }

    /// True once in this many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `all`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// A word of a request: mostly a boundary value, sometimes any value.
    pub fn word(&mut self) -> u32 {
        const LIMITS: [u32; 16] = [
            0,
            1,
            2,
            3,
            5,
            6,
            7,
            8,
            1000,
            1001,
            4080,
            4081,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_fffe,
            u32::MAX,
        ];
        if self.one_in(4) { self.0.next_u32() } else { self.pick(&LIMITS) }
    }

    /// A component of a row or a query: a small whole number, whose distances are exact.
    pub fn component(&mut self) -> f32 {
        self.below(17) as f32 - 8.0
    }
}
