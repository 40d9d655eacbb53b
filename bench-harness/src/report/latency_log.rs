//! `latency.hlog`: the latencies of every interval of the measurement, in the log format of HdrHistogram (V2, compressed), which its
//! tools plot, merge and compare. Values are nanoseconds.
//!
//! Lines with the tag `corrected` count from the time a message was due (in a closed loop: sent), those with `uncorrected` from the time it
//! was sent. The sum of all lines of a tag is the distribution in `summary.json`.

use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriter, IntervalLogWriterBuilder, Tag};

use crate::stats::latency::Latency;
use crate::telemetry::sample::Stretch;

/// The column for people is in milliseconds.
const NANOS_PER_MILLI: f64 = 1e6;

type Writer<'a> = IntervalLogWriter<'a, 'a, Vec<u8>, V2DeflateSerializer>;

/// The file's text. `began` is when the run began to open connections: times in the log count from then.
pub(super) fn log(stretches: &[Stretch], title: &str, began: SystemTime) -> Vec<u8> {
    let mut text = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment(&format!(
            "corecast-bench {}: {}",
            env!("CARGO_PKG_VERSION"),
            title.replace(['\n', '\r'], " ")
        ))
        .add_comment("Values are nanoseconds, Interval_Max is milliseconds.")
        .add_comment("Tags: corrected counts from the time a message was due, uncorrected from the time it was sent.")
        .with_start_time(began)
        .with_max_value_divisor(NANOS_PER_MILLI)
        .begin_log_with(&mut text, &mut serializer)
        .expect("a vector takes everything");
    writer
        .write_comment(
            "Tag,StartTimestamp,Interval_Length,Interval_Max,Interval_Compressed_Histogram",
        )
        .expect("a vector takes everything");
    for stretch in stretches {
        write(&mut writer, stretch, &stretch.latency(), "corrected");
        if let Some(uncorrected) = stretch.uncorrected_latency() {
            write(&mut writer, stretch, &uncorrected, "uncorrected");
        }
    }
    text
}

fn write(writer: &mut Writer<'_>, stretch: &Stretch, latency: &Latency, tag: &'static str) {
    let written = writer.write_histogram(
        latency.histogram(),
        Duration::from_secs_f64(stretch.from_s),
        Duration::from_secs_f64(stretch.length_s),
        Tag::new(tag),
    );
    written.expect("a vector takes everything, and the histogram is one of this program");
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    fn packed(nanos: &[u64]) -> (Latency, Vec<u8>) {
        let mut latency = Latency::new();
        nanos.iter().for_each(|&time| latency.record(time));
        let bytes = latency.pack();
        (latency, bytes)
    }

    #[test]
    fn a_reader_finds_what_was_recorded() {
        let (mut all, first) = packed(&[1_000, 2_000_000]);
        let (second, second_bytes) = packed(&[70_000, 900_000_000]);
        let (raw, raw_bytes) = packed(&[500]);
        all.merge(&second);
        let stretch = |from_s, corrected, uncorrected| Stretch {
            from_s,
            length_s: 0.25,
            corrected,
            uncorrected,
        };
        let stretches = [
            stretch(1.0, first, Some(raw_bytes)),
            stretch(1.25, second_bytes, None),
        ];
        let text = log(&stretches, "echo\n1,2,3", SystemTime::now());
        let mut tags = Vec::new();
        let mut read = Histogram::<u64>::new_from(all.histogram());
        for entry in IntervalLogIterator::new(&text) {
            let LogEntry::Interval(line) = entry.unwrap() else {
                continue;
            };
            let tag = line.tag().unwrap().as_str().to_owned();
            let bytes =
                base64::Engine::decode(&base64::prelude::BASE64_STANDARD, line.encoded_histogram());
            let one: Histogram<u64> = Deserializer::new()
                .deserialize(&mut &*bytes.unwrap())
                .unwrap();
            if tag == "corrected" {
                read.add(&one).unwrap();
            } else {
                assert_eq!(one.max(), raw.histogram().max());
            }
            tags.push((tag, line.start_timestamp(), line.duration()));
        }
        let at = Duration::from_millis;
        assert_eq!(
            tags,
            [
                ("corrected".to_owned(), at(1_000), at(250)),
                ("uncorrected".to_owned(), at(1_000), at(250)),
                ("corrected".to_owned(), at(1_250), at(250)),
            ]
        );
        assert_eq!(read.len(), 4);
        for quantile in [0.25, 0.5, 0.75, 1.0] {
            assert_eq!(
                read.value_at_quantile(quantile),
                all.histogram().value_at_quantile(quantile)
            );
        }
    }

    #[test]
    fn a_run_without_latencies_leaves_a_log_without_lines() {
        let text = log(&[], "idle ws://h:1/", SystemTime::now());
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.starts_with('#')));
    }
}
