//! JSON compressed: time for each message, and in the names how many bytes are left of it.
//!
//! `cargo bench -p corecast-protocol --bench deflate -- --warm-up-time 0.3 --measurement-time 1`

use std::hint::black_box;

use corecast_protocol::deflate::{Context, Deflater};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use libdeflater::{CompressionLvl, Compressor};
use zlib_rs::{Deflate, DeflateFlush};

const LENGTHS: [usize; 7] = [
    256,
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
];

/// The default of zlib, and ours.
const LEVEL: u8 = 6;

/// So many different messages in turn: one alone is learned by the processor's branch prediction.
const MESSAGES: usize = 48;

/// Not a multiple of that, so that each connection gets all of them.
const CONNECTIONS: usize = 211;

criterion_group!(benches, without_context, with_context);
criterion_main!(benches);

fn without_context(c: &mut Criterion) {
    for window_bits in [15, 9] {
        let mut group = c.benchmark_group(format!("no context, {window_bits} bits"));
        for length in LENGTHS {
            let messages = messages(length);
            let mut out = Vec::new();

            let mut deflater = Deflater::new(LEVEL, window_bits);
            let mut ours = |payload: &[u8]| {
                out.clear();
                deflater.deflate(payload, &mut out);
                out.len()
            };
            let size = total(&messages, &mut ours);
            group.bench_function(BenchmarkId::new(format!("ours {size}"), length), |b| {
                let mut next = messages.iter().cycle();
                b.iter(|| ours(black_box(next.next().expect("a cycle"))));
            });

            let mut buffer = vec![0; length + length / 8 + 64];
            let mut stream = Deflate::new(i32::from(LEVEL), false, window_bits);
            let mut zlib = |payload: &[u8]| {
                stream.reset();
                let done = stream.compress(payload, &mut buffer, DeflateFlush::SyncFlush);
                done.expect("room for all");
                stream.total_out() as usize - 4
            };
            let size = total(&messages, &mut zlib);
            group.bench_function(BenchmarkId::new(format!("zlib-rs {size}"), length), |b| {
                let mut next = messages.iter().cycle();
                b.iter(|| zlib(black_box(next.next().expect("a cycle"))));
            });

            let level = CompressionLvl::new(i32::from(LEVEL)).expect("a level");
            let mut compressor = Compressor::new(level);
            let mut libdeflate = |payload: &[u8]| {
                let done = compressor.deflate_compress(payload, &mut buffer);
                done.expect("room for all")
            };
            let size = total(&messages, &mut libdeflate);
            let name = format!("libdeflate, ended, {size}");
            group.bench_function(BenchmarkId::new(name, length), |b| {
                let mut next = messages.iter().cycle();
                b.iter(|| libdeflate(black_box(next.next().expect("a cycle"))));
            });
        }
        group.finish();
    }
}

/// What is sent to many connections in turn: compressors of their own beside contexts with one for all.
fn with_context(c: &mut Criterion) {
    for window_bits in [12, 9] {
        let name = format!("context, {window_bits} bits, {CONNECTIONS} connections");
        let mut group = c.benchmark_group(name);
        for length in &LENGTHS[..3] {
            let messages = messages(*length);
            let mut out = Vec::new();

            let mut deflater = Deflater::new(LEVEL, window_bits);
            let mut contexts = vec![Context::new(); CONNECTIONS];
            let mut next = 0;
            let mut ours = |payload: &[u8]| {
                out.clear();
                next = (next + 1) % CONNECTIONS;
                deflater.deflate_with(&mut contexts[next], payload, &mut out);
                out.len()
            };
            let size = settled(&messages, &mut ours);
            group.bench_function(BenchmarkId::new(format!("ours {size}"), length), |b| {
                let mut next = messages.iter().cycle();
                b.iter(|| ours(black_box(next.next().expect("a cycle"))));
            });

            let mut buffer = vec![0; length + length / 8 + 64];
            let mut streams: Vec<_> = (0..CONNECTIONS)
                .map(|_| Deflate::new(i32::from(LEVEL), false, window_bits))
                .collect();
            let mut next = 0;
            let mut zlib = |payload: &[u8]| {
                next = (next + 1) % CONNECTIONS;
                let stream = &mut streams[next];
                let before = stream.total_out();
                let done = stream.compress(payload, &mut buffer, DeflateFlush::SyncFlush);
                done.expect("room for all");
                (stream.total_out() - before) as usize - 4
            };
            let size = settled(&messages, &mut zlib);
            group.bench_function(
                BenchmarkId::new(format!("own zlib-rs {size}"), length),
                |b| {
                    let mut next = messages.iter().cycle();
                    b.iter(|| zlib(black_box(next.next().expect("a cycle"))));
                },
            );
        }
        group.finish();
    }
}

/// The mean length compressed once every connection has been sent more than its window.
fn settled(messages: &[Vec<u8>], compress: &mut dyn FnMut(&[u8]) -> usize) -> usize {
    for _ in 0..CONNECTIONS {
        total(messages, compress);
    }
    total(messages, compress)
}

/// The mean length of the messages compressed.
fn total(messages: &[Vec<u8>], compress: &mut dyn FnMut(&[u8]) -> usize) -> usize {
    let bytes: usize = messages.iter().map(|message| compress(message)).sum();
    bytes / messages.len()
}

/// Orders, chat and quotes in turn, each cut to the length.
fn messages(length: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..MESSAGES)
        .map(|index| {
            let mut text = String::from("[");
            while text.len() < length {
                text += &match index % 3 {
                    0 => order(&mut random),
                    1 => chat(&mut random),
                    _ => quote(&mut random),
                };
            }
            text.truncate(length);
            text.into_bytes()
        })
        .collect()
}

const NAMES: [&str; 8] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi",
];

fn order(random: &mut fastrand::Rng) -> String {
    format!(
        r#"{{"id":{},"user":"{}","price":{:.2},"qty":{},"side":"{}","ts":{},"ok":{}}},"#,
        random.u32(..),
        random.choice(NAMES).expect("not empty"),
        random.f64() * 5000.0,
        random.u32(..800),
        if random.bool() { "buy" } else { "sell" },
        1_763_700_000_000 + random.u64(..90_000_000),
        random.bool(),
    )
}

fn chat(random: &mut fastrand::Rng) -> String {
    let name = random.choice(NAMES).expect("not empty");
    format!(
        r#"{{"type":"message","channel":"room-{}","from":"{name}","avatar":"/avatars/{:08x}.png","text":"{name} was with {} and {} at {}:{:02}"}},"#,
        random.u32(..50),
        random.u32(..),
        random.choice(NAMES).expect("not empty"),
        random.choice(NAMES).expect("not empty"),
        random.u32(..24),
        random.u32(..60),
    )
}

fn quote(random: &mut fastrand::Rng) -> String {
    let symbol = random.choice(["BTC", "ETH", "SOL"]).expect("not empty");
    let mut side = || format!("{:.4}\",\"{:.3}", random.f64() * 100.0, random.f64() * 10.0);
    format!(
        r#"{{"s":"{symbol}USD","b":[["{}"],["{}"]],"a":[["{}"]]}},"#,
        side(),
        side(),
        side(),
    )
}
