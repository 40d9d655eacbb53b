//! What compression takes, as an allocator sees it.

use allocation_counter::measure;
use corecast_protocol::deflate::{Context, Deflater};

use crate::payloads::{Kind, LENGTHS, WINDOWS, payload};

#[test]
fn a_deflater_takes_nothing_before_it_is_used() {
    let taken = measure(|| drop(Deflater::new(6, 15)));
    assert_eq!(taken.count_total, 0);
}

#[test]
fn a_context_takes_less_than_its_window() {
    for window_bits in WINDOWS {
        let mut deflater = Deflater::new(6, window_bits);
        let mut out = Vec::with_capacity(1 << 20);
        let payloads = LENGTHS.map(|length| payload(Kind::Text, length, 5));
        for payload in payloads.iter().chain(&payloads) {
            // The deflater has its memory.
            deflater.deflate(payload, &mut out);
            let mut warm = Context::new();
            deflater.deflate_with(&mut warm, payload, &mut out);
            deflater.deflate_with(&mut warm, payload, &mut out);
            out.clear();
        }
        let mut context = Context::new();
        let mut taken = 0;
        for payload in payloads.iter().chain(&payloads) {
            taken += measure(|| {
                deflater.deflate_with(&mut context, payload, &mut out);
            })
            .bytes_current;
            assert_eq!(taken, context.memory() as i64);
            assert!(context.memory() <= Context::max_memory(window_bits));
            out.clear();
        }
        assert!(context.memory() > Context::max_memory(window_bits) / 2);
    }
}
