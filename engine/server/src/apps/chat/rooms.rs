//! The rooms, shared by all cores: who said what last must not depend on who asks where.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Every room with a member. The lock is taken to enter, leave and look up, never while
/// messages are sent; to speak takes only the room's own.
#[derive(Clone, Default)]
pub(in crate::apps) struct Rooms(Arc<Mutex<HashMap<Arc<str>, Room>>>);

struct Room {
    members: usize,
    last: Last,
}

type Last = Arc<Mutex<Option<Said>>>;

/// Something that was said in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) from: Arc<str>,
    pub(super) text: Arc<str>,
}

/// A membership, which ends when it is dropped; the room with its last one.
pub(super) struct Seat {
    rooms: Rooms,
    topic: Arc<str>,
    last: Last,
}

impl Rooms {
    /// Takes a seat in the room with this topic, which begins with its first member.
    pub(super) fn enter(&self, topic: &str) -> Seat {
        let mut rooms = lock(&self.0);
        let (topic, last) = match rooms.get_key_value(topic) {
            Some((topic, room)) => (Arc::clone(topic), Arc::clone(&room.last)),
            None => (topic.into(), Last::default()),
        };
        let room = rooms.entry(Arc::clone(&topic));
        room.or_insert_with(|| Room {
            members: 0,
            last: Arc::clone(&last),
        })
        .members += 1;
        Seat {
            rooms: self.clone(),
            topic,
            last,
        }
    }

    /// What was said last in the room, if there is one and anybody spoke.
    pub(super) fn last(&self, topic: &str) -> Option<Said> {
        let last = lock(&self.0).get(topic).map(|room| Arc::clone(&room.last));
        last.and_then(|last| lock(&last).clone())
    }
}

impl Seat {
    /// The topic that the room's members are subscribed to.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Remembers what was said, in place of what was said before.
    pub(super) fn remember(&self, said: Said) {
        // The old one is freed after the lock.
        let _before = lock(&self.last).replace(said);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rooms = lock(&self.rooms.0);
        if let Some(room) = rooms.get_mut(&self.topic) {
            room.members -= 1;
            if room.members == 0 {
                rooms.remove(&self.topic);
            }
        }
    }
}

/// A panic elsewhere leaves nothing half done here: no lock is held across a callback.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        Said {
            from: "ada".into(),
            text: text.into(),
        }
    }

    #[test]
    fn a_room_remembers_only_what_was_said_last() {
        let rooms = Rooms::default();
        let seat = rooms.enter("tea");
        assert_eq!(rooms.last("tea"), None);
        seat.remember(said("one"));
        rooms.enter("tea").remember(said("two"));
        assert_eq!(rooms.last("tea"), Some(said("two")));
        assert_eq!(rooms.last("coffee"), None);
    }

    #[test]
    fn a_room_ends_with_its_last_member() {
        let rooms = Rooms::default();
        let seats = [rooms.enter("tea"), rooms.enter("tea")];
        seats[0].remember(said("one"));
        let [first, second] = seats;
        drop(first);
        assert_eq!(rooms.last("tea"), Some(said("one")));
        drop(second);
        assert!(lock(&rooms.0).is_empty());
        let _seat = rooms.enter("tea");
        assert_eq!(rooms.last("tea"), None);
    }
}
