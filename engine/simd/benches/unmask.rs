//! Unmasking in GB/s, each version beside `memcpy` of the same number of bytes, and short payloads
//! beside the loop that one would write by hand.
//!
//! `cargo bench -p corecast-simd --bench unmask -- --warm-up-time 0.3 --measurement-time 1`

use std::hint::black_box;

use corecast_simd::{Version, unmask, unmask_append};
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Typical payloads: short to the widths where the code changes path, then those that bandwidth
/// decides.
const SHORT: [usize; 6] = [5, 16, 20, 40, 64, 128];
const LONG: [usize; 6] = [512, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20];

/// Where a payload lies behind the header of a masked frame of 126 to 65,535 bytes.
const HEADER: usize = 8;

/// The header of a masked frame of up to 125 bytes.
const SHORT_HEADER: usize = 6;

/// Frames per receive: 16 in flight on four connections.
const FRAMES: usize = 64;

criterion_group!(benches, short, long);
criterion_main!(benches);

/// Payloads of pipelined frames: each is touched once per pass, as it is in a receive buffer. The
/// same one over and over would measure how fast a load follows the store before it.
fn short(c: &mut Criterion) {
    let mut group = c.benchmark_group("unmask, short");
    let mut both = |name: &str, lengths: &[usize]| {
        frames(&mut group, "8-byte loop", name, lengths, eight_byte_loop);
        frames(&mut group, "unmask", name, lengths, |data| {
            unmask(data, KEY, 0);
        });
    };
    for len in SHORT {
        both(&len.to_string(), &[len; FRAMES]);
    }
    both("mixed", &mixed_lengths());
}

/// Lengths from 0 to 125, too many for a branch predictor to learn their order.
fn mixed_lengths() -> Vec<usize> {
    (0..64 * FRAMES)
        .map(|i| i * 0x9E37_79B9 % 0x1_0001 % 126)
        .collect()
}

fn frames(
    group: &mut BenchmarkGroup<'_, WallTime>,
    version: &str,
    name: &str,
    lengths: &[usize],
    run: impl Fn(&mut [u8]),
) {
    let mut received = vec![0x5A; lengths.iter().map(|len| SHORT_HEADER + len).sum()];
    group.throughput(Throughput::Bytes(lengths.iter().sum::<usize>() as u64));
    group.bench_function(BenchmarkId::new(version, name), |b| {
        b.iter(|| {
            let mut rest = black_box(&mut received[..]);
            for &len in black_box(lengths) {
                let (frame, behind) = rest.split_at_mut(SHORT_HEADER + len);
                run(&mut frame[SHORT_HEADER..]);
                rest = behind;
            }
        });
    });
}

fn long(c: &mut Criterion) {
    let mut group = c.benchmark_group("unmask, long");
    for len in LONG {
        group.throughput(Throughput::Bytes(len as u64));
        let source = buffer(len);
        in_place(&mut group, "memcpy", len, |data| {
            data.copy_from_slice(black_box(&source[HEADER..]));
        });
        for version in Version::all() {
            in_place(&mut group, version.name(), len, |data| {
                version.unmask(data, KEY, 0);
            });
        }
        in_place(&mut group, "8-byte loop", len, eight_byte_loop);
        append(&mut group, len);
    }
}

fn in_place(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    len: usize,
    mut run: impl FnMut(&mut [u8]),
) {
    let mut data = buffer(len);
    group.bench_function(BenchmarkId::new(name, len), |b| {
        b.iter(|| run(black_box(&mut data[HEADER..])));
    });
}

fn append(group: &mut BenchmarkGroup<'_, WallTime>, len: usize) {
    let source = buffer(len);
    let mut collected = Vec::with_capacity(len);
    group.bench_function(BenchmarkId::new("unmask_append", len), |b| {
        b.iter(|| {
            collected.clear();
            unmask_append(&mut collected, black_box(&source[HEADER..]), KEY, 0);
            black_box(&collected);
        });
    });
}

/// A frame with `len` bytes of payload.
fn buffer(len: usize) -> Vec<u8> {
    vec![0x5A; HEADER + len]
}

fn eight_byte_loop(data: &mut [u8]) {
    let word = u64::from(u32::from_ne_bytes(KEY)) * 0x1_0000_0001;
    let (words, rest) = data.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(KEY.iter().cycle()) {
        *byte ^= key;
    }
}
