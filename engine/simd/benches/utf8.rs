//! Text in GB/s: whole payloads and pieces, ASCII and not, beside the standard library.
//!
//! `cargo bench -p corecast-simd --bench utf8 -- --warm-up-time 0.3 --measurement-time 1`

use std::hint::black_box;
use std::str;

use corecast_simd::{TextBuf, Utf8Stream, unmask_text, validate};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Masking with zeros leaves the text as it is, so that one buffer serves every iteration.
const KEY: [u8; 4] = [0; 4];

const LENGTHS: [usize; 4] = [32, 512, 4 << 10, 64 << 10];

/// Fragments per message where a message comes in pieces.
const PIECES: usize = 4;

criterion_group!(benches, ascii, mixed);
criterion_main!(benches);

fn ascii(c: &mut Criterion) {
    text(c, "ascii", "{\"price\":101.25}");
}

fn mixed(c: &mut Criterion) {
    text(c, "mixed", "Grüße, 世界 🦀");
}

fn text(c: &mut Criterion, name: &str, sample: &str) {
    let mut group = c.benchmark_group(name);
    for len in LENGTHS {
        let mut data = sample.repeat(len / sample.len() + 1).into_bytes();
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.bench_function(BenchmarkId::new("std", len), |b| {
            b.iter(|| str::from_utf8(black_box(&data)).is_ok());
        });
        group.bench_function(BenchmarkId::new("validate", len), |b| {
            b.iter(|| validate(black_box(&data)).is_ok());
        });
        group.bench_function(BenchmarkId::new("unmask_text", len), |b| {
            b.iter(|| unmask_text(black_box(&mut data), KEY).is_ok());
        });
        group.bench_function(BenchmarkId::new("Utf8Stream", len), |b| {
            b.iter(|| {
                let mut stream = Utf8Stream::default();
                black_box(&data)
                    .chunks(len / PIECES)
                    .all(|piece| stream.push(piece).is_ok())
            });
        });
        group.bench_function(BenchmarkId::new("TextBuf", len), |b| {
            let mut spare = Vec::new();
            b.iter(|| {
                let mut text = TextBuf::with_buffer(std::mem::take(&mut spare));
                for piece in black_box(&data).chunks(len / PIECES) {
                    text.push(piece, Some((KEY, 0)))
                        .expect("the sample is UTF-8");
                }
                spare = text.finish().expect("the sample is UTF-8").into_bytes();
            });
        });
    }
}
