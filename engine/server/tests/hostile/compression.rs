//! Compressed messages (RFC 7692) that are wrong, or become too much, where the server agrees to compression.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flate2::{Compress, Compression, FlushCompress};

use crate::client::{
    BINARY, CONTINUATION, Client, PING, PONG, RSV1, TEXT, fragment, frame, raw_frame, request_with,
    tcp,
};
use crate::deflate::{TAIL, deflated};
use crate::eventually;
use crate::herd::Herd;
use crate::messages::{BAD_TEXT, CUT_TEXT, endless};
use crate::payload::{Numbers, pattern, record};
use crate::process::{Process, Program};
use crate::trial::{MEMORY, SPARE, Trial};

crate::rows![
    inflates_to_the_limit,
    inflates_in_fragments,
    inflates_too_many_times,
    bomb_of_bombs,
    bombs_at_once,
    inflating_beside_others,
    empty_blocks,
    deflate_bits_flipped,
    deflate_invalid,
    deflate_beyond_window,
    deflate_final_blocks,
    deflate_bad_utf8,
    rsv1_misplaced,
    compressed_fragments_never_end,
    compressed_empty_flood,
    ends_while_inflating,
    memory_given_back_of_compressed_messages,
];

const FIN: u8 = 0x80;

/// Both modes in which a server agrees to compression.
const MODES: [&[&str]; 2] = [&["--deflate", "shared"], &["--deflate", "dedicated"]];

/// What the clients offer.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// A server for each mode, with further flags.
fn trials(io: &'static str, flags: &[&str]) -> impl Iterator<Item = Trial> {
    let flags = flags.to_vec();
    MODES
        .into_iter()
        .map(move |mode| Trial::corecast(io, &[mode, &flags].concat()))
}

/// A client with whom compression was agreed, connected to the application that echoes.
fn connect(trial: &Trial) -> Client {
    connect_to(trial, "/echo")
}

fn connect_to(trial: &Trial, path: &str) -> Client {
    let client = Client::upgrade(tcp(trial.address()), &request_with(path, OFFER));
    assert!(client.agreed().is_some(), "{}", client.head);
    client
}

/// A compressed message in one frame.
fn compressed(opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw_frame(FIN | RSV1 | opcode, payload)
}

/// Zeroes, compressed a thousandfold.
fn zeroes(len: usize) -> Vec<u8> {
    deflated(&vec![0; len])
}

/// So many bytes that become a hundredth or less, but not so few that it is not allowed (`Deflate::max_ratio`).
fn dense(len: usize) -> Vec<u8> {
    let mut payload = vec![0; len];
    for (n, block) in payload.chunks_mut(8 << 10).enumerate() {
        let noise = pattern(n as u64, 40.min(block.len()));
        block[..noise.len()].copy_from_slice(&noise);
    }
    payload
}

/// Sends each input on a connection of its own, in either mode: each is answered with the code and the end of the connection,
/// and said once in the log.
#[track_caller]
fn each_ends(io: &'static str, flags: &[&str], code: u16, inputs: &[Vec<u8>]) {
    for trial in trials(io, flags) {
        for (number, input) in inputs.iter().enumerate() {
            let mut client = connect(&trial);
            client.send_deflated(TEXT, b"fine so far");
            client.expect_text("fine so far");
            client.write(input);
            let reason = client.expect_close(code);
            assert!(!reason.is_empty(), "input {number}: it says what was wrong");
            client.expect_end();
        }
        trial.logs("peer broke the protocol", inputs.len());
        trial.over();
    }
}

/// What inflates to the limit is taken; one byte more ends the connection, though a thousandth of it was sent.
fn inflates_to_the_limit(io: &'static str) {
    const LIMIT: usize = 1 << 20;
    let flags = ["--max-message", "1m"];
    for trial in trials(io, &flags) {
        for len in [LIMIT - 1, LIMIT] {
            let mut client = connect(&trial);
            client.write(&compressed(BINARY, &zeroes(len)));
            client.expect(BINARY, &vec![0; len]);
            client.close(1000);
        }
        trial.over_within(MEMORY + SPARE);
    }
    let over = [LIMIT + 1, 2 * LIMIT, 100 * LIMIT].map(|len| compressed(BINARY, &zeroes(len)));
    each_ends(io, &flags, 1009, &over);
}

/// The same in fragments of any size, with a ping after each.
fn inflates_in_fragments(io: &'static str) {
    const LIMIT: usize = 1 << 20;
    for trial in trials(io, &["--max-message", "1m"]) {
        for (len, size) in [(LIMIT, 1), (LIMIT, 100), (LIMIT + 1, 1), (50 * LIMIT, 1000)] {
            let mut client = connect(&trial);
            client.write(&raw_frame(RSV1 | BINARY, b""));
            for piece in zeroes(len).chunks(size) {
                client.write(&fragment(CONTINUATION, piece));
                client.send(PING, b"p");
                client.expect(PONG, b"p");
            }
            client.write(&frame(CONTINUATION, b""));
            if len == LIMIT {
                client.expect(BINARY, &vec![0; len]);
                client.close(1000);
            } else {
                client.expect_close(1009);
                client.expect_end();
            }
        }
        trial.logs("peer broke the protocol", 2);
        trial.over_within(MEMORY + SPARE);
    }
}

/// Beyond a mebibyte a message may become 256 times its size: people write nothing that becomes more.
fn inflates_too_many_times(io: &'static str) {
    for trial in trials(io, &[]) {
        let mut client = connect(&trial);
        let message = dense(4 << 20);
        let small = deflated(&message);
        let ratio = message.len() / small.len();
        assert!((100..256).contains(&ratio), "{ratio}");
        client.write(&compressed(BINARY, &small));
        client.expect(BINARY, &message);
        client.close(1000);
        trial.over_within(MEMORY + SPARE);
    }
    // Below the limit of a message, which is 16 MiB.
    each_ends(io, &[], 1009, &[compressed(BINARY, &zeroes(8 << 20))]);
}

/// What is in a message is the application's: nothing inflates it once more.
fn bomb_of_bombs(io: &'static str) {
    for trial in trials(io, &[]) {
        let mut inner = zeroes(100 << 20);
        inner.extend(TAIL);
        let mut client = connect(&trial);
        client.send_deflated(BINARY, &inner);
        client.expect(BINARY, &inner);
        assert!(trial.grown() < MEMORY, "{}", trial.grown());
        client.close(1000);
        trial.over();
    }
}

/// A thousand connections send a kilobyte each that becomes a mebibyte, all at once: four of them at a time are given the
/// memory for it, the others wait with their kilobyte.
fn bombs_at_once(io: &'static str) {
    const LIMIT: usize = 1 << 20;
    /// `corecast::defaults::INFLATING_AT_ONCE`, each in a buffer that doubles.
    const INFLATING: usize = 4 * 2 * LIMIT;
    /// What each sent, and on the portable transports a read that is pending, with its task.
    const EACH: usize = 12 << 10;
    let bomb = compressed(BINARY, &zeroes(LIMIT + 1));
    assert!(bomb.len() < 2 << 10, "{}", bomb.len());
    for trial in trials(io, &["--max-message", "1m"]) {
        let mut herd = Herd::connect_with(trial.address(), "/echo", OFFER, 1_000);
        herd.write(&bomb);
        let (mut most, mut ended) = (0, 0);
        // For as long as it takes, if only one after the other ends.
        while ended < herd.streams.len() {
            eventually("one more is ended", || {
                most = most.max(trial.grown());
                trial.logged("peer broke the protocol") > ended
            });
            ended = trial.logged("peer broke the protocol");
        }
        assert_eq!(ended, herd.streams.len());
        println!("{} KiB at most", most >> 10);
        let bound = MEMORY + INFLATING + herd.streams.len() * EACH;
        assert!(most < bound, "{most} bytes, {bound} may be");
        for stream in &mut herd.streams {
            let mut end = [0; 4];
            stream.read_exact(&mut end).expect("a Close frame");
            assert_eq!((end[0], &end[2..]), (0x88, &1009_u16.to_be_bytes()[..]));
        }
        let connections = herd.streams.len();
        drop(herd);
        trial.over_within(MEMORY + connections * EACH / 2);
    }
}

/// Three connections send the same bytes over and over to an application that does nothing with them. Each waits until they
/// were handled: what lies in the sockets would keep the server busy long after. Meanwhile the witness must not wait for
/// more than a part of the time that it takes to handle them: they are handled in parts.
fn beside_floods(trial: Trial, bytes: &[u8]) {
    let bytes = bytes.repeat(1 + 150_000 / bytes.len());
    let stop = AtomicBool::new(false);
    let (meanwhile, mut rounds) = thread::scope(|scope| {
        let floods = [(); 3].map(|()| {
            let client = connect_to(&trial, "/topics?pub=nobody");
            scope.spawn(|| flood(client, &bytes, &stop))
        });
        let meanwhile = trial.witness_times(15)[7];
        stop.store(true, Ordering::Relaxed);
        (
            meanwhile,
            floods.map(|flood| flood.join().expect("a flood")),
        )
    });
    rounds.sort();
    println!("round trips take {meanwhile:?}, the floods' {rounds:?}");
    assert!(
        meanwhile * 4 < rounds[1],
        "{meanwhile:?} beside what takes {rounds:?}"
    );
    trial.over_within(2 * MEMORY + SPARE);
}

/// Sends until it is to stop. Gives how long it took, on average, until all of it was handled.
fn flood(mut client: Client, bytes: &[u8], stop: &AtomicBool) -> Duration {
    let (start, mut rounds) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) || rounds == 0 {
        client.write(bytes);
        client.send(PING, b"handled?");
        client.expect(PONG, b"handled?");
        rounds += 1;
    }
    let time = start.elapsed() / rounds;
    client.close(1000);
    time
}

/// Messages of 12 MiB, each in a hundredth of that: a turn inflates a part of one and goes on.
fn inflating_beside_others(io: &'static str) {
    let message = compressed(BINARY, &deflated(&dense(12 << 20)));
    for trial in trials(io, &[]) {
        beside_floods(trial, &message);
    }
}

/// Blocks with nothing in them: they inflate to nothing, however many there are, and reading them is work all the same.
fn empty_blocks(io: &'static str) {
    // Four blocks of the fixed code, with nothing but their end: ten bits each. And stored ones, of five bytes.
    let fixed = (0x02_u64 | 0x02 << 10 | 0x02 << 20 | 0x02 << 30).to_le_bytes();
    for block in [&fixed[..5], &[0, 0, 0, 0xff, 0xff]] {
        // What ends a message is the head of one more, without its length (§7.2.1).
        let blocks = |count: usize| compressed(TEXT, &[&block.repeat(count), &[0][..]].concat());
        for trial in trials(io, &[]) {
            let mut client = connect(&trial);
            client.write(&blocks(10_000));
            client.expect(TEXT, b"");
            client.close(1000);
            trial.over();
        }
        // Compressed, a message may be an eighth larger than its limit, since that is what compressing can add.
        let limited = ["--max-message", "64k"];
        each_ends(io, &limited, 1009, &[blocks(20_000)]);
    }
    let many = [&fixed[..5].repeat(400_000), &[0][..]].concat();
    let trial = Trial::corecast(io, MODES[0]);
    beside_floods(trial, &compressed(BINARY, &many));
}

/// Valid messages with bits flipped: other text, or 1007, or too much, and never anything else.
fn deflate_bits_flipped(io: &'static str) {
    for trial in trials(io, &["--max-message", "64k"]) {
        let mut numbers = Numbers::new(3);
        let good = deflated(record(1, 2_000).as_bytes());
        let (mut refused, mut inputs) = (0, 0);
        for _ in 0..150 {
            let mut bad = good.clone();
            for _ in 0..=numbers.below(3) {
                let at = numbers.below(bad.len() as u64) as usize;
                bad[at] ^= 1 << numbers.below(8);
            }
            let mut client = connect(&trial);
            client.write(&compressed(BINARY, &bad));
            let answer = client.frame();
            inputs += 1;
            match answer.opcode {
                BINARY => client.close(1000),
                _ => {
                    let code = answer.close_code().map(|(code, _)| code);
                    assert!([Some(1007), Some(1009)].contains(&code), "{code:?}");
                    refused += 1;
                    client.expect_end();
                }
            }
        }
        assert!(refused > inputs / 2, "{refused} of {inputs}");
        trial.logs("peer broke the protocol", refused);
        trial.over();
    }
}

/// What no deflater makes (RFC 1951 §3.2).
fn deflate_invalid(io: &'static str) {
    let whole = deflated(record(1, 3_000).as_bytes());
    let mut later = Compress::new(Compression::default(), false);
    let mut refers_back = Vec::with_capacity(10_000);
    for _ in 0..2 {
        refers_back.clear();
        let message = record(2, 3_000);
        later
            .compress_vec(message.as_bytes(), &mut refers_back, FlushCompress::Sync)
            .expect("room");
    }
    let inputs = [
        // A type of block that there is not; at the beginning and behind a block.
        vec![0x07],
        vec![0, 0, 0, 0xff, 0xff, 0x06],
        // A stored block whose length and complement differ.
        vec![0, 5, 0, 0, 0, b'h', b'e', b'l', b'l', b'o'],
        // One that is longer than all that comes.
        vec![0, 0xff, 0xff, 0, 0, b'h'],
        // The fixed code: a distance with nothing before it, and symbols that have no meaning.
        vec![0x02, 0x02],
        vec![0x1a, 0x03],
        // A dynamic block with more codes than there can be.
        vec![
            0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
        // Cut off.
        whole[..whole.len() / 2].to_vec(),
        whole[..10].to_vec(),
        // It refers to a message that was never sent.
        refers_back[..refers_back.len() - TAIL.len()].to_vec(),
    ];
    let inputs = inputs.map(|payload| compressed(BINARY, &payload));
    each_ends(io, &[], 1007, &inputs);
}

/// A peer that agreed to a small window and compresses with a large one refers to what nobody has kept.
fn deflate_beyond_window(io: &'static str) {
    let trial = Trial::corecast(io, &["--deflate", "dedicated:9"]);
    for (len, is_kept) in [(200, true), (2_000, false)] {
        let mut client = connect(&trial);
        assert_eq!(
            client.agreed().map(|agreed| agreed.client_max_window_bits),
            Some(9)
        );
        let mut wide = Compress::new(Compression::default(), false);
        let message = pattern(1, len);
        for n in 0..2 {
            let mut payload = Vec::with_capacity(2 * len + 100);
            wide.compress_vec(&message, &mut payload, FlushCompress::Sync)
                .expect("room");
            payload.truncate(payload.len() - TAIL.len());
            client.write(&compressed(BINARY, &payload));
            if n == 1 {
                assert!(payload.len() < 100, "it refers to the first");
            }
            if n == 0 || is_kept {
                client.expect(BINARY, &message);
            }
        }
        if is_kept {
            client.close(1000);
        } else {
            client.expect_close(1007);
            client.expect_end();
        }
    }
    trial.logs("peer broke the protocol", 1);
    trial.over();
}

/// Final blocks end a stream, not a message (§7.2.3.4), and what comes next is read as ever.
fn deflate_final_blocks(io: &'static str) {
    for trial in trials(io, &[]) {
        let mut client = connect(&trial);
        for n in 0..20 {
            let text = record(n, 500);
            let mut payload = Vec::with_capacity(1_000);
            let mut stream = Compress::new(Compression::default(), false);
            stream
                .compress_vec(text.as_bytes(), &mut payload, FlushCompress::Finish)
                .expect("room");
            // The empty block that the sender owes then, or a further stream, or nothing.
            let more = match n % 3 {
                0 => vec![0],
                1 => deflated(b" and more"),
                _ => Vec::new(),
            };
            client.write(&compressed(TEXT, &[payload, more].concat()));
            match n % 3 {
                1 => client.expect_text(&format!("{text} and more")),
                _ => client.expect_text(&text),
            }
            client.write(&compressed(TEXT, &deflated(text.as_bytes())));
            client.expect_text(&text);
        }
        client.close(1000);
        trial.over();
    }
}

/// Text that inflates to no UTF-8: at the front, at the end, and behind what one step inflates.
fn deflate_bad_utf8(io: &'static str) {
    let mut inputs = Vec::new();
    for bad in BAD_TEXT.iter().chain(CUT_TEXT) {
        inputs.push(compressed(TEXT, &deflated(bad)));
        for before in [63, 70_000] {
            let long = [&b"x".repeat(before)[..], bad].concat();
            inputs.push(compressed(TEXT, &deflated(&long)));
        }
    }
    each_ends(io, &[], 1007, &inputs);
    // As bytes they are as good as any, and a character may lie on the border of two steps.
    for trial in trials(io, &[]) {
        let mut client = connect(&trial);
        client.send_deflated(BINARY, BAD_TEXT[0]);
        client.expect(BINARY, BAD_TEXT[0]);
        for shift in 0..4 {
            let text = format!("{}{}", "x".repeat(shift), "𝄞".repeat(40_000));
            client.send_deflated(TEXT, text.as_bytes());
            client.expect_text(&text);
        }
        client.close(1000);
        trial.over();
    }
}

/// RSV1 belongs to the first frame of a message (RFC 7692 §6), and the other bits to nobody.
fn rsv1_misplaced(io: &'static str) {
    let hello = deflated(b"hello");
    let begun = [raw_frame(RSV1 | TEXT, &hello), raw_frame(TEXT, b"as it is")];
    let mut inputs: Vec<_> = begun
        .iter()
        .flat_map(|begun| {
            [FIN, 0].map(|fin| [&begun[..], &raw_frame(fin | RSV1 | CONTINUATION, &[0])].concat())
        })
        .collect();
    inputs.extend([0x8, 0x9, 0xa].map(|opcode| raw_frame(FIN | RSV1 | opcode, b"")));
    inputs.extend([0x20, 0x10, 0x60, 0x70].map(|bits| raw_frame(FIN | bits | TEXT, &hello)));
    each_ends(io, &[], 1002, &inputs);
}

/// Fragments of a compressed message without end: their bytes count as they come, and their number, too.
fn compressed_fragments_never_end(io: &'static str) {
    for trial in trials(io, &["--max-message", "32k"]) {
        let mut client = connect(&trial);
        client.write(&raw_frame(RSV1 | BINARY, b""));
        assert_eq!(endless(&mut client, &fragment(CONTINUATION, &[0])), 1009);
        let mut client = connect(&trial);
        client.write(&raw_frame(RSV1 | BINARY, b""));
        assert_eq!(endless(&mut client, &fragment(CONTINUATION, b"")), 1008);
        trial.logs("peer broke the protocol", 2);
        trial.over();
    }
}

/// Empty messages, compressed to the byte that they take, as fast as three peers can; and to nothing, which is one byte
/// too few.
fn compressed_empty_flood(io: &'static str) {
    for payload in [&[0][..], &[]] {
        for trial in trials(io, &[]) {
            let message = compressed(BINARY, payload);
            beside_floods(trial, &message);
        }
    }
}

/// Connections end while what they sent is being inflated, or waits for that: others get their turn, and memory comes back.
fn ends_while_inflating(io: &'static str) {
    let large = dense(12 << 20);
    let message = compressed(BINARY, &deflated(&large));
    for trial in trials(io, &[]) {
        for round in 0..3 {
            let mut clients: Vec<_> = (0..12).map(|_| connect(&trial)).collect();
            for client in &mut clients {
                client.write(&message);
            }
            trial.witnessed(1 + round);
            for (n, client) in clients.into_iter().enumerate() {
                match n % 3 {
                    0 => client.reset(),
                    1 => drop(client),
                    _ => client.half_close(),
                }
            }
        }
        // All that may be in mid-inflation at one time, and one more: who ended holds up nobody.
        let mut clients: Vec<_> = (0..5).map(|_| connect(&trial)).collect();
        for client in &mut clients {
            client.write(&message);
        }
        for client in &mut clients {
            client.expect(BINARY, &large);
        }
        drop(clients);
        trial.over_within(2 * MEMORY + SPARE);
    }
}

/// What compressed messages have taken, of all sizes and both ways, goes back to the system within seconds.
fn memory_given_back_of_compressed_messages(io: &'static str) {
    for mode in MODES {
        let flags = [&["--io", io, "--cores", "1"], mode].concat();
        let process = Process::start_as_shipped(Program::Corecast, &flags);
        let mut trial = Trial::on(process);
        let mut clients: Vec<_> = (0..20).map(|_| connect(&trial)).collect();
        let sizes = [300, 5_000, 80_000, 600_000];
        for (n, size) in sizes.into_iter().enumerate() {
            let text = record(n as u64, size);
            for client in &mut clients {
                client.send_deflated(TEXT, text.as_bytes());
            }
            for client in &mut clients {
                client.expect_text(&text);
            }
        }
        drop(clients);
        trial.unwitnessed(|trial| {
            eventually("the memory is given back", || trial.grown() < MEMORY);
        });
        trial.over();
    }
}
