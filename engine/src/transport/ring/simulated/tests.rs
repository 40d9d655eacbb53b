//! The ring's halves against each other, one step at a time.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Dice, LinkId, Log, Outside, Pool, Queues, SimulatedKernel, World, listener};
use crate::transport::ring::{Completion, Op, Ring, Then, Token, Wait};
use crate::transport::socket::Socket;

/// Nothing happens by itself.
struct Silence;

impl Outside for Silence {
    fn next(&self, _: &World) -> Option<Duration> {
        None
    }

    fn act(&mut self, _: &mut World) {}
}

/// A ring without faults, and one accepted connection.
struct Setup {
    world: Rc<RefCell<World>>,
    ring: Ring<SimulatedKernel>,
    link: LinkId,
    socket: Socket,
    _listener: Socket,
}

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn setup() -> Setup {
    let mut dice = Dice::new(0);
    dice.calm_down();
    let world = World::new(dice, Log::new(false)).expect("a world");
    let world = Rc::new(RefCell::new(world));
    let queues = Queues {
        submissions: 8,
        completions: 8,
    };
    let outside = Rc::new(RefCell::new(Silence));
    let kernel = SimulatedKernel::new(Rc::clone(&world), outside, Instant::now(), queues);
    let pool = Pool {
        size: 64,
        count: 8,
        incremental: true,
        exchange: true,
    };
    let mut ring = Ring::simulated(kernel, pool).expect("a ring");
    let listener = listener(&world).expect("a listener");
    let link = world.borrow_mut().connect(ADDRESS, 1000, 1000);
    let link = link.expect("a listener");
    let token = Token::new(Op::Accept, 0, 0);
    ring.uring().accept(token, listener.as_fd()).expect("room");
    let accepted = turn(&mut ring).pop().expect("a connection");
    let socket = ring.accepted(accepted).expect("a socket");
    Setup {
        world,
        ring,
        link,
        socket,
        _listener: listener,
    }
}

fn turn(ring: &mut Ring<SimulatedKernel>) -> Vec<Completion> {
    let mut completions = Vec::new();
    ring.rotate();
    ring.uring().batch().submit(Wait::No).expect("a submission");
    ring.take_completions(&mut completions);
    completions
}

fn received(ring: &Ring<SimulatedKernel>, completions: &[Completion]) -> Vec<u8> {
    let chunks = completions.iter().filter_map(|c| c.chunk);
    chunks
        .flat_map(|chunk| ring.buffers().bytes(chunk).to_vec())
        .collect()
}

/// Who goes to sleep beside futures submits between two turns: what that brings lies in the buffers as they were.
#[test]
fn completions_between_turns_keep_their_buffers() {
    let mut setup = setup();
    let ring = &mut setup.ring;
    let token = Token::new(Op::Recv, 0, 0);
    ring.uring()
        .recv(token, setup.socket.as_fd())
        .expect("room");
    let mut next = 0_u8;
    for step in 0..60_usize {
        let sent: Vec<u8> = (0..10 + step * 7 % 60)
            .map(|n| next.wrapping_add(n as u8))
            .collect();
        next = next.wrapping_add(sent.len() as u8);
        setup.world.borrow_mut().arrive(setup.link, &sent);
        if step % 3 == 2 {
            ring.uring().batch().submit(Wait::No).expect("a submission");
        }
        let completions = turn(ring);
        assert_eq!(received(ring, &completions), sent, "in step {step}");
    }
    // Every buffer comes back.
    turn(ring);
    turn(ring);
    let (published, held, free) = ring.buffers().census();
    assert_eq!((published.len() + free, held), (8, 0));
}

/// Or else bytes that were received could pass for an accepted descriptor.
#[test]
#[should_panic(expected = "a token of another operation")]
fn a_receive_takes_no_token_of_an_accept() {
    let mut setup = setup();
    let token = Token::new(Op::Accept, 0, 0);
    let _ = setup.ring.uring().recv(token, setup.socket.as_fd());
}

/// Or else the number of bytes that an inline send took could.
#[test]
#[should_panic(expected = "a token of another operation")]
fn an_inline_send_takes_no_token_of_an_accept() {
    let mut setup = setup();
    let token = Token::new(Op::Accept, 0, 0);
    let mut batch = setup.ring.uring().batch();
    batch.send(token, setup.socket.as_fd(), [&b"bytes"[..]], Then::More);
}

/// Or else the bytes of the first would be freed while they are sent.
#[test]
#[should_panic(expected = "two backlog sends")]
fn one_backlog_is_sent_at_a_time() {
    let mut setup = setup();
    let token = Token::new(Op::Drain, 0, 0);
    for bytes in ["first", "second"] {
        let uring = setup.ring.uring();
        let sent = uring.send_owned(
            token,
            setup.socket.as_fd(),
            Bytes::from_static(bytes.as_bytes()),
        );
        sent.expect("room");
    }
}

/// A ring whose one connection has room for 1,000 bytes, and that has lent 600 to a peer which does not read.
fn lent(setup: &mut Setup) -> (Bytes, Vec<Completion>) {
    let bytes = Bytes::from(vec![7; 600]);
    let token = Token::new(Op::Send, 3, 9);
    let mut batch = setup.ring.uring().batch();
    assert!(batch.may_lend(token, 600, 2000, Instant::now()));
    batch.lend(token, setup.socket.as_fd(), bytes.clone());
    batch.submit(Wait::No).expect("a submission");
    let mut completions = Vec::new();
    setup.ring.take_completions(&mut completions);
    (bytes, completions)
}

#[test]
fn lent_bytes_are_given_back_when_the_peer_has_them() {
    let mut setup = setup();
    let (bytes, completions) = lent(&mut setup);
    assert!(completions.is_empty(), "all is taken: {completions:?}");
    // The next one falls short, and says so as any inline send.
    let (_, completions) = lent(&mut setup);
    let told = completions.iter().map(|c| (c.token(), c.result()));
    let told: Vec<_> = told.collect();
    assert_eq!(told, [(Token::new(Op::Send, 3, 9), 400)]);

    for (read, left) in [(599, 1200), (1, 600), (399, 600), (1, 0)] {
        setup.world.borrow_mut().read(setup.link, read);
        assert!(turn(&mut setup.ring).is_empty(), "nobody else is told");
        assert_eq!(setup.ring.take_lending().bytes, left);
    }
    assert!(bytes.is_unique());
}

/// Nobody can take them back from the kernel: it would send what comes to lie there.
#[test]
#[cfg_attr(miri, ignore = "loses memory on purpose")]
fn a_ring_that_ends_leaves_the_kernel_what_it_has_lent() {
    let mut setup = setup();
    let (bytes, _) = lent(&mut setup);
    drop(setup.ring);
    assert!(!bytes.is_unique());
}
