//! A core that nobody runs and that knows pages only, for tests of its parts.

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use corecast_protocol::handshake::Request;

use super::Core;
use super::app::{App, CoreId, Decision, Ended, Message};
use super::config::Config;
use super::hub::Hub;
use super::interest::{Interests, Registry};
use super::mailbox::{self, Post};
use super::stats::CoreStats;
use super::sync::AtomicU64;

/// A core with room for four connections.
pub(super) fn core(config: Config) -> Core {
    first_of(1, config).0
}

/// The same, and the mail of a second core.
pub(super) fn core_and_other(config: Config) -> (Core, Post) {
    let (core, mut others) = first_of(2, config);
    (core, others.remove(0))
}

fn first_of(cores: usize, config: Config) -> (Core, Vec<Post>) {
    let config = Arc::new(Config { slots: 4, ..config });
    let stats = CoreStats::new(Arc::new(AtomicU64::new(0)), config.max_connections);
    let (_, mut posts) = mailbox::set_up(cores).expect("a bell for each");
    let interests = Interests::new(Arc::new(Registry::new()), 0);
    let post = posts.remove(0);
    let core = Core::new(config, Arc::new(stats), post, interests, Box::new(Pages));
    (core, posts)
}

/// Knows pages only.
struct Pages;

impl App for Pages {
    fn request(&mut self, _: &Request<'_>, _: BorrowedFd<'_>, response: &mut Vec<u8>) -> Decision {
        response.extend_from_slice(b"HTTP/1.1 204 No Content\r\n\r\n");
        Decision::Respond
    }

    fn open(&mut self, _: &mut Hub, _: u32) {
        unreachable!("nothing is upgraded");
    }

    fn message(&mut self, _: &mut Hub, _: u32, _: Message<'_>) {
        unreachable!("nothing is upgraded");
    }

    fn drain(&mut self, _: &mut Hub, _: u32) {}

    fn close(&mut self, _: &mut Hub, _: u32, _: &Ended) {}

    fn data(&mut self, _: u16, _: u32) -> Option<(CoreId, &mut dyn Any)> {
        None
    }
}
