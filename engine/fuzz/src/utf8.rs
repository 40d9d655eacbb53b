//! Text in pieces, beside `str::from_utf8` (RFC 3629; RFC 6455 §8.1).
//!
//! Input: piece sizes, masking key, text.

use std::str;

use corecast_simd::{InvalidUtf8, TextBuf, Utf8Stream, unmask_text, validate};

use crate::input::{Reader, cut};

/// Longer texts tell nothing new beside one over the vector loops' sizes.
const MAX_TEXT: usize = 4096;

/// Judges the text whole, cut as the input says, and byte by byte.
///
/// # Panics
/// When one of them differs from the standard library's judgement, or fails too early or too late.
pub fn check(data: &[u8]) {
    let mut reader = Reader::new(data);
    let sizes = reader.sizes();
    let key = reader.array();
    let text = reader.take(MAX_TEXT);
    let twin = Twin::new(text);

    assert_eq!(validate(text).ok(), twin.text, "validate");
    assert_eq!(
        unmask_text(&mut masked(text, key, 0), key).ok(),
        twin.text,
        "unmask_text"
    );
    for sizes in [&sizes[..], &[1]] {
        stream_in_pieces(&twin, sizes);
        buffer_in_pieces(&twin, sizes, None);
        buffer_in_pieces(&twin, sizes, Some(key));
    }
}

/// What the standard library says.
struct Twin<'t> {
    bytes: &'t [u8],
    text: Option<&'t str>,
    /// How many bytes it takes to see that the text cannot become valid any more.
    doomed_at: Option<usize>,
}

impl<'t> Twin<'t> {
    fn new(bytes: &'t [u8]) -> Self {
        let result = str::from_utf8(bytes);
        let doomed_at = result.err().and_then(|error| {
            // A sequence has at most four bytes.
            let from = error.valid_up_to() + 1;
            (from..=bytes.len().min(from + 3)).find(|&end| {
                str::from_utf8(&bytes[..end]).is_err_and(|error| error.error_len().is_some())
            })
        });
        Self {
            bytes,
            text: result.ok(),
            doomed_at,
        }
    }

    /// The answer to a piece that ends at `end`.
    fn verdict(&self, end: usize) -> Result<(), InvalidUtf8> {
        match self.doomed_at {
            Some(doomed) if doomed <= end => Err(InvalidUtf8),
            _ => Ok(()),
        }
    }

    fn is_complete(&self, end: usize) -> bool {
        str::from_utf8(&self.bytes[..end]).is_ok()
    }
}

fn stream_in_pieces(twin: &Twin<'_>, sizes: &[usize]) {
    let mut stream = Utf8Stream::default();
    let mut end = 0;
    for piece in cut(twin.bytes, sizes) {
        let before = end;
        end += piece.len();
        assert_eq!(stream.push(piece), twin.verdict(end), "{before}..{end}");
        if let Some(doomed) = twin.doomed_at.filter(|&doomed| doomed <= end) {
            // The stream is as it was: what leads up to the bad byte is still welcome.
            assert_eq!(stream.is_complete(), twin.is_complete(before));
            assert_eq!(stream.push(&twin.bytes[before..doomed - 1]), Ok(()));
            assert_eq!(
                stream.push(&twin.bytes[doomed - 1..doomed]),
                Err(InvalidUtf8)
            );
            return;
        }
        assert_eq!(stream.is_complete(), twin.is_complete(end), "at {end}");
    }
}

fn buffer_in_pieces(twin: &Twin<'_>, sizes: &[usize], key: Option<[u8; 4]>) {
    let mut buffer = TextBuf::default();
    let mut end = 0;
    for piece in cut(twin.bytes, sizes) {
        let pushed = match key {
            Some(key) => buffer.push(&masked(piece, key, end), Some((key, end % 4))),
            None => buffer.push(piece, None),
        };
        assert_eq!(
            pushed,
            twin.verdict(end + piece.len()),
            "{end}, {} more",
            piece.len()
        );
        if pushed.is_err() {
            break;
        }
        end += piece.len();
    }
    assert_eq!(buffer.len(), end, "refused pieces leave nothing behind");
    let expected = str::from_utf8(&twin.bytes[..end]).map_err(|_| InvalidUtf8);
    assert_eq!(buffer.finish().as_deref(), expected.as_ref().copied());
}

/// What a client would send of `bytes` that stand at `offset` in a frame's payload.
fn masked(bytes: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
    let key = key.iter().cycle().skip(offset % 4);
    bytes
        .iter()
        .zip(key)
        .map(|(byte, key)| byte ^ key)
        .collect()
}
