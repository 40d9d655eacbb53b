//! No row without a test, no test without a row.

use std::collections::BTreeSet;

use crate::{
    closing, compression, faults, floods, frames, handshake, headers, lifecycle, messages,
    requests, slow,
};

/// The rows of the project's page on hostile input: what was promised from the start.
const PROMISED: &[&str] = &[
    "len64_msb_set",
    "len64_over_limit",
    "claim_and_stall",
    "nonminimal_length",
    "control_too_long",
    "control_fragmented",
    "fragments_never_end",
    "fragments_65536",
    "unmasked_client_frame",
    "rsv_without_extension",
    "reserved_opcode",
    "orphan_continuation",
    "nested_message",
    "close_one_byte",
    "close_code_invalid",
    "close_reason_bad_utf8",
    "text_bad_utf8",
    "data_after_close",
    "ping_flood_not_reading",
    "empty_message_flood",
    "slow_reader",
    "slowloris",
    "headers_64k",
    "headers_2000",
    "header_quadratic",
    "version_other",
    "key_missing",
    "key_twice",
    "key_short",
    "host_missing",
    "host_twice",
    "header_ctl",
    "header_nul",
    "obs_fold",
    "bare_lf",
    "upgrade_with_body",
    "http10_upgrade",
    "post_upgrade",
    "origin_foreign",
    "frames_with_handshake",
    "one_byte_dribble",
    "rst_mid_frame",
    "fin_without_close",
    "half_close",
    "accept_emfile",
    "ring_overflow",
    "recv_buffers_exhausted",
    "cancel_in_flight",
    "handler_panic",
    "core_mailbox_full",
    "sigterm_drain",
];

/// The rows that have a test: [`rows`](crate::rows) makes both at once.
const TESTED: &[&[&str]] = &[
    frames::ROWS,
    messages::ROWS,
    closing::ROWS,
    compression::ROWS,
    handshake::ROWS,
    headers::ROWS,
    requests::ROWS,
    slow::ROWS,
    floods::ROWS,
    faults::ROWS,
    lifecycle::ROWS,
];

fn tested() -> BTreeSet<&'static str> {
    TESTED.iter().copied().flatten().copied().collect()
}

/// The names in the first column of the tables in `README.md`.
fn described() -> BTreeSet<&'static str> {
    include_str!("README.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn every_promised_row_has_a_test() {
    let tested = tested();
    let missing: Vec<_> = PROMISED
        .iter()
        .filter(|row| !tested.contains(*row))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_row_is_described_and_every_description_has_a_test() {
    let (tested, described) = (tested(), described());
    let difference: Vec<_> = tested.symmetric_difference(&described).collect();
    assert!(difference.is_empty(), "{difference:?}");
    assert_eq!(
        tested.len(),
        TESTED.iter().map(|rows| rows.len()).sum::<usize>(),
        "a row is tested twice"
    );
}
