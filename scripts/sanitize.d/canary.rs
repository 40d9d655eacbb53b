//! A program with known faults, one per argument: what a sanitizer must find before its silence counts.

use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;
use std::mem::MaybeUninit;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("use_after_free") => use_after_free(),
        Some("out_of_bounds") => out_of_bounds(),
        Some("leak") => leak(),
        Some("race") => race(),
        Some("uninitialised") => uninitialised(),
        other => panic!("no such fault: {other:?}"),
    }
}

#[inline(never)]
fn use_after_free() {
    let layout = Layout::new::<[u8; 64]>();
    // SAFETY: none: the memory is read after it was freed.
    unsafe {
        let memory = alloc(layout);
        memory.write_bytes(1, layout.size());
        dealloc(memory, layout);
        black_box(memory.add(8).read_volatile());
    }
}

#[inline(never)]
fn out_of_bounds() {
    let bytes = black_box(vec![1_u8; 64]);
    // SAFETY: none: it is read past its end.
    unsafe { black_box(bytes.as_ptr().add(bytes.len()).read_volatile()) };
}

#[inline(never)]
fn leak() {
    for _ in 0..100 {
        std::mem::forget(black_box(vec![1_u8; 64]));
    }
}

#[inline(never)]
fn race() {
    static mut SHARED: u64 = 0;
    let count = || {
        for _ in 0..10_000 {
            // SAFETY: none: two threads write at once.
            unsafe {
                let shared = &raw mut SHARED;
                shared.write_volatile(shared.read_volatile() + 1);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(count);
        scope.spawn(count);
    });
}

#[inline(never)]
fn uninitialised() {
    let bytes = black_box(Box::new(MaybeUninit::<[u8; 64]>::uninit()));
    // SAFETY: none: nobody has written to it.
    if unsafe { bytes.as_ptr().cast::<u8>().read_volatile() } > 7 {
        black_box(());
    }
}
