//! Payloads that tell where each of their bytes belongs.

/// A small generator of numbers that look random (SplitMix64), the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A size from 1 to `max`, small ones as likely as large ones: below 10 as often as above `max / 10`.
    pub(crate) fn size(&mut self, max: usize) -> usize {
        let bits = u64::from(max.ilog2()) + 1;
        let ceiling = (1_u64 << (1 + self.below(bits))).min(max as u64);
        1 + self.below(ceiling) as usize
    }
}

/// `len` bytes that depend on the seed.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut numbers = Numbers::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&numbers.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// `len` bytes of text that depend on the seed, with characters of one to four bytes.
pub(crate) fn text(seed: u64, len: usize) -> String {
    let mut numbers = Numbers::new(seed);
    let mut text = String::with_capacity(len);
    while text.len() < len {
        let next = ['a', 'ß', '€', '𝄞'][numbers.below(4) as usize];
        let fits = text.len() + next.len_utf8() <= len;
        text.push(if fits { next } else { 'z' });
    }
    text
}

/// A message as applications send it, of so many bytes, which are at least 24: text that deflate makes a third of, and
/// that says which it is.
pub(crate) fn record(n: u64, len: usize) -> String {
    let mut numbers = Numbers::new(n);
    let mut text = format!("{{\"record\":{n},\"of\":[");
    assert!(text.len() <= len, "there is room for its number");
    while text.len() < len {
        let (sensor, value) = (numbers.below(20), numbers.below(100_000));
        text.push_str(&format!("{{\"sensor\":\"s-{sensor}\",\"value\":{value}}},"));
    }
    text.truncate(len);
    text
}

/// Which record this is. It must be whole.
#[track_caller]
pub(crate) fn record_of(payload: &[u8]) -> u64 {
    let text = std::str::from_utf8(payload).expect("text");
    let number = text.strip_prefix("{\"record\":").and_then(|rest| {
        let (number, _) = rest.split_once(',')?;
        number.parse().ok()
    });
    let n = number.expect("a record");
    assert!(text == record(n, text.len()), "record {n} is torn");
    n
}

/// A message that begins with its number.
pub(crate) fn numbered(n: u64, size: usize) -> Vec<u8> {
    let mut bytes = n.to_be_bytes().to_vec();
    bytes.extend_from_slice(&pattern(n, size - bytes.len()));
    bytes
}

/// The number of a message that must be whole.
#[track_caller]
pub(crate) fn number_of(payload: &[u8], size: usize) -> u64 {
    let n = u64::from_be_bytes(*payload.first_chunk().expect("a number"));
    assert!(payload == numbered(n, size), "message {n} is torn");
    n
}
