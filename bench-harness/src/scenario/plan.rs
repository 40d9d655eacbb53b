//! What a scenario's file comes to: who does what when, with every number worked out.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use corecast_protocol::Opcode;
use sha2::{Digest as _, Sha256};
use toml::Spanned;

use super::curve::{Curve, Piece};
use super::file::{self, File, Kind, PhaseText, Publishers, RoleText, Share, Wrong};
use crate::client::contents::{Contents, PayloadKind};
use crate::client::publication::Publication;
use crate::clock::{Nanos, nanos};

/// Stands in a path for the number of the topic, from 0 on.
pub(crate) const TOPIC: &str = "{topic}";

/// A phase may multiply a rate by so much at most: more is a slip.
const MAX_RATE_SHARE: f64 = 1_000.0;

/// Messages have at most so many bytes: a send is one operation with a 32-bit length.
const MAX_SIZE: u64 = 1 << 30;

/// Accounts of one subscriber and one publisher of its topic, 5 bytes each.
const MAX_ACCOUNTS: u64 = 1 << 28;

/// A scenario takes at most a day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Payload bytes where the file says nothing.
const DEFAULT_SIZE: u64 = 128;

/// A scenario, ready to be run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) title: String,
    /// Of the file's text and the changes of `--path`.
    pub(crate) digest: String,
    /// Everything was multiplied by this.
    pub(crate) scale: u64,
    pub(crate) phases: Vec<Phase>,
    pub(crate) roles: Vec<Role>,
}

/// A stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    pub(crate) name: String,
    /// From the begin of the load on.
    pub(crate) span: Range<Nanos>,
    /// It is in the figures.
    pub(crate) measured: bool,
}

/// Connections that do the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Role {
    pub(crate) name: String,
    /// Path and query, with [`TOPIC`] where there are several; `None`: that of the URL.
    pub(crate) path: Option<String>,
    /// Connections at most: of those who subscribe, or for churn at a time.
    pub(crate) connections: u64,
    /// How many of them are open; does not apply to churn.
    pub(crate) open: Curve,
    /// Messages of any kind that the server sends first on every connection: greetings, and answers to `hello`.
    pub(crate) skip: u64,
    /// Text messages that every connection sends first.
    pub(crate) hello: Vec<String>,
    /// Messages (for churn, connections) per second, of the whole role; 0 throughout for idle.
    pub(crate) rate: Curve,
    pub(crate) task: Task,
}

/// What the connections of a role do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Task {
    /// Messages, each of which has to come back.
    Echo(Message),
    /// Messages, each of which has to come to every subscriber of its topic.
    Broadcast {
        message: Message,
        publishers: Who,
        /// Path and query of publishers of their own; `None`: that of the subscribers.
        publish_path: Option<String>,
        topics: u64,
    },
    /// Nothing.
    Idle,
    /// Each sends so many messages, one when the one before has come back, waits, and closes.
    Churn {
        messages: u64,
        size: u64,
        hold: Duration,
    },
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) size: u64,
    pub(crate) payload: PayloadKind,
    pub(crate) text: bool,
}

impl Message {
    /// Text or Binary.
    pub(crate) fn opcode(&self) -> Opcode {
        if self.text {
            Opcode::Text
        } else {
            Opcode::Binary
        }
    }

    /// What it contains.
    pub(crate) fn contents(&self) -> Contents {
        Contents::generated(self.payload, self.opcode(), &[self.size as usize])
    }
}

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// So many connections that do nothing else, open throughout.
    Own(u64),
    /// Those of the subscribers that are open.
    Subscribers,
}

impl Plan {
    /// Reads a file and works out its numbers, `scale` times as large.
    ///
    /// # Errors
    /// Everything of [`File::parse`], and parts that do not go together, with their line.
    pub(super) fn parse(text: &str, scale: u64) -> Result<Self, Wrong> {
        let file = File::parse(text)?;
        let context = Context { text, scale };
        if file.role.is_empty() || file.phase.is_empty() {
            return Err(context.wrong(0, "a scenario has at least one [[role]] and one [[phase]]"));
        }
        let phases = context.phases(&file)?;
        let mut roles = Vec::new();
        let mut names = BTreeSet::new();
        for role in &file.role {
            if !names.insert(&role.get_ref().name) {
                let message = format!("there are two roles named `{}`", role.get_ref().name);
                return Err(context.wrong(role.span().start, message));
            }
            roles.push(context.role(role, &file)?);
        }
        Ok(Self {
            title: file.title,
            digest: digest(text),
            scale,
            phases,
            roles,
        })
    }

    /// How long the load goes on.
    pub(crate) fn length(&self) -> Nanos {
        self.phases.last().map_or(0, |phase| phase.span.end)
    }

    /// The phases that are measured, as one stretch of time from the begin of the load on.
    pub(crate) fn measured(&self) -> Range<Nanos> {
        let mut spans = self.phases.iter().filter(|phase| phase.measured);
        let first = spans.next().expect("at least one phase is measured");
        let last = spans.next_back().unwrap_or(first);
        first.span.start..last.span.end
    }

    /// Gives a role another path, for `ROLE=PATH`; or its publishers, for `ROLE.publish=PATH`.
    ///
    /// # Errors
    /// There is no such role, or that is no path for it.
    pub(super) fn change_path(&mut self, change: &str) -> Result<(), String> {
        let told = |problem: String| format!("--path {change}: {problem}");
        let (name, path) = change
            .split_once('=')
            .ok_or_else(|| told("expected ROLE=PATH or ROLE.publish=PATH".to_owned()))?;
        check_path(path).map_err(told)?;
        let known = |name: &str| self.roles.iter().position(|role| role.name == name);
        let publishers = || known(name.strip_suffix(".publish")?);
        let (at, publishes) = match (known(name), publishers()) {
            (Some(at), _) => (at, false),
            (None, Some(at)) => (at, true),
            (None, None) => {
                let names = self.roles.iter().map(|role| role.name.as_str());
                let hint = file::nearest(name, names)
                    .map_or(String::new(), |known| format!("; did you mean `{known}`?"));
                return Err(told(format!("there is no role `{name}`{hint}")));
            }
        };
        self.roles[at].change_path(publishes, path).map_err(told)?;
        self.digest = digest(&format!("{} {change}", self.digest));
        Ok(())
    }

    /// Connections that exist at once, at most.
    pub(crate) fn connections(&self) -> u64 {
        self.roles.iter().map(Role::slots).sum()
    }

    /// Some role has replies or deliveries.
    pub(crate) fn has_replies(&self) -> bool {
        let has = |role: &Role| match role.task {
            Task::Echo(_) | Task::Broadcast { .. } => true,
            Task::Churn { messages, .. } => messages > 0,
            Task::Idle => false,
        };
        self.roles.iter().any(has)
    }

    /// Some role opens connections all the time.
    pub(crate) fn opens_connections(&self) -> bool {
        self.roles.iter().any(|role| role.kind() == Kind::Churn)
    }
}

impl Phase {
    /// How long it takes.
    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.span.end - self.span.start).as_secs_f64()
    }
}

impl Role {
    /// Another path for it, or for those that publish.
    fn change_path(&mut self, publishes: bool, path: &str) -> Result<(), String> {
        if let Task::Broadcast { topics: 2.., .. } = self.task
            && !path.contains(TOPIC)
        {
            return Err(format!(
                "role `{}` has topics, so its path has to contain {TOPIC}",
                self.name
            ));
        }
        let place = match &mut self.task {
            _ if !publishes => &mut self.path,
            Task::Broadcast {
                publishers: Who::Own(_),
                publish_path,
                ..
            } => publish_path,
            _ => {
                return Err(format!("role `{}` has no publishers of its own", self.name));
            }
        };
        *place = Some(path.to_owned());
        Ok(())
    }

    /// Connections that exist at once, at most, with those that only publish.
    pub(crate) fn slots(&self) -> u64 {
        self.connections + self.own_publishers()
    }

    /// Connections that only publish.
    pub(crate) fn own_publishers(&self) -> u64 {
        match self.task {
            Task::Broadcast {
                publishers: Who::Own(count),
                ..
            } => count,
            _ => 0,
        }
    }

    /// Connections that publish, of their own or those who subscribe.
    pub(crate) fn publishers(&self) -> u64 {
        match self.task {
            Task::Broadcast {
                publishers: Who::Subscribers,
                ..
            } => self.connections,
            _ => self.own_publishers(),
        }
    }

    /// Something falls due in a phase.
    pub(crate) fn is_active(&self, phase: &Phase) -> bool {
        self.rate.sum(phase.span.clone()) > 0.0
    }

    /// Connections that may send in a phase, or for churn, at a time: those that are still there at its end.
    pub(crate) fn senders_in(&self, phase: &Phase) -> u64 {
        match self.task {
            Task::Broadcast {
                publishers: Who::Own(count),
                ..
            } => count,
            Task::Churn { .. } => self.connections,
            _ => self.open.before(phase.span.end).round() as u64,
        }
    }

    /// Connections that may send whenever something falls due: no more threads than that can have a share of it.
    pub(crate) fn senders(&self, phases: &[Phase]) -> u64 {
        let active = phases.iter().filter(|phase| self.is_active(phase));
        active
            .map(|phase| self.senders_in(phase))
            .min()
            .unwrap_or(0)
    }

    /// What it does.
    pub(crate) fn kind(&self) -> Kind {
        match self.task {
            Task::Echo(_) => Kind::Echo,
            Task::Broadcast { .. } => Kind::Broadcast,
            Task::Idle => Kind::Idle,
            Task::Churn { .. } => Kind::Churn,
        }
    }
}

/// The text, for the lines of errors, and what applies throughout.
#[derive(Clone, Copy)]
struct Context<'a> {
    text: &'a str,
    scale: u64,
}

impl Context<'_> {
    fn wrong(&self, at: usize, message: impl Into<String>) -> Wrong {
        Wrong::at(self.text, at, message)
    }

    fn phases(&self, file: &File) -> Result<Vec<Phase>, Wrong> {
        let mut phases: Vec<Phase> = Vec::new();
        for spanned in &file.phase {
            let phase = spanned.get_ref();
            let wrong = |message: String| {
                let message = format!("phase `{}`: {message}", phase.name);
                Err(self.wrong(spanned.span().start, message))
            };
            if phases.iter().any(|other| other.name == phase.name) {
                return wrong("there is another one of this name".into());
            }
            let start = phases.last().map_or(0, |phase| phase.span.end);
            let length = nanos(phase.duration.0);
            if length == 0 || start.saturating_add(length) > nanos(LONGEST) {
                return wrong("it takes no time, or the whole takes more than a day".into());
            }
            if let Some(problem) = self.shares_wrong(phase, file) {
                return wrong(problem);
            }
            let before = phases.iter().rposition(|phase| phase.measured);
            if phase.measure && before.is_some_and(|before| before + 1 < phases.len()) {
                return wrong(
                    "`measure = false` is for phases before all that are measured, or after them"
                        .into(),
                );
            }
            phases.push(Phase {
                name: phase.name.clone(),
                span: start..start + length,
                measured: phase.measure,
            });
        }
        if !phases.iter().any(|phase| phase.measured) {
            return Err(self.wrong(0, "no phase is measured"));
        }
        Ok(phases)
    }

    fn shares_wrong(&self, phase: &PhaseText, file: &File) -> Option<String> {
        let own = [("rate", phase.rate), ("connections", phase.connections)];
        let others = phase.role.values();
        let others =
            others.flat_map(|role| [("rate", role.rate), ("connections", role.connections)]);
        for (key, share) in own.into_iter().chain(others) {
            let most = if key == "rate" { MAX_RATE_SHARE } else { 1.0 };
            let good = |value| (0.0..=most).contains(&value);
            if share.is_some_and(|share| !good(share.from) || !good(share.to)) {
                return Some(format!("`{key}` is a share from 0 to {most}"));
            }
        }
        let names = || file.role.iter().map(|role| role.get_ref().name.as_str());
        for name in phase.role.keys().map(Spanned::get_ref) {
            if !names().any(|known| known == name) {
                let nearest = file::nearest(name, names());
                let hint =
                    nearest.map_or(String::new(), |known| format!("; did you mean `{known}`?"));
                return Some(format!("there is no role `{name}`{hint}"));
            }
        }
        None
    }

    fn role(&self, spanned: &Spanned<RoleText>, file: &File) -> Result<Role, Wrong> {
        let role = spanned.get_ref();
        let planned = unfit(role)
            .map_or(Ok(()), Err)
            .and_then(|()| self.planned(role, file));
        planned.map_err(|message| {
            let message = format!("role `{}`: {message}", role.name);
            self.wrong(spanned.span().start, message)
        })
    }

    fn planned(&self, role: &RoleText, file: &File) -> Result<Role, String> {
        for path in [&role.path, &role.publish_path].into_iter().flatten() {
            check_path(path)?;
        }
        let topics = role.topics.map_or(1, |topics| topics.0);
        // With topics there are more of them, each with as many; without, only the subscribers are more.
        let grows = role.kind != Kind::Broadcast || role.topics.is_some();
        let factor = if grows { self.scale } else { 1 };
        let times = |count: u64, factor: u64| {
            let product = count
                .checked_mul(factor)
                .filter(|&it| it <= u64::from(u32::MAX));
            product.ok_or_else(|| format!("{factor} times {count} is too many"))
        };
        let connections = times(role.connections.0, self.scale)?;
        let rate = times(role.rate.map_or(0, |rate| rate.0), factor)?;
        let topics = if role.topics.is_some() {
            times(topics, self.scale)?
        } else {
            1
        };
        let publishers = match role.publishers {
            Some(Publishers::All) => Who::Subscribers,
            Some(Publishers::Own(count)) => Who::Own(times(count, factor)?),
            None => Who::Own(topics),
        };
        let task = self.task(role, connections, topics, publishers)?;
        let part = |of: fn(&PhaseText) -> Option<Share>,
                    mine: fn(&file::RoleInPhase) -> Option<Share>,
                    full| { curve(file, &role.name, of, mine, full) };
        Ok(Role {
            name: role.name.clone(),
            path: role.path.clone(),
            connections,
            open: part(
                |phase| phase.connections,
                |role| role.connections,
                connections as f64,
            ),
            rate: part(|phase| phase.rate, |role| role.rate, rate as f64),
            skip: role.skip.unwrap_or(0),
            hello: role.hello.clone().map_or(Vec::new(), Vec::from),
            task,
        })
    }

    fn task(
        &self,
        role: &RoleText,
        connections: u64,
        topics: u64,
        publishers: Who,
    ) -> Result<Task, String> {
        let payload = role.payload.map_or(PayloadKind::Random, PayloadKind::from);
        let mut message = Message {
            size: 0,
            payload,
            text: role.text == Some(true)
                || matches!(payload, PayloadKind::Json | PayloadKind::Text),
        };
        let smallest = match role.kind {
            Kind::Broadcast => Publication::smallest(&message.contents()) as u64,
            _ => message.contents().smallest() as u64,
        };
        let size = role.size.map_or(DEFAULT_SIZE.max(smallest), |size| size.0);
        if !(smallest..=MAX_SIZE).contains(&size) {
            return Err(format!(
                "`size` is from {smallest} (for what such a message holds) to 1g"
            ));
        }
        message.size = size;
        Ok(match role.kind {
            Kind::Echo => Task::Echo(message),
            Kind::Idle => Task::Idle,
            Kind::Churn => Task::Churn {
                messages: role.messages.unwrap_or(0),
                size,
                hold: role.hold.map_or(Duration::ZERO, |hold| hold.0),
            },
            Kind::Broadcast => {
                check_topics(role, connections, topics, publishers)?;
                Task::Broadcast {
                    message,
                    publishers,
                    publish_path: role.publish_path.clone(),
                    topics,
                }
            }
        })
    }
}

/// The first 8 bytes of a text's SHA-256.
fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text);
    bytes[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A key that this kind of role does not know, or lacks.
fn unfit(role: &RoleText) -> Option<String> {
    use Kind::{Broadcast, Churn, Echo};
    let keys: [(&str, bool, &[Kind]); 10] = [
        ("rate", role.rate.is_some(), &[Echo, Broadcast, Churn]),
        ("size", role.size.is_some(), &[Echo, Broadcast, Churn]),
        ("payload", role.payload.is_some(), &[Echo, Broadcast]),
        ("text", role.text.is_some(), &[Echo]),
        ("publishers", role.publishers.is_some(), &[Broadcast]),
        ("publish_path", role.publish_path.is_some(), &[Broadcast]),
        ("topics", role.topics.is_some(), &[Broadcast]),
        ("messages", role.messages.is_some(), &[Churn]),
        ("hold", role.hold.is_some(), &[Churn]),
        ("skip", role.skip.is_some(), &[Echo, Broadcast, Churn]),
    ];
    let kind = role.kind;
    let strange = keys
        .iter()
        .find(|(_, given, kinds)| *given && !kinds.contains(&kind));
    if let Some((key, ..)) = strange {
        return Some(
            format!("`{key}` does not apply to a role of the kind {kind:?}").to_lowercase(),
        );
    }
    let wants_rate = kind != Kind::Idle;
    (wants_rate && role.rate.is_none()).then(|| {
        "`rate` is missing: every role but an idle one is an open loop, with so many per second in total".to_owned()
    })
}

fn check_path(path: &str) -> Result<(), String> {
    let strange = |c: char| c.is_ascii_control() || c == ' ' || c == '#';
    if !path.starts_with('/') || path.contains(strange) {
        return Err(format!(
            "{path:?} is no path: it begins with /, and has no spaces and no fragment"
        ));
    }
    Ok(())
}

fn check_topics(
    role: &RoleText,
    connections: u64,
    topics: u64,
    publishers: Who,
) -> Result<(), String> {
    let publish = role.publish_path.as_ref();
    let named = |path: Option<&String>| path.is_some_and(|path| path.contains(TOPIC));
    if publishers == Who::Subscribers && publish.is_some() {
        return Err(
            "`publish_path` is for publishers of their own; these are the subscribers".to_owned(),
        );
    }
    if topics > 1 && !(named(role.path.as_ref()) && (publish.is_none() || named(publish))) {
        return Err(format!(
            "with `topics`, `path` and `publish_path` have to contain {TOPIC}"
        ));
    }
    let sources = match publishers {
        Who::Own(count) => count,
        Who::Subscribers => connections,
    };
    if connections.saturating_mul(sources) / topics > MAX_ACCOUNTS {
        return Err(format!(
            "subscribers times publishers of a topic, over all topics, is at most {MAX_ACCOUNTS}: each pair has an account"
        ));
    }
    if topics > connections.min(sources) {
        return Err("every topic needs a subscriber and a publisher".to_owned());
    }
    Ok(())
}

/// What `full` comes to phase by phase: the role's own share, or the one of all roles. Without either, a phase goes on as the
/// one before it ended for all roles, the first with everything: what is different for one role holds for its phase alone.
fn curve(
    file: &File,
    name: &str,
    of_all: fn(&PhaseText) -> Option<Share>,
    of_role: fn(&file::RoleInPhase) -> Option<Share>,
    full: f64,
) -> Curve {
    let mut last = 1.0;
    let pieces = file.phase.iter().map(Spanned::get_ref).map(|phase| {
        let common = of_all(phase).unwrap_or(Share {
            from: last,
            to: last,
        });
        last = common.to;
        let own = phase.role.iter().find(|(role, _)| role.get_ref() == name);
        let share = own.and_then(|(_, role)| of_role(role)).unwrap_or(common);
        Piece {
            length: nanos(phase.duration.0),
            from: share.from * full,
            to: share.to * full,
        }
    });
    Curve::new(pieces.collect())
}

#[cfg(test)]
mod tests;
