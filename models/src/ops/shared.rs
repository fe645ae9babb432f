//! Let tasks write disjoint parts of one list, and keep working memory between calls.

use std::{cell::RefCell, marker::PhantomData, mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

/// A list of which each task takes parts that no other takes.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    list: PhantomData<&'a mut [T]>,
}

// SAFETY: whoever takes a part promises that it is theirs alone, so that this hands out no more than `&mut [T]` would.
unsafe impl<T: Send> Sync for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub fn of(list: &'a mut [T]) -> Self {
        Self {
            start: list.as_mut_ptr(),
            len: list.len(),
            list: PhantomData,
        }
    }

    /// The part at `range`, which must lie in the list.
    ///
    /// # Safety
    /// As long as this part is held, no other part that overlaps it may be.
    pub unsafe fn take(&self, range: Range<usize>) -> &'a mut [T] {
        // SAFETY: by the caller's promise.
        unsafe { self.part(range.start, range.len()) }
    }

    /// Asks for the number at `at`, which will be written soon, if there is such a number.
    #[inline(always)]
    pub fn fetch(&self, at: usize) {
        #[cfg(target_arch = "x86_64")]
        if at < self.len {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: inside the slice; the instruction reads nothing, and every processor of this kind has it.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.start.add(at).cast_const().cast()) };
        }
    }

    /// `len` numbers from `from` on.
    ///
    /// # Safety
    /// No other part that is alive may overlap this one.
    #[inline(always)]
    pub unsafe fn part(&self, from: usize, len: usize) -> &'a mut [T] {
        assert!(
            from <= self.len && len <= self.len - from,
            "a part beyond its whole"
        );
        // SAFETY: inside the slice it was made of, which is borrowed for 'a; the caller rules out overlap.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

impl<T> Clone for Parts<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Parts<'_, T> {}

/// Numbers of a task that writes zeros.
const ZEROS: usize = 1 << 15;

/// Zeros, written by all threads: where memory is used again, that is much of what a fast operation costs. None where
/// there is no room for so many.
pub(crate) fn zeros(count: usize) -> Option<Vec<f32>> {
    let mut numbers = Vec::new();
    numbers.try_reserve_exact(count).ok()?;
    numbers.spare_capacity_mut()[..count]
        .par_chunks_mut(ZEROS)
        .for_each(|part| part.fill(MaybeUninit::new(0.0)));
    // SAFETY: there is room for `count` numbers, all of which were just written.
    unsafe { numbers.set_len(count) };
    Some(numbers)
}

thread_local! {
    /// Buffers that nobody holds at the moment.
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Numbers in a cache line.
const LINE: usize = 16;

/// Calls `work` with `len` numbers of any value, aligned to a cache line; the memory is kept for the next call.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let needed = len + LINE;
    let mut buffer = FREE.with_borrow_mut(|free| {
        // The smallest that is large enough, or else the largest, which then grows.
        let fits = (0..free.len())
            .filter(|i| free[*i].len() >= needed)
            .min_by_key(|i| free[*i].len());
        match fits.or_else(|| (0..free.len()).max_by_key(|i| free[*i].len())) {
            Some(i) => free.swap_remove(i),
            None => Vec::new(),
        }
    });
    if buffer.len() < needed {
        buffer.resize(needed, 0.0);
    }
    let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let result = work(&mut buffer[start..start + len]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}

/// As `with_scratch`, for words of 32 bits.
pub(crate) fn with_words<R>(len: usize, work: impl FnOnce(&mut [u32]) -> R) -> R {
    with_scratch(len, |numbers| {
        // SAFETY: the same memory under the same alignment; every bit pattern is a number of either kind.
        work(unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast::<u32>(), len) })
    })
}

/// Words as the numbers that they are the bits of.
pub(crate) fn numbers(words: &[u32]) -> &[f32] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<f32>(), words.len()) }
}

/// The same, to be written.
pub(crate) fn numbers_mut(words: &mut [u32]) -> &mut [f32] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<f32>(), words.len()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn zeros_are_so_many() {
        for count in [0, 1, super::ZEROS, 3 * super::ZEROS + 7] {
            let zeros = super::zeros(count).unwrap();
            assert!(zeros.len() == count && zeros.iter().all(|v| *v == 0.0));
        }
        assert!(super::zeros(usize::MAX / 8).is_none());
    }

    #[test]
    fn scratch_is_aligned_and_nests() {
        for len in [0, 1, 100] {
            super::with_scratch(len, |a| {
                assert_eq!(a.len(), len);
                assert_eq!(a.as_ptr() as usize % 64, 0);
                a.fill(1.0);
                super::with_scratch(2 * len, |b| b.fill(2.0));
                assert!(a.iter().all(|v| *v == 1.0));
            });
        }
    }
}
