//! Generated payloads: bytes that do not compress, words, zeros, and JSON as applications send it.

use serde::Serialize;

use crate::rng::Rng;

/// Between a document's opening and its first record.
const RECORDS: &str = "\"records\":[";

/// Between the last record and the text that fills a document up.
const NOTE: &str = "],\"note\":\"";

const END: &str = "\"}";

/// Bytes that a document takes beside its opening, its records and its text.
pub(crate) const JSON_OVERHEAD: usize = RECORDS.len() + NOTE.len() + END.len();

/// Records drawn one after the other that were all too long for what is left: the document is full.
const TRIES: u32 = 6;

/// A JSON document of exactly `len` bytes that begins with `opening`: records, and a text that fills it up. At least
/// the opening and [`JSON_OVERHEAD`].
pub(crate) fn json(rng: &mut Rng, opening: &str, len: usize) -> Vec<u8> {
    assert!(len >= opening.len() + JSON_OVERHEAD);
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(opening.as_bytes());
    out.extend_from_slice(RECORDS.as_bytes());
    let room = len - NOTE.len() - END.len();
    let mut records = Records::new(rng);
    let (mut comma, mut misses) = (0, 0);
    while misses < TRIES {
        let record = records.draw(rng);
        if out.len() + comma + record.len() > room {
            misses += 1;
            continue;
        }
        out.extend_from_slice(&b","[..comma]);
        out.extend_from_slice(&record);
        comma = 1;
        misses = 0;
    }
    out.extend_from_slice(NOTE.as_bytes());
    fill_with_words(rng, &mut out, len - END.len());
    out.extend_from_slice(END.as_bytes());
    out
}

/// Bytes that do not compress.
pub(crate) fn random(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    rng.fill(&mut out);
    out
}

/// Printable characters, as good as random.
pub(crate) fn printable(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut out = random(rng, len);
    out.iter_mut().for_each(|byte| *byte = b' ' + *byte % 95);
    out
}

/// English words.
pub(crate) fn words(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    fill_with_words(rng, &mut out, len);
    out
}

/// Appends words until there are `len` bytes.
fn fill_with_words(rng: &mut Rng, out: &mut Vec<u8>, len: usize) {
    while out.len() < len {
        let word = pick(rng, &WORDS).as_bytes();
        let part = word.len().min(len - out.len());
        out.extend_from_slice(&word[..part]);
        if out.len() < len {
            out.push(b' ');
        }
    }
}

/// One record. The kinds differ in length and in depth, as the messages of one application do.
#[derive(Serialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
enum Record {
    Trade {
        id: u64,
        symbol: &'static str,
        price: f64,
        size: u64,
        side: &'static str,
        time: String,
    },
    Reading {
        device: String,
        time: String,
        position: Position,
        values: Values,
        online: bool,
    },
    Order {
        id: String,
        created_at: String,
        customer: Customer,
        items: Vec<Item>,
        total: f64,
        currency: &'static str,
        tags: Vec<&'static str>,
    },
}

#[derive(Serialize)]
struct Position {
    lat: f64,
    lon: f64,
}

#[derive(Serialize)]
struct Values {
    temperature: f64,
    humidity: f64,
    battery: u64,
}

#[derive(Serialize)]
struct Customer {
    id: u64,
    name: String,
    email: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    sku: String,
    title: String,
    quantity: u64,
    unit_price: f64,
}

/// Draws records, each a little later than the one before.
struct Records {
    /// Milliseconds since midnight.
    time: u64,
    /// Number of the next trade.
    trade: u64,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Records {
    fn new(rng: &mut Rng) -> Self {
        Self {
            time: rng.below(DAY_MS),
            trade: 1_000_000 + rng.below(9_000_000),
        }
    }

    /// A record, as JSON.
    fn draw(&mut self, rng: &mut Rng) -> Vec<u8> {
        self.time = (self.time + 1 + rng.below(400)) % DAY_MS;
        let record = match rng.below(4) {
            0 | 1 => self.trade(rng),
            2 => self.reading(rng),
            _ => self.order(rng),
        };
        serde_json::to_vec(&record).expect("plain structures serialize")
    }

    fn trade(&mut self, rng: &mut Rng) -> Record {
        self.trade += 1 + rng.below(9);
        Record::Trade {
            id: self.trade,
            symbol: pick(rng, &SYMBOLS),
            price: decimal(500 + rng.below(40_000), 2),
            size: 1 + rng.below(500),
            side: pick(rng, &["buy", "sell"]),
            time: self.time(),
        }
    }

    fn reading(&self, rng: &mut Rng) -> Record {
        Record::Reading {
            device: format!("sensor-{:06x}", rng.below(1 << 24)),
            time: self.time(),
            position: Position {
                lat: decimal(47_000_000 + rng.below(8_000_000), 6),
                lon: decimal(6_000_000 + rng.below(9_000_000), 6),
            },
            values: Values {
                temperature: decimal(50 + rng.below(300), 1),
                humidity: decimal(200 + rng.below(700), 1),
                battery: rng.below(101),
            },
            online: rng.below(8) > 0,
        }
    }

    fn order(&self, rng: &mut Rng) -> Record {
        let (first, last) = (pick(rng, &FIRST_NAMES), pick(rng, &LAST_NAMES));
        let mut cents = 0;
        let mut item = |_| {
            let (quantity, price) = (1 + rng.below(5), 199 + rng.below(20_000));
            cents += quantity * price;
            Item {
                sku: format!("{:04}-{:04}", rng.below(10_000), rng.below(10_000)),
                title: format!("{} {}", pick(rng, &WORDS), pick(rng, &WORDS)),
                quantity,
                unit_price: decimal(price, 2),
            }
        };
        let items = (0..2).map(&mut item).collect();
        Record::Order {
            id: format!("{:016x}", rng.next_u64()),
            created_at: self.time(),
            customer: Customer {
                id: 10_000 + rng.below(90_000),
                name: format!("{first} {last}"),
                email: format!("{first}.{last}@example.org").to_lowercase(),
            },
            items,
            total: decimal(cents, 2),
            currency: pick(rng, &["EUR", "USD", "GBP", "JPY"]),
            tags: (0..rng.below(3)).map(|_| pick(rng, &WORDS)).collect(),
        }
    }

    /// The time of a record, as RFC 3339 writes it.
    fn time(&self) -> String {
        let (seconds, millis) = (self.time / 1000, self.time % 1000);
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!("2026-03-14T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
    }
}

/// `units` with so many digits behind the point.
fn decimal(units: u64, digits: i32) -> f64 {
    units as f64 / 10_f64.powi(digits)
}

fn pick(rng: &mut Rng, from: &[&'static str]) -> &'static str {
    from[rng.below(from.len() as u64) as usize]
}

const SYMBOLS: [&str; 16] = [
    "AAPL", "ADS", "AIR", "ALV", "AMZN", "ASML", "BAS", "BMW", "GOOG", "INTC", "MSFT", "NVDA",
    "ORCL", "SAP", "SIE", "TSLA",
];

const FIRST_NAMES: [&str; 24] = [
    "Amara", "Anna", "Carlos", "Chen", "Daria", "Elif", "Fatima", "Georg", "Hana", "Ivan", "Jonas",
    "Kofi", "Leila", "Maria", "Nadia", "Olga", "Pavel", "Priya", "Rosa", "Samuel", "Tomas", "Uma",
    "Viktor", "Yuki",
];

const LAST_NAMES: [&str; 24] = [
    "Almeida", "Bauer", "Costa", "Demir", "Eriksson", "Fischer", "Garcia", "Haddad", "Ito",
    "Jansen", "Kowalski", "Lindgren", "Mensah", "Novak", "Okafor", "Petrov", "Rossi", "Singh",
    "Tanaka", "Ueda", "Varga", "Weber", "Yilmaz", "Zhang",
];

const WORDS: [&str; 48] = [
    "amber", "anchor", "basket", "blanket", "bottle", "bracket", "button", "cabinet", "camera",
    "candle", "carpet", "charger", "copper", "cotton", "curtain", "drawer", "express", "filter",
    "fragile", "frame", "garden", "gift", "handle", "hinge", "kettle", "ladder", "lantern",
    "leather", "magnet", "mirror", "needle", "paper", "pencil", "pillow", "priority", "ribbon",
    "saddle", "screen", "shelf", "silver", "socket", "speaker", "spring", "summer", "switch",
    "timer", "velvet", "window",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn document(len: usize, seed: u64) -> Vec<u8> {
        json(&mut Rng::new(seed, 0), "{", len)
    }

    #[test]
    fn documents_have_the_length_asked_for_and_parse() {
        for len in (1 + JSON_OVERHEAD..1500).chain([4096, 65536, 100_001]) {
            let bytes = document(len, 1);
            assert_eq!(bytes.len(), len);
            let parsed: Value = serde_json::from_slice(&bytes).unwrap();
            assert!(parsed["records"].is_array(), "{len} bytes");
        }
    }

    #[test]
    fn small_messages_hold_a_record_and_large_ones_little_else() {
        for seed in 0..50 {
            let records = |len| {
                let parsed: Value = serde_json::from_slice(&document(len, seed)).unwrap();
                parsed["records"].as_array().unwrap().clone()
            };
            assert!(!records(256).is_empty(), "seed {seed}");
            let large = records(4096);
            let bytes: usize = large.iter().map(|record| record.to_string().len()).sum();
            assert!(bytes > 3600, "seed {seed}: {bytes} bytes of records");
            for kind in ["trade", "reading", "order"] {
                assert!(large.iter().any(|record| record["type"] == kind), "{kind}");
            }
            let different: std::collections::HashSet<String> =
                large.iter().map(Value::to_string).collect();
            assert_eq!(different.len(), large.len(), "seed {seed}: no two alike");
        }
    }

    #[test]
    fn texts_have_the_length_asked_for() {
        let mut rng = Rng::new(1, 0);
        for len in [0, 1, 2, 100, 4096] {
            for text in [words(&mut rng, len), printable(&mut rng, len)] {
                assert_eq!(text.len(), len);
                assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)));
            }
            assert_eq!(random(&mut rng, len).len(), len);
        }
    }

    #[test]
    fn seeds_repeat() {
        assert_eq!(document(4096, 7), document(4096, 7));
        assert_ne!(document(4096, 7), document(4096, 8));
    }
}
