use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use super::*;

/// A ring with a connected pair, or `None`, with the reason printed, where there is no io_uring.
fn pair() -> Option<(Ring, TcpStream, TcpStream)> {
    pair_with(BufferRing::register)
}

fn pair_with(
    register: fn(&Submitter<'_>) -> io::Result<BufferRing>,
) -> Option<(Ring, TcpStream, TcpStream)> {
    let ring = match Ring::with_buffers(None, register) {
        Ok(ring) => ring,
        Err(error) => {
            println!("skipped: {error}");
            return None;
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let theirs = listener.accept().unwrap().0;
    theirs.set_read_timeout(Some(LIMIT)).unwrap();
    Some((ring, ours, theirs))
}

/// What takes longer hangs, on however busy a machine.
const LIMIT: Duration = Duration::from_secs(60);

fn completions(ring: &mut Ring) -> Vec<Completion> {
    ring.turn(Wait::AtMost(LIMIT)).unwrap();
    std::iter::from_fn(|| ring.next()).collect()
}

#[test]
fn tags_come_back() {
    for op in Op::ALL {
        assert_eq!(
            Op::from_tag(op.tag(0xab_cdef, u32::MAX - 1)),
            (op, 0xab_cdef, u32::MAX - 1)
        );
    }
}

#[test]
fn a_silent_send_that_fits_says_nothing() {
    let Some((mut ring, ours, mut theirs)) = pair() else {
        return;
    };
    let region = ring.adopt(b"hello world".to_vec());
    ring.send_silent(ours.as_fd(), 7, region, 6..11).unwrap();
    ring.turn(Wait::No).unwrap();
    assert!(ring.next().is_none());
    let mut got = [0; 5];
    theirs.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"world");
}

#[test]
fn a_silent_send_that_does_not_fit_reports_and_a_polled_one_finishes_it() {
    let Some((mut ring, ours, mut theirs)) = pair() else {
        return;
    };
    let bytes: Vec<u8> = (0..32 << 20).map(|n: u32| (n >> 3) as u8).collect();
    let total = bytes.len();
    let region = ring.adopt(bytes.clone());
    ring.send_silent(ours.as_fd(), 3, region, 0..total).unwrap();
    let first = completions(&mut ring);
    let [
        Completion::Short {
            slot: 3,
            sent: Ok(sent),
        },
    ] = first[..]
    else {
        panic!("{first:?}")
    };
    assert!(sent > 0 && sent < total);
    ring.send_polled(ours.as_fd(), 3, region, sent..total)
        .unwrap();
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; total];
        theirs.read_exact(&mut got).unwrap();
        got
    });
    let second = completions(&mut ring);
    let [
        Completion::Sent {
            slot: 3,
            sent: Ok(rest),
        },
    ] = second[..]
    else {
        panic!("{second:?}")
    };
    assert_eq!(sent + rest, total);
    assert!(reader.join().unwrap() == bytes);
}

#[test]
fn a_send_to_nobody_reports_an_error() {
    let Some((mut ring, ours, theirs)) = pair() else {
        return;
    };
    drop(theirs);
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    let region = ring.adopt(vec![1]);
    ring.send_silent(ours.as_fd(), 1, region, 0..1).unwrap();
    let list = completions(&mut ring);
    assert!(
        matches!(
            list[..],
            [Completion::Short {
                slot: 1,
                sent: Err(_)
            }]
        ),
        "{list:?}"
    );
}

#[test]
fn received_bytes_can_be_read_changed_and_sent_back_from_where_they_lie() {
    let Some((mut ring, ours, mut theirs)) = pair() else {
        return;
    };
    ring.receive(ours.as_fd(), 2).unwrap();
    let mut pieces = Vec::new();
    for word in [b"one", b"two", b"six"] {
        theirs.write_all(word).unwrap();
        for completion in completions(&mut ring) {
            let Completion::Received {
                slot: 2,
                bytes: Ok(Some(lent)),
                armed: true,
            } = completion
            else {
                panic!("{completion:?}")
            };
            pieces.push(lent);
        }
    }
    ring.bytes_mut(&mut pieces[1]).make_ascii_uppercase();
    assert_eq!(ring.bytes(&pieces[0]), b"one");
    ring.send_lent(ours.as_fd(), 2, &pieces).unwrap();
    ring.turn(Wait::No).unwrap();
    assert!(ring.next().is_none());
    pieces.drain(..).for_each(|piece| ring.give_back(piece));
    let mut got = [0; 9];
    theirs.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"oneTWOsix");
    drop(theirs);
    let end = completions(&mut ring);
    assert!(
        matches!(
            end[..],
            [Completion::Received {
                bytes: Ok(None),
                armed: false,
                ..
            }]
        ),
        "{end:?}"
    );
}

#[test]
fn incremental_buffers_run_out_and_come_back() {
    run_out_of_buffers(pair());
}

/// What kernels before 6.12 get.
#[test]
fn plain_buffers_run_out_and_come_back() {
    run_out_of_buffers(pair_with(BufferRing::register_plain));
}

fn run_out_of_buffers(pair: Option<(Ring, TcpStream, TcpStream)>) {
    let Some((mut ring, ours, mut theirs)) = pair else {
        return;
    };
    let total: usize = 16 << 20;
    let writer = std::thread::spawn(move || {
        let chunk: Vec<u8> = (0..=255).collect();
        for _ in 0..total / chunk.len() {
            theirs.write_all(&chunk).unwrap();
        }
        theirs
    });
    ring.receive(ours.as_fd(), 0).unwrap();
    let (mut kept, mut seen, mut starved) = (Vec::new(), 0, 0);
    while seen < total {
        for completion in completions(&mut ring) {
            match completion {
                Completion::Received {
                    bytes: Ok(Some(lent)),
                    ..
                } => {
                    let expected = (seen..seen + lent.len()).map(|n| n as u8);
                    assert!(ring.bytes(&lent).iter().copied().eq(expected));
                    seen += lent.len();
                    kept.push(lent);
                }
                Completion::Received {
                    bytes: Err(error),
                    armed: false,
                    ..
                } => {
                    assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
                    starved += 1;
                    kept.drain(..).for_each(|piece| ring.give_back(piece));
                    ring.receive(ours.as_fd(), 0).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(starved > 0, "16 MiB were kept in a pool of less");
    drop(writer.join().unwrap());
}

#[test]
fn more_sends_than_entries_all_leave_in_one_turn() {
    let Some((mut ring, ours, mut theirs)) = pair() else {
        return;
    };
    let count = SQ_ENTRIES as usize * 3;
    for n in 0..count {
        // On one connection only because each is sure to fit.
        ring.send_owned(ours.as_fd(), n as u32, vec![n as u8])
            .unwrap();
    }
    let mut sent = Vec::new();
    while sent.len() < count {
        for completion in completions(&mut ring) {
            let Completion::Sent { slot, sent: Ok(1) } = completion else {
                panic!("{completion:?}")
            };
            sent.push(slot);
        }
    }
    assert!(sent.iter().copied().eq(0..count as u32));
    let mut got = vec![0; count];
    theirs.read_exact(&mut got).unwrap();
    assert!(got.iter().copied().eq((0..count).map(|n| n as u8)));
}

#[test]
fn scratch_bytes_are_sent_as_they_were_when_they_were_queued() {
    let Some((mut ring, ours, mut theirs)) = pair() else {
        return;
    };
    let scratch = ring.scratch();
    let rounds: Vec<Vec<u8>> = (1..=20).map(|n| vec![n; usize::from(n) * 100]).collect();
    let mut returned = Vec::new();
    for round in &rounds {
        // Not submitted yet when the next ones are written.
        returned.push(ring.rewrite(&scratch, round.clone()).unwrap());
        ring.send_scratch(ours.as_fd(), 1, &scratch).unwrap();
    }
    assert_eq!(ring.scratch_bytes(&scratch), rounds[19]);
    ring.turn(Wait::No).unwrap();
    assert!(ring.next().is_none(), "all of them fit");
    let mut got = vec![0; rounds.iter().map(Vec::len).sum()];
    theirs.read_exact(&mut got).unwrap();
    assert_eq!(got, rounds.concat());
    assert_eq!(returned[1..], rounds[..19]);
}

#[test]
fn a_single_receive_leaves_the_rest_in_the_socket() {
    for register in [BufferRing::register, BufferRing::register_plain] {
        let Some((mut ring, ours, mut theirs)) = pair_with(register) else {
            return;
        };
        for text in [b"first", b"other"] {
            theirs.write_all(text).unwrap();
            ring.receive_once(ours.as_fd(), 4).unwrap();
            let mut received = completions(&mut ring);
            let Some(Completion::Received {
                slot: 4,
                bytes: Ok(Some(lent)),
                armed: false,
            }) = received.pop()
            else {
                panic!("{received:?}")
            };
            assert_eq!(ring.bytes(&lent), text);
            ring.give_back(lent);
        }
        theirs.write_all(b"unread").unwrap();
        ring.turn(Wait::AtMost(Duration::from_millis(50))).unwrap();
        assert!(ring.next().is_none(), "nothing is armed");
    }
}
