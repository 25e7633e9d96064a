//! The upper bound beside each ratio: a pass that does nothing but read as many bytes as a search
//! must.

use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_add_epi64, _mm_loadu_si128, _mm256_add_epi64,
    _mm256_loadu_si256, _mm512_add_epi64, _mm512_loadu_si512,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// A cache line, and the widest unit that processors load; every pass reads whole lines.
const LINE: usize = 64;
/// How many lines are added up side by side, so that the latency of additions is not what is
/// measured.
const ABREAST: usize = 4;

/// Which bytes a search must read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MustRead {
    /// Bytes that one search reads.
    pub bytes: usize,
    /// The bytes that searches read from. Each search starts where the one before ended, so that
    /// the caches hold no more of these bytes than they would for the searches themselves.
    pub of: usize,
}

/// Passes over a region of memory.
pub struct MemoryBound<'a> {
    region: &'a [u8],
    bytes: usize,
    at: usize,
}

impl<'a> MemoryBound<'a> {
    /// Passes over the start of `memory`, of at most its length.
    pub fn new(memory: &'a [u8], must_read: MustRead) -> Self {
        let whole_lines = |bytes: usize| bytes.next_multiple_of(LINE);
        let of = whole_lines(must_read.of.max(must_read.bytes)).min(memory.len() / LINE * LINE);
        MemoryBound { region: &memory[..of], bytes: whole_lines(must_read.bytes).min(of), at: 0 }
    }

    /// Reads as many bytes as `searches` searches read.
    pub fn pass(&mut self, searches: usize) -> Duration {
        let started = Instant::now();
        for _ in 0..searches {
            let end = self.at + self.bytes;
            let to_the_end = &self.region[self.at..end.min(self.region.len())];
            let from_the_start = &self.region[..end.saturating_sub(self.region.len())];
            black_box(sum(to_the_end).wrapping_add(sum(from_the_start)));
            self.at = end % self.region.len().max(1);
        }
        started.elapsed()
    }
}

/// The sum of whole lines as little-endian u64, with the widest loads of this processor.
fn sum(bytes: &[u8]) -> u64 {
    let (lines, _) = bytes.as_chunks::<LINE>();
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512F.
        unsafe { sum_avx512(lines) }
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        unsafe { sum_avx2(lines) }
    } else {
        // SAFETY: every x86-64 has SSE2.
        unsafe { sum_sse2(lines) }
    }
}

/// Defines a sum over lines with loads of `$vector`. By itself, the compiler vectorises such a loop
/// for AVX2 but not for the others.
macro_rules! sum_by {
    ($name:ident, $feature:literal, $vector:ty, $load:ident, $add:ident) => {
        #[target_feature(enable = $feature)]
        fn $name(lines: &[[u8; LINE]]) -> u64 {
            const LANES: usize = LINE / size_of::<$vector>();
            // SAFETY: vectors of integers, for which all-zero bits are a valid value.
            let mut sums: [[$vector; LANES]; ABREAST] = unsafe { std::mem::zeroed() };
            let add = |sums: &mut [$vector; LANES], line: &[u8; LINE]| {
                let line: *const $vector = line.as_ptr().cast();
                for (lane, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: a line holds that many vectors, and the load needs no alignment.
                    let words = unsafe { $load(line.add(lane)) };
                    *sum = $add(*sum, words);
                }
            };
            let (blocks, rest) = lines.as_chunks::<ABREAST>();
            for block in blocks {
                for (line, sums) in block.iter().zip(&mut sums) {
                    add(sums, line);
                }
            }
            for line in rest {
                add(&mut sums[0], line);
            }
            // SAFETY: the array has as many u64 as the sums consist of.
            let words: [u64; ABREAST * LINE / 8] = unsafe { std::mem::transmute(sums) };
            words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
        }
    };
}

sum_by!(sum_avx512, "avx512f", __m512i, _mm512_loadu_si512, _mm512_add_epi64);
sum_by!(sum_avx2, "avx2", __m256i, _mm256_loadu_si256, _mm256_add_epi64);
sum_by!(sum_sse2, "sse2", __m128i, _mm_loadu_si128, _mm_add_epi64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_the_lines_is_read() {
        for lines in [0, 1, 3, 4, 9] {
            let mut bytes: Vec<u8> = (0..lines * LINE).map(|at| (at * 7) as u8).collect();
            let words = bytes.as_chunks::<8>().0;
            let expected =
                words.iter().fold(0, |sum: u64, w| sum.wrapping_add(u64::from_le_bytes(*w)));
            assert_eq!(sum(&bytes), expected);
            // SAFETY: every x86-64 has SSE2.
            assert_eq!(unsafe { sum_sse2(bytes.as_chunks().0) }, expected);
            for at in 0..bytes.len() {
                bytes[at] ^= 1;
                assert_ne!(sum(&bytes), expected, "byte {at}");
                bytes[at] ^= 1;
            }
        }
    }

    #[test]
    fn searches_read_on_and_wrap() {
        let memory = vec![1; 10 * LINE];
        let mut bound = MemoryBound::new(&memory, MustRead { bytes: 3 * LINE - 5, of: 8 * LINE });
        let mut starts = vec![];
        for _ in 0..9 {
            starts.push(bound.at / LINE);
            bound.pass(1);
        }
        assert_eq!(starts, [0, 3, 6, 1, 4, 7, 2, 5, 0]);
        // No more than the memory has, and nothing from an empty one.
        assert_eq!(MemoryBound::new(&memory, MustRead { bytes: 1 << 20, of: 0 }).bytes, 10 * LINE);
        MemoryBound::new(&[], MustRead { bytes: 1, of: 1 }).pass(2);
    }
}
