use super::pair::{Limits, pair};
use super::*;
use crate::core::core_set::CoreSet;
use crate::core::defaults::{MAX_CORE_MAIL_BYTES, MAX_MAIL_BYTES};

fn publication(bytes: usize) -> Mail {
    Mail::Publish(Arc::new(Publication {
        topic: "t".into(),
        frames: Bytes::from(vec![0; bytes]),
        deflated: Default::default(),
        key: None,
        retain: false,
    }))
}

fn numbered(number: usize) -> Mail {
    Mail::Publish(Arc::new(Publication {
        topic: "t".into(),
        frames: Bytes::copy_from_slice(&number.to_be_bytes()),
        deflated: Default::default(),
        key: None,
        retain: false,
    }))
}

fn number(mail: &Mail) -> usize {
    let Mail::Publish(publication) = mail else {
        panic!("{mail:?}");
    };
    usize::from_be_bytes((*publication.frames).try_into().expect("a number"))
}

/// A core by itself, and the half of its mailbox that threads use.
fn alone() -> (Mailboxes, Post) {
    let (mailboxes, mut posts) = set_up(1).expect("a bell");
    (mailboxes, posts.remove(0))
}

fn two() -> (Mailboxes, Post, Post) {
    let (mailboxes, posts) = set_up(2).expect("two bells");
    let [first, second] = posts.try_into().expect("two cores");
    (mailboxes, first, second)
}

fn read_all(post: &mut Post) -> Vec<Mail> {
    post.collect();
    std::iter::from_fn(|| post.next_mail()).collect()
}

/// Sends one message, if there is room.
fn post(post: &mut Post, core: usize, mail: Mail) -> Result<(), Full> {
    let Mail::Publish(publication) = &mail else {
        panic!("cores send publications");
    };
    post.reserve(core, &publication.topic, publication.frames.len())?;
    post.send(core, mail);
    Ok(())
}

#[test]
fn mail_of_threads_is_bounded_and_orders_are_taken_all_the_same() {
    let (mailboxes, mut core) = alone();
    let fill = || {
        let taken = (0..MAX_MAIL + 10).filter(|_| mailboxes[0].post(publication(1)).is_ok());
        taken.count()
    };
    assert_eq!(fill(), MAX_MAIL);
    assert_eq!(mailboxes[0].post(Mail::Stop), Ok(()));
    core.collect();
    assert!(core.next_mail().is_some());
    assert_eq!(fill(), 0, "what was taken counts until it has been read");
    assert_eq!(std::iter::from_fn(|| core.next_mail()).count(), MAX_MAIL);
    assert!(!core.has_mail());
    assert_eq!(fill(), MAX_MAIL);
}

#[test]
fn what_comes_while_mail_of_threads_is_read_is_found_next() {
    let (mailboxes, mut core) = alone();
    mailboxes[0].post(Mail::Stop).unwrap();
    mailboxes[0].post(Mail::Stop).unwrap();
    core.collect();
    assert!(core.next_mail().is_some());
    mailboxes[0].post(Mail::Drain(Instant::now())).unwrap();
    // Its news is answered, but the queue is not taken while there is something of it left to read.
    core.collect();
    assert!(matches!(core.next_mail(), Some(Mail::Stop)));
    assert!(core.next_mail().is_none());
    assert!(core.has_mail() && !core.try_sleep());
    assert!(matches!(read_all(&mut core)[..], [Mail::Drain(_)]));
}

#[test]
#[cfg_attr(miri, ignore = "128 MiB")]
fn mail_of_threads_is_bounded_in_bytes() {
    let (mailboxes, mut core) = alone();
    let large = publication(2 * MAX_MAIL_BYTES);
    assert_eq!(mailboxes[0].post(large), Ok(()), "a lone one always fits");
    assert_eq!(mailboxes[0].post(publication(1)), Err(Full));
    assert_eq!(read_all(&mut core).len(), 1);
    assert_eq!(mailboxes[0].post(publication(1)), Ok(()));
}

#[test]
fn a_pair_is_bounded_in_entries() {
    let (_mailboxes, mut from, mut to) = two();
    let fill = |from: &mut Post| {
        let taken = (0..MAX_MAIL + 10).filter(|&n| post(from, 1, numbered(n)).is_ok());
        taken.count()
    };
    assert_eq!(fill(&mut from), MAX_MAIL);
    from.ring();
    assert_eq!(number(&read_all(&mut to)[0]), 0);
    assert_eq!(fill(&mut from), MAX_MAIL);
}

#[test]
#[cfg_attr(miri, ignore = "128 MiB")]
fn a_pair_is_bounded_in_bytes() {
    let (_mailboxes, mut from, mut to) = two();
    let large = publication(2 * MAX_CORE_MAIL_BYTES);
    assert_eq!(post(&mut from, 1, large), Ok(()), "a lone one always fits");
    assert_eq!(post(&mut from, 1, publication(1)), Err(Full));
    from.ring();
    assert_eq!(read_all(&mut to).len(), 1);
    assert_eq!(post(&mut from, 1, publication(1)), Ok(()));
}

#[test]
fn what_waits_for_a_core_is_bounded_however_many_send() {
    for senders in [1, 2, 15, 63, 255] {
        let (mut sender, _receiver) = pair(Limits::among(senders));
        let bytes = (64 << 20) / senders;
        sender.reserve(bytes.max(1 << 20)).expect("its part");
        assert_eq!(sender.reserve(1), Err(Full), "{senders} senders");
    }
}

#[test]
fn room_is_kept_until_the_turn_ends() {
    let (_mailboxes, mut from, mut to) = two();
    let frames = Bytes::from(vec![0; 100]);
    from.reserve(1, "t", 60)
        .expect("room for the first message");
    from.reserve_more(1, 40).expect("and for the second");
    let both = Publication {
        topic: "t".into(),
        frames,
        deflated: Default::default(),
        key: None,
        retain: false,
    };
    from.send(1, Mail::Publish(Arc::new(both)));
    // Nothing is sent of these.
    for _ in 1..MAX_MAIL {
        from.reserve(1, "u", 1).expect("room");
    }
    assert_eq!(from.reserve(1, "u", 1), Err(Full));
    from.ring();
    assert_eq!(from.reserve(1, "u", 1), Ok(()), "given back");
    assert_eq!(read_all(&mut to).len(), 1);
}

#[test]
#[should_panic(expected = "with room for")]
fn mail_without_room_is_a_mistake() {
    let (_mailboxes, mut from, _to) = two();
    from.reserve(1, "t", 1).expect("room for one byte");
    from.send(1, publication(2));
}

#[test]
fn senders_take_turns_and_each_keeps_its_order() {
    let (mailboxes, mut posts) = set_up(3).expect("three bells");
    for n in 0..2 {
        mailboxes[0].post(numbered(n)).unwrap();
        for (from, sender) in posts.iter_mut().enumerate().skip(1) {
            post(sender, 0, numbered(10 * from + n)).unwrap();
        }
    }
    posts[1..].iter_mut().for_each(Post::ring);
    let read: Vec<_> = read_all(&mut posts[0]).iter().map(number).collect();
    assert_eq!(read, [0, 10, 20, 1, 11, 21]);
}

#[test]
fn what_comes_during_a_turn_waits_for_the_next() {
    let (_mailboxes, mut from, mut to) = two();
    post(&mut from, 1, numbered(0)).unwrap();
    from.ring();
    to.collect();
    post(&mut from, 1, numbered(1)).unwrap();
    from.ring();
    assert_eq!(to.next_mail().as_ref().map(number), Some(0));
    assert!(to.next_mail().is_none());
    assert!(to.has_mail());
    assert_eq!(number(&read_all(&mut to)[0]), 1);
    assert!(!to.has_mail());
}

/// Readable is what a sleeping core waits for.
fn rings(post: &Post) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(post.bell(), PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).expect("a poll") == 1
}

#[test]
#[cfg_attr(miri, ignore = "polls a descriptor")]
fn only_a_sleeping_core_is_rung_for_and_only_once() {
    let (mailboxes, mut from, mut to) = two();
    post(&mut from, 1, numbered(0)).unwrap();
    assert!(!to.has_mail(), "nobody has told it yet");
    from.ring();
    assert!(to.has_mail() && !rings(&to));
    assert!(!to.try_sleep(), "there is mail");
    assert_eq!(read_all(&mut to).len(), 1);

    assert!(to.try_sleep());
    for n in 0..3 {
        post(&mut from, 1, numbered(n)).unwrap();
        from.ring();
        mailboxes[1].post(numbered(n)).unwrap();
    }
    assert!(rings(&to) && !rings(&from));
    to.wake();
    to.silence();
    assert!(!rings(&to));
    assert_eq!(read_all(&mut to).len(), 6);
    assert!(to.try_sleep());
    to.wake();
    assert!(!rings(&to));
}

#[test]
fn whoever_ends_still_tells_of_what_was_sent() {
    let (_mailboxes, mut from, mut to) = two();
    post(&mut from, 1, numbered(3)).unwrap();
    drop(from);
    assert_eq!(number(&read_all(&mut to)[0]), 3);
}

#[test]
fn a_message_for_many_cores_is_one_piece_of_memory() {
    let (_mailboxes, mut posts) = set_up(3).expect("three bells");
    assert_eq!(posts[0].others(), {
        let mut others = CoreSet::first(3);
        others.remove(0);
        others
    });
    let Mail::Publish(publication) = publication(10) else {
        panic!("a publication");
    };
    for core in posts[0].others().iter() {
        let mail = Mail::Publish(Arc::clone(&publication));
        post(&mut posts[0], core, mail).unwrap();
    }
    assert_eq!(Arc::strong_count(&publication), 3);
}

/// What the models leave out: the queue's own memory, under a sender and a reader that never wait for each other.
#[test]
fn two_threads_lose_nothing_and_keep_the_order() {
    let count = if cfg!(miri) { 30 } else { 200_000 };
    let (_mailboxes, mut from, mut to) = two();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..count {
                while post(&mut from, 1, numbered(n)).is_err() {
                    from.ring();
                    std::thread::yield_now();
                }
            }
        });
        let (mut expected, began) = (0, Instant::now());
        while expected < count {
            assert!(began.elapsed().as_secs() < 300, "stuck at {expected}");
            for mail in read_all(&mut to) {
                assert_eq!(number(&mail), expected);
                expected += 1;
            }
            std::thread::yield_now();
        }
    });
    assert!(!to.has_mail());
}
