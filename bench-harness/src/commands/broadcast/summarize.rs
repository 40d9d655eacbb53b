//! From what a broadcast brought home to its summary.

use super::{Outcome, Seen, SeenMemory, Stalled};
use crate::cli::BroadcastArgs;
use crate::client::dial::Failures;
use crate::client::publication::Publication;
use crate::commands::crew_load::CrewLoad as _;
use crate::commands::findings::{Findings, explain_nothing, judged_by};
use crate::commands::{Setup, opcode_name};
use crate::report::summary::{
    Broadcast, BroadcastMemory, CompressionCounts, ErrorReason, Latencies, Messages, Parameters,
    StalledFates, Summary,
};
use crate::stats::faults::Faults;
use crate::stats::latency::Latency;
use crate::stats::validity::{Evidence, clocks_apart, judge};
use crate::telemetry::recorder::Recorded;

/// Why nothing was delivered, most likely.
const NOTHING_CAME: &str = "nothing reached a subscriber in the window: does the server send to all what one has sent, and do \
                            publishers reach the subscribers' topic (--publish-url)? For a server that answers only whoever \
                            has sent, there is `echo`";

pub(super) fn summary(
    args: &BroadcastArgs,
    setup: &Setup<'_>,
    publication: &Publication,
    seen: &Seen,
    outcome: &Outcome,
) -> Summary {
    let counts = &outcome.account;
    let window = &seen.window;
    let deliveries = window.done + outcome.to_publishers;
    let latencies = outcome.latency.as_ref().map(Latencies::new);
    let latencies = latencies.unwrap_or_default();
    let lag = outcome.latency.as_ref().and_then(Recorded::lag);
    let evidence = Evidence {
        wanted_connections: setup.connections,
        connections: seen.open,
        window: Some((args.pace.duration, window.wall)),
        messages: deliveries,
        counts_messages: true,
        rate: args
            .pace
            .course()
            .mean_rate()
            .map(|rate| (rate, achieved(seen, outcome))),
        client: window.client_load,
        busy_poll: args.pace.busy_poll,
        lag: lag.zip(latencies.corrected),
        server: window.server_load(),
        broken: outcome.fates.broken.total(),
        faults: *counts,
        compressed: args.deflate.then(|| compressed(outcome)),
    };
    let mut judgement = judge(&evidence);
    explain_nothing(&mut judgement, &evidence, NOTHING_CAME);
    let apart = clocks_apart(setup.crew.clock_error(), latencies.corrected.as_ref());
    judgement.against_throughput.extend(apart);
    let mut summary = setup.summarize(
        BroadcastArgs::NAME,
        judgement,
        judged_by(args.pace.cost),
        parameters(args, setup, publication),
        &Findings {
            window,
            count: deliveries,
            fates: &outcome.fates,
            faults: Some(*counts),
        },
    );
    let per_second = deliveries as f64 / window.wall.as_secs_f64();
    summary.messages = Some(Messages {
        count: deliveries,
        per_second,
        payload_bytes_per_second: per_second * mean_payload_len(publication, outcome),
    });
    summary.latency_us = Some(latencies);
    summary.compression = args
        .deflate
        .then(|| CompressionCounts::new(&outcome.counts, |body| publication.payload_len(body)));
    summary.broadcast = Some(broadcast(seen, outcome, counts));
    summary.client.timer_lag_us = lag;
    summary
}

/// Messages that came compressed.
fn compressed(outcome: &Outcome) -> u64 {
    outcome.counts.iter().map(|body| body.compressed).sum()
}

/// Payload bytes of a delivery: the mean over those of the window, or of what takes turns when there were none.
fn mean_payload_len(publication: &Publication, outcome: &Outcome) -> f64 {
    let came = outcome.delivered.mean();
    came.unwrap_or_else(|| publication.mean_payload_len())
}

/// Messages per second that were both sent and delivered to everybody in the window.
fn achieved(seen: &Seen, outcome: &Outcome) -> f64 {
    let wall = seen.window.wall.as_secs_f64();
    let delivered = seen.window.done as f64 / outcome.listening.max(1) as f64;
    delivered.min(outcome.published as f64) / wall
}

fn broadcast(seen: &Seen, outcome: &Outcome, counts: &Faults) -> Broadcast {
    Broadcast {
        published: outcome.published,
        published_per_second: outcome.published as f64 / seen.window.wall.as_secs_f64(),
        listening: outcome.listening,
        to_publishers: outcome.to_publishers,
        first_us: distribution(&outcome.first),
        last_us: distribution(&outcome.last),
        lost: counts.lost,
        duplicated: counts.duplicated,
        reordered: counts.reordered,
        stalled: (outcome.stalled.joined > 0).then(|| fates(&outcome.stalled)),
        memory: seen.memory.map(|memory: SeenMemory| BroadcastMemory {
            empty: memory.empty,
            joined: memory.joined,
            most_resident: memory.most,
        }),
    }
}

fn fates(stalled: &Stalled) -> StalledFates {
    StalledFates {
        count: stalled.joined,
        open: stalled.open(),
        closed: listed(&stalled.closed),
        cut: listed(&stalled.cut),
        messages_read_at_the_end: stalled.messages,
    }
}

fn listed(fates: &Failures) -> Vec<ErrorReason> {
    let listed = |(reason, count): (&str, u64)| ErrorReason {
        reason: reason.to_owned(),
        count,
    };
    fates.by_count().into_iter().map(listed).collect()
}

fn distribution(latency: &Option<Latency>) -> Option<crate::stats::latency::Distribution> {
    latency.as_ref().and_then(Latency::distribution)
}

fn parameters(args: &BroadcastArgs, setup: &Setup<'_>, publication: &Publication) -> Parameters {
    let closed = args.pace.rate.is_none();
    let lengths = publication.lengths();
    Parameters {
        connections: args.connections,
        publishers: Some(args.all_publishers()),
        all_publish: Some(args.all_publish),
        publish_url: args.publish_url.as_ref().map(ToString::to_string),
        stalled: args.slow.map(|_| args.stalled()),
        payload_bytes: Some(publication.mean_payload_len().round() as u64),
        payload_range: (lengths.least < lengths.most)
            .then_some([lengths.least as u64, lengths.most as u64]),
        wire_bytes: Some(publication.mean_frame_len() as u64),
        opcode: Some(opcode_name(publication.opcode).to_owned()),
        payload: Some(args.payload.payload.kind),
        payload_file: args.payload.payload.file(),
        deflate: args.deflate.then_some(true),
        in_flight: (closed && args.burst.is_none()).then_some(args.in_flight),
        burst: args.burst,
        verify: Some(args.verify),
        skip: args.skip,
        connect_rate: args.connect_rate,
        ..setup.paced_parameters(&args.pace)
    }
}
