use proptest::prelude::*;

use super::*;

#[test]
fn codes_that_may_be_sent() {
    let sendable = (0..=u16::MAX).filter(|&code| CloseCode::new(code).is_some());
    let expected = (1000..=1003).chain(1007..=1014).chain(3000..=4999);
    assert!(sendable.eq(expected));
}

/// §7.4: the codes that conformance suites try.
#[test]
fn invalid_codes_are_refused() {
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535,
    ] {
        let payload = u16::to_be_bytes(code);
        assert_eq!(
            decode_close(&payload),
            Err(ProtocolError::CloseCodeInvalid(code))
        );
    }
}

#[test]
fn payloads() {
    assert_eq!(decode_close(b""), Ok(None));
    assert_eq!(decode_close(&[3]), Err(ProtocolError::CloseTruncated));
    assert_eq!(
        decode_close(b"\x03\xe8bye"),
        Ok(Some((CloseCode::NORMAL, "bye")))
    );
    for reason in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"ok \xe2\x82"] {
        let payload = [b"\x03\xe8", reason].concat();
        let error = decode_close(&payload).unwrap_err();
        assert_eq!(error, ProtocolError::InvalidCloseReason);
        assert_eq!(error.close_code(), CloseCode::INVALID_PAYLOAD);
    }
}

#[test]
fn local_codes_leave_the_payload_empty() {
    for code in [
        CloseCode::NO_STATUS,
        CloseCode::ABNORMAL,
        CloseCode::TLS_FAILED,
    ] {
        let mut out = Vec::new();
        encode_close(&mut out, code, "reason");
        assert_eq!(out, b"");
    }
}

#[test]
fn long_reasons_are_cut_between_characters() {
    let mut out = Vec::new();
    encode_close(&mut out, CloseCode::POLICY, &"€".repeat(60));
    assert_eq!(out.len(), 2 + 123);
    out.clear();
    encode_close(&mut out, CloseCode::POLICY, &format!("x{}", "€".repeat(60)));
    let (_, reason) = decode_close(&out).unwrap().unwrap();
    assert_eq!(reason, format!("x{}", "€".repeat(40)));
}

#[test]
fn frames() {
    let mut out = Vec::new();
    encode_close_server(&mut out, CloseCode::GOING_AWAY, "down");
    assert_eq!(out, b"\x88\x06\x03\xe9down");
    out.clear();
    encode_close_client(&mut out, CloseCode::NO_STATUS, "", [1, 2, 3, 4]);
    assert_eq!(out, b"\x88\x80\x01\x02\x03\x04");
}

proptest! {
    #[test]
    fn round_trip(code in 3000..5000u16, reason in ".*") {
        let code = CloseCode::new(code).unwrap();
        let mut out = Vec::new();
        encode_close(&mut out, code, &reason);
        prop_assert!(out.len() <= MAX_CONTROL_PAYLOAD);
        let (decoded, cut) = decode_close(&out).unwrap().unwrap();
        prop_assert_eq!(decoded, code);
        prop_assert!(reason.starts_with(cut));
        prop_assert!(cut.len() == reason.len() || cut.len() > MAX_CLOSE_REASON - 4);
    }
}
