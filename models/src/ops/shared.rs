//! Let tasks write disjoint parts of one list, and keep working memory between calls.

use std::{cell::RefCell, marker::PhantomData, ops::Range};

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
    #[allow(clippy::mut_from_ref)] // what the promise above is about
    pub unsafe fn take(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the list, which is borrowed for 'a; alone by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// Lends numbers of whatever value, kept by the thread from one call to the next.
pub(crate) fn with_scratch<R>(len: usize, run: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        // One list for each call that this thread is in the middle of.
        static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
    }
    let mut list = KEPT.with_borrow_mut(|kept| kept.pop()).unwrap_or_default();
    if list.len() < len {
        list.resize(len, 0.0);
    }
    let result = run(&mut list[..len]);
    KEPT.with_borrow_mut(|kept| kept.push(list));
    result
}
