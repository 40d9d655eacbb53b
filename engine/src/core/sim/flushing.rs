//! What is published waits for more, and no longer than it may.

use std::time::Duration;

use super::stage::Stage;
use crate::core::Core;
use crate::transport::ring::simulated::{LinkId, World};

/// What a turn's own calls take at most, if the clock does not jump.
const TURN_TAKES: Duration = Duration::from_millis(100);

/// What was due when a turn began has been handed on after it.
pub(super) fn check_batches(core: &Core, stage: &mut Stage, began: Duration) -> Result<(), String> {
    if !stage.play.watches_mail {
        // What came by mail is not known.
        return Ok(());
    }
    let hub = &core.hub;
    if hub.output.batches.next_due().is_some() {
        stage.saw("waited for others");
    }
    for index in hub.conns.indices() {
        let batched = hub.batched(index);
        if !hub.conns[index].is_open() || batched == 0 {
            continue;
        }
        let id = hub.conns[index].data;
        let to_peer = &stage.conversations[id as usize].to_peer;
        let may_wait = to_peer.not_due(began);
        if batched > may_wait {
            return Err(format!(
                "{batched} bytes wait for connection {id} after {began:?}, {may_wait} may: {to_peer:?}"
            ));
        }
    }
    Ok(())
}

/// What had to go out by a time has been taken in the turn after it, however long the loop may have slept.
pub(super) fn check_taken(world: &World, id: LinkId, due: Option<Duration>) -> Result<(), String> {
    let taken_at = world.links[id as usize].taken_at;
    match due {
        Some(due) if taken_at > due.max(world.jumped_at) + TURN_TAKES => {
            Err(format!("what was due at {due:?} was sent at {taken_at:?}"))
        }
        _ => Ok(()),
    }
}
