//! An allocator that counts what each thread holds, to see what input makes the broker reserve.
//!
//! A single request far beyond the bound is turned down as if memory had run out, which ends the
//! process: no machine has to hold a terabyte to show that somebody asked for it. Memory that C code
//! takes (Zstandard, and libFuzzer itself) is not counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Beyond the bound, so much more is given, so that the bound is reported by a panic if possible.
const GRACE_BYTES: usize = 256 << 20;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Counting;

/// Counts `bytes` more; false if that is too much.
fn grow(bytes: usize) -> bool {
    // A thread that ends has no counters any more, and nobody asks for them.
    let live = LIVE.try_with(|live| {
        live.set(live.get().saturating_add(bytes));
        live.get()
    });
    let Ok(live) = live else {
        return true;
    };
    let _ending = PEAK.try_with(|peak| peak.set(peak.get().max(live)));
    MOST.try_with(Cell::get)
        .is_ok_and(|most| live > most)
        .then(|| shrink(bytes))
        .is_none()
}

fn shrink(bytes: usize) {
    let _ending = LIVE.try_with(|live| live.set(live.get().saturating_sub(bytes)));
}

#[expect(unsafe_code, reason = "the only way to see allocations")]
// SAFETY: every call is handed on unchanged to the system's allocator, or answered with null, which
// says that there is no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !grow(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !grow(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !grow(size) {
            return std::ptr::null_mut();
        }
        shrink(layout.size());
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs `work`; gives what it gives, and the most bytes that this thread held at once meanwhile,
/// beyond those before. Far more than `most` ends the process.
pub fn peak_of<T>(most: usize, work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    MOST.set(before.saturating_add(most).saturating_add(GRACE_BYTES));
    let result = work();
    MOST.set(usize::MAX);
    (result, PEAK.get().saturating_sub(before))
}
