//! Buffers that are used again.

use super::*;

fn assemble(shared: &mut Shared, payload: &[u8], piece: usize) -> Vec<u8> {
    let mut stream = frames(&[(fin(Opcode::Binary), payload)]);
    let mut receiver = Receiver::new();
    for part in stream.chunks_mut(piece) {
        let mut input = Input::new(part);
        match receiver.poll(shared, &mut input).unwrap() {
            Some(Event::Binary(Cow::Owned(bytes))) => return bytes,
            None => {}
            other => panic!("not assembled: {other:?}"),
        }
    }
    panic!("no message");
}

#[test]
fn a_recycled_buffer_is_used_again() {
    let mut shared = Shared::new(Role::Server, Limits::default());
    let payload = vec![5; 100_000];
    let first = assemble(&mut shared, &payload, 16_384);
    let (address, capacity) = (first.as_ptr(), first.capacity());
    shared.recycle(first);
    assert_eq!(shared.spare_bytes(), capacity);
    let second = assemble(&mut shared, &payload, 16_384);
    assert_eq!((second.as_ptr(), second.capacity()), (address, capacity));
    assert_eq!(second, payload);
    assert_eq!(shared.spare_bytes(), 0);
}

#[test]
fn released_buffers_are_gone() {
    let mut shared = Shared::new(Role::Server, Limits::default());
    let payload = vec![5; 100_000];
    let first = assemble(&mut shared, &payload, 16_384);
    shared.recycle(first);
    assert!(shared.spare_bytes() >= payload.len());
    shared.release_spares();
    assert_eq!(shared.spare_bytes(), 0);
    let second = assemble(&mut shared, &payload, 16_384);
    assert_eq!(second, payload);
    shared.recycle(second);
    assert!(shared.spare_bytes() >= payload.len(), "kept as before");
}

#[test]
fn a_large_spare_is_not_lent_for_a_few_bytes() {
    let mut shared = Shared::new(Role::Server, Limits::default());
    shared.recycle(Vec::with_capacity(1 << 20));
    let message = assemble(&mut shared, &[1; 5000], 64);
    assert!(message.capacity() < 1 << 20);
    assert_eq!(shared.spare_bytes(), 1 << 20);
}

#[test]
fn the_pool_is_bounded() {
    let mut shared = Shared::new(Role::Server, Limits::default());
    for _ in 0..100 {
        shared.recycle(Vec::with_capacity(8 << 10));
    }
    assert_eq!(shared.spare_bytes(), 16 * (8 << 10));
    shared.recycle(Vec::with_capacity(1 << 20));
    assert_eq!(shared.spare_bytes(), 16 * (8 << 10));

    let mut shared = Shared::new(Role::Server, Limits::default());
    shared.recycle(Vec::with_capacity(100));
    assert_eq!(shared.spare_bytes(), 0);
    for _ in 0..3 {
        shared.recycle(Vec::with_capacity(7 << 20));
    }
    assert_eq!(shared.spare_bytes(), 14 << 20);
}
