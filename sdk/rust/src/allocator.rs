//! Small allocations from lists of freed ones, a list for each size; what is larger from the allocator below.

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    ptr,
};

/// Sizes are rounded up to a multiple of this, which is also how blocks are aligned.
const GRAIN_BYTES: usize = 16;
const SIZES: usize = 32;
/// What is taken from the allocator below at a time, for blocks of one size.
const SLAB_BYTES: usize = 1024;

/// Blocks of a size are never given back to the allocator below: an event needs the same ones as the last event did.
pub(crate) struct Sizes<A> {
    /// The first free block of each size; each holds the address of the next one in its first bytes.
    free: [Cell<*mut u8>; SIZES],
    below: A,
}

// SAFETY: a plugin's instance has one thread; natively only tests use this, each its own from one thread.
unsafe impl<A: Sync> Sync for Sizes<A> {}

impl<A: GlobalAlloc> Sizes<A> {
    pub(crate) const fn new(below: A) -> Sizes<A> {
        Sizes {
            free: [const { Cell::new(ptr::null_mut()) }; SIZES],
            below,
        }
    }

    /// The list for this layout; none where it is too large, too strictly aligned, or empty.
    #[inline]
    fn list(&self, layout: &Layout) -> Option<(&Cell<*mut u8>, usize)> {
        if layout.align() > GRAIN_BYTES {
            return None;
        }
        let index = layout.size().wrapping_sub(1) / GRAIN_BYTES;
        self.free.get(index).map(|list| (list, (index + 1) * GRAIN_BYTES))
    }

    /// Cuts a slab into blocks, gives the first and lists the rest.
    #[cold]
    fn refill(&self, list: &Cell<*mut u8>, block_bytes: usize) -> *mut u8 {
        let blocks = (SLAB_BYTES / block_bytes).max(1);
        let Ok(layout) = Layout::from_size_align(blocks * block_bytes, GRAIN_BYTES) else {
            return ptr::null_mut();
        };
        // SAFETY: the layout is not empty.
        let slab = unsafe { self.below.alloc(layout) };
        if slab.is_null() {
            return slab;
        }
        for block in 1..blocks {
            // SAFETY: the block lies within the slab.
            unsafe { push(list, slab.add(block * block_bytes)) };
        }
        slab
    }
}

/// # Safety
///
/// `block` is free, aligned to [`GRAIN_BYTES`] and at least as long.
#[inline]
unsafe fn push(list: &Cell<*mut u8>, block: *mut u8) {
    // SAFETY: the caller's.
    unsafe { block.cast::<*mut u8>().write(list.get()) };
    list.set(block);
}

// SAFETY: a block is in a list or with the program, never both; blocks of a list are as long and as strictly aligned as
// the layouts that lead to it; all else is the allocator's below.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Sizes<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((list, block_bytes)) = self.list(&layout) else {
            // SAFETY: the caller's.
            return unsafe { self.below.alloc(layout) };
        };
        let block = list.get();
        if block.is_null() {
            return self.refill(list, block_bytes);
        }
        // SAFETY: a listed block holds the address of the next one.
        list.set(unsafe { block.cast::<*mut u8>().read() });
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.list(&layout) {
            // SAFETY: the block was given for this layout, so it is one of this list's.
            Some((list, _)) => unsafe { push(list, block) },
            // SAFETY: the caller's.
            None => unsafe { self.below.dealloc(block, layout) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the new size within what a layout may have.
        let new_layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (self.list(&layout), self.list(&new_layout)) {
            (Some((_, held_bytes)), Some((_, block_bytes))) if held_bytes == block_bytes => block,
            // SAFETY: the caller's.
            (None, None) => unsafe { self.below.realloc(block, layout, size) },
            _ => {
                // SAFETY: the caller's; both blocks are at least as long as the shorter of the sizes.
                unsafe {
                    let moved = self.alloc(new_layout);
                    if !moved.is_null() {
                        ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::{GlobalAlloc as _, Layout, System};

    use super::{GRAIN_BYTES, SIZES, Sizes};

    /// The largest allocation that is kept in a list.
    const SMALL_BYTES_MAX: usize = GRAIN_BYTES * SIZES;

    /// A fixed sequence that looks random.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(self.0 >> 33).expect("31 bits fit") % bound
        }
    }

    struct Held {
        block: *mut u8,
        layout: Layout,
        mark: u8,
    }

    impl Held {
        fn fill(&self) {
            // SAFETY: the block is this long.
            unsafe { self.block.write_bytes(self.mark, self.layout.size()) };
        }

        fn assert_untouched(&self, bytes: usize) {
            // SAFETY: the block is at least this long, and was filled.
            let content = unsafe { std::slice::from_raw_parts(self.block, bytes) };
            assert!(content.iter().all(|byte| *byte == self.mark));
            assert!(self.block.addr().is_multiple_of(self.layout.align()));
        }
    }

    #[test]
    fn blocks_never_overlap_and_keep_their_content() {
        let allocator = Sizes::new(System);
        let mut numbers = Numbers(20_261_125);
        let mut held: Vec<Held> = Vec::new();
        for step in 0..50_000_usize {
            let size = 1 + numbers.below(2 * SMALL_BYTES_MAX);
            let align = 1 << numbers.below(6);
            match numbers.below(4) {
                0 | 1 if held.len() < 500 => {
                    let layout = Layout::from_size_align(size, align).expect("a layout");
                    // SAFETY: the layout is not empty.
                    let block = unsafe { allocator.alloc(layout) };
                    let mark = u8::try_from(step % 251).expect("below 251");
                    held.push(Held { block, layout, mark });
                    held[held.len() - 1].fill();
                }
                2 if !held.is_empty() => {
                    let index = numbers.below(held.len());
                    let before = &mut held[index];
                    let kept = before.layout.size().min(size);
                    // SAFETY: the block was given for this layout.
                    before.block = unsafe { allocator.realloc(before.block, before.layout, size) };
                    before.layout = Layout::from_size_align(size, before.layout.align()).expect("a layout");
                    before.assert_untouched(kept);
                    before.fill();
                }
                _ if !held.is_empty() => {
                    let gone = held.swap_remove(numbers.below(held.len()));
                    gone.assert_untouched(gone.layout.size());
                    // SAFETY: the block was given for this layout.
                    unsafe { allocator.dealloc(gone.block, gone.layout) };
                }
                _ => {}
            }
        }
        for one in &held {
            one.assert_untouched(one.layout.size());
        }
    }

    #[test]
    fn a_freed_block_serves_the_next_allocation_of_its_size() {
        let allocator = Sizes::new(System);
        let layout = |size| Layout::from_size_align(size, 8).expect("a layout");
        // SAFETY: no layout is empty, and each block is freed with its own.
        unsafe {
            let first = allocator.alloc(layout(100));
            assert_eq!(allocator.realloc(first, layout(100), 112), first);
            allocator.dealloc(first, layout(112));
            assert_eq!(allocator.alloc(layout(97)), first);
        }
    }
}
