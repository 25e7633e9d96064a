//! Sort, distance and gather with AVX2, as in the inner loops of numpy and the engines.

use std::arch::x86_64::{
    __m256, __m256i, _CMP_LT_OQ, _mm256_add_ps, _mm256_cmp_ps, _mm256_i32gather_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_maskstore_ps, _mm256_movemask_ps, _mm256_mul_ps,
    _mm256_permutevar8x32_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm256_sub_ps,
};

use super::sum_lanes;

const LANES: usize = 8;
/// Slices of at most this length are sorted without partitioning.
const SMALL: usize = 16;

/// Sorts with a quicksort whose partition compresses eight floats at a time, as x86-simd-sort does.
///
/// # Panics
/// If the CPU has no AVX2.
pub fn sort(values: &mut [f32]) {
    assert!(std::arch::is_x86_feature_detected!("avx2"));
    quicksort(values);
}

fn quicksort(values: &mut [f32]) {
    if values.len() <= SMALL {
        values.sort_by(f32::total_cmp);
        return;
    }
    let pivot = values[values.len() / 2];
    // SAFETY: `sort` has checked that the CPU has AVX2.
    let (below, rest) = unsafe { partition(values, pivot) };
    let (less, others) = (below.len(), rest.len());
    values[..less].copy_from_slice(&below);
    values[less..less + others].copy_from_slice(&rest);
    quicksort(&mut values[..less]);
    // Take out the values that equal the pivot: if nothing is below it, the recursion would not
    // end.
    let split = move_equal_to_front(&mut values[less..], pivot);
    quicksort(&mut values[less + split..]);
}

/// Moves the values equal to `pivot` to the front and returns their number.
fn move_equal_to_front(values: &mut [f32], pivot: f32) -> usize {
    let mut equal = 0;
    for index in 0..values.len() {
        if values[index] == pivot {
            values.swap(equal, index);
            equal += 1;
        }
    }
    equal
}

/// Returns the values below `pivot`, and the others.
///
/// # Safety
/// The CPU must have AVX2.
#[target_feature(enable = "avx2")]
unsafe fn partition(values: &[f32], pivot: f32) -> (Vec<f32>, Vec<f32>) {
    let mut below = vec![0f32; values.len() + LANES];
    let mut rest = vec![0f32; values.len() + LANES];
    let (mut less, mut others) = (0, 0);
    let whole = values.len() / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        // SAFETY: `start + 8 <= values.len()`; both outputs have room for eight more.
        unsafe {
            let eight = _mm256_loadu_ps(values.as_ptr().add(start));
            let mask =
                _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(eight, _mm256_set1_ps(pivot)));
            less += compress(eight, mask as u32, below.as_mut_ptr().add(less));
            others += compress(eight, !mask as u32 & 0xff, rest.as_mut_ptr().add(others));
        }
    }
    for &value in &values[whole..] {
        if value < pivot {
            below[less] = value;
            less += 1;
        } else {
            rest[others] = value;
            others += 1;
        }
    }
    below.truncate(less);
    rest.truncate(others);
    (below, rest)
}

/// Writes the lanes in `mask` to `out`, in order, and returns their number.
///
/// # Safety
/// The CPU must have AVX2, and `out` must have room for eight floats.
#[target_feature(enable = "avx2")]
unsafe fn compress(eight: __m256, mask: u32, out: *mut f32) -> usize {
    let mut order = [0i32; LANES];
    let mut store = [0i32; LANES];
    let mut count = 0;
    for lane in (0..LANES).filter(|lane| mask >> lane & 1 == 1) {
        order[count] = lane as i32;
        store[count] = -1;
        count += 1;
    }
    // SAFETY: both arrays hold eight integers; the store writes only lanes of its mask.
    unsafe {
        let packed = _mm256_permutevar8x32_ps(eight, load(&order));
        _mm256_maskstore_ps(out, load(&store), packed);
    }
    count
}

#[target_feature(enable = "avx2")]
fn load(integers: &[i32; LANES]) -> __m256i {
    // SAFETY: the array holds eight integers, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(integers.as_ptr().cast()) }
}

/// Squared Euclidean distance, without fused multiplication.
///
/// # Panics
/// If the CPU has no AVX2, or the slices differ in length.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    assert!(std::arch::is_x86_feature_detected!("avx2") && a.len() == b.len());
    // SAFETY: the CPU has AVX2, and the slices have the same length.
    unsafe { distance(a, b) }
}

/// # Safety
/// The CPU must have AVX2, and `a` and `b` must have the same length.
#[target_feature(enable = "avx2")]
unsafe fn distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = _mm256_setzero_ps();
    let whole = a.len() / LANES * LANES;
    let mut lanes = [0f32; LANES];
    // SAFETY: every load ends at `whole` at the latest; `lanes` holds eight floats.
    unsafe {
        for start in (0..whole).step_by(LANES) {
            let x = _mm256_loadu_ps(a.as_ptr().add(start));
            let y = _mm256_loadu_ps(b.as_ptr().add(start));
            let difference = _mm256_sub_ps(x, y);
            sums = _mm256_add_ps(sums, _mm256_mul_ps(difference, difference));
        }
        _mm256_storeu_ps(lanes.as_mut_ptr(), sums);
    }
    let rest = a[whole..].iter().zip(&b[whole..]).fold(0.0, |sum, (x, y)| {
        let difference = x - y;
        sum + difference * difference
    });
    sum_lanes(lanes) + rest
}

/// Returns `values[index]` for every index.
///
/// # Panics
/// If the CPU has no AVX2, or an index is out of range.
pub fn gather(values: &[f32], indexes: &[u32]) -> Vec<f32> {
    assert!(std::arch::is_x86_feature_detected!("avx2"));
    assert!(indexes.iter().all(|&index| (index as usize) < values.len()));
    // SAFETY: the CPU has AVX2, and every index is in range.
    unsafe { gather_checked(values, indexes) }
}

/// # Safety
/// The CPU must have AVX2, and every index must be below `values.len()`, which must be below 2^31.
#[target_feature(enable = "avx2")]
unsafe fn gather_checked(values: &[f32], indexes: &[u32]) -> Vec<f32> {
    let mut out = vec![0f32; indexes.len()];
    let whole = indexes.len() / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        // SAFETY: eight indexes and eight outputs from `start` on; the indexes are in range.
        unsafe {
            let eight = _mm256_loadu_si256(indexes.as_ptr().add(start).cast());
            let found = _mm256_i32gather_ps::<4>(values.as_ptr(), eight);
            _mm256_storeu_ps(out.as_mut_ptr().add(start), found);
        }
    }
    for index in whole..indexes.len() {
        out[index] = values[indexes[index] as usize];
    }
    out
}
