//! What is published in a burst goes out before there is more of it than may wait.

use std::sync::mpsc;

use corecast::{Io, Message};

use crate::common::errands::{Errands, Member};
use crate::common::payload::{number_of, numbered};
use crate::common::{TEST_TIME, next, over_every_transport};

over_every_transport![a_burst_of_many_publishers_makes_nobody_too_slow];

/// One message.
const PIECE: usize = 64 << 10;
/// Messages that are more together than a batch may be.
const MANY: u64 = 24;
/// Subscribers for whom a flush takes long, so that it is put off while others have something to say.
const CROWD: usize = 80;

fn a_burst_of_many_publishers_makes_nobody_too_slow(io: Io) {
    let server = Errands::serve(io, |server| server);
    // For each of them all of it may wait: what is dropped is dropped by mistake.
    let patient = || {
        let mut member = server.member();
        member.run(|ws| ws.set_backlog(Some(64 << 20)));
        member.subscribe(&["t"]);
        member
    };
    let mut subscribers: Vec<Member> = (0..CROWD).map(|_| patient()).collect();
    let mut publishers: Vec<Member> = (0..MANY).map(|_| server.member()).collect();
    // All that is sent meanwhile is there at once.
    let (wake, woken) = mpsc::channel::<()>();
    let (falls, has_fallen) = mpsc::channel();
    let nap = subscribers[0].begin(move |_| {
        falls.send(()).expect("the test waits");
        // Ends when the sender is dropped.
        let _ = woken.recv_timeout(TEST_TIME);
    });
    next(&has_fallen);
    let publishers = publishers.iter_mut().zip(0..);
    let published: Vec<_> = publishers
        .map(|(publisher, number)| {
            publisher.begin(move |ws| ws.publish("t", Message::Binary(&numbered(number, PIECE))))
        })
        .collect();
    drop(wake);
    next(&nap);
    for published in &published {
        assert_eq!(next(published).dropped, 0);
    }
    for subscriber in &mut subscribers {
        let frames = subscriber.read_all().into_iter();
        let mut numbers: Vec<u64> = frames
            .map(|frame| number_of(&frame.payload, PIECE))
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..MANY).collect::<Vec<_>>());
    }
}
