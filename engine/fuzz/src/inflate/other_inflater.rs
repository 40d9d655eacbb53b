//! The same by `miniz_oxide`.

use corecast_protocol::Inflation;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY,
    TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// What a sender took away (§7.2.1).
const FLUSH_TAIL: &[u8] = &[0, 0, 0xFF, 0xFF];

/// What became of a payload.
#[derive(Debug)]
pub(super) enum Inflated {
    Whole(Vec<u8>),
    /// As much as was wanted, and there is more.
    TooLong(Vec<u8>),
    /// What came before the fault.
    Broken(Vec<u8>),
}

/// Inflates message after message.
pub(super) struct OtherInflater {
    /// What the next message may refer to.
    history: Vec<u8>,
    /// Bytes of history at most.
    window: usize,
}

/// Where a stream stops.
enum Stop {
    /// At the end of its final block.
    Ended,
    /// At the end of another block, with no bits left over, and no input.
    Between,
    Full,
    Broken,
}

impl OtherInflater {
    pub(super) fn new(inflation: Inflation) -> Self {
        Self {
            history: Vec::new(),
            window: match inflation {
                Inflation::Context { window_bits } => 1 << window_bits.max(9),
                Inflation::Off | Inflation::Whole => 0,
            },
        }
    }

    /// Makes up to `most` bytes of a message.
    pub(super) fn inflate(&mut self, payload: &[u8], most: usize) -> Inflated {
        if payload.is_empty() {
            return Inflated::Whole(Vec::new());
        }
        let mut out = std::mem::take(&mut self.history);
        let begin = out.len();
        out.resize(begin + most, 0);
        let input = [payload, FLUSH_TAIL].concat();
        let (mut read, mut made, mut stream_begin) = (0, begin, 0);
        let stop = loop {
            let stop = stream(
                &input,
                &mut read,
                &mut out[stream_begin..],
                &mut made,
                stream_begin,
            );
            // A final block need not be followed by anything.
            if !matches!(stop, Stop::Ended) || input[read..] == *FLUSH_TAIL {
                break stop;
            }
            stream_begin = made;
            // It may be the one that was taken away.
            if read == input.len() {
                break stop;
            }
        };
        out.truncate(made);
        let message = out[begin..].to_vec();
        match stop {
            Stop::Ended | Stop::Between => {
                let kept = (out.len() - self.window.min(out.len())).max(stream_begin);
                self.history = out.split_off(kept);
                Inflated::Whole(message)
            }
            Stop::Full => Inflated::TooLong(message),
            Stop::Broken => Inflated::Broken(message),
        }
    }
}

/// Goes through one stream, whose output begins `at`; `made` counts from the beginning of all output.
fn stream(input: &[u8], read: &mut usize, out: &mut [u8], made: &mut usize, at: usize) -> Stop {
    let mut state = DecompressorOxide::new();
    loop {
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
            | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY
            | TINFL_FLAG_HAS_MORE_INPUT;
        let (status, taken, added) =
            decompress(&mut state, &input[*read..], out, *made - at, flags);
        *read += taken;
        *made += added;
        match status {
            TINFLStatus::Done => return Stop::Ended,
            TINFLStatus::HasMoreOutput => return Stop::Full,
            TINFLStatus::BlockBoundary if *read < input.len() => {}
            TINFLStatus::BlockBoundary => {
                let bits = state.block_boundary_state().map(|state| state.num_bits);
                return if bits == Some(0) {
                    Stop::Between
                } else {
                    Stop::Broken
                };
            }
            _ => return Stop::Broken,
        }
    }
}
