use super::*;

const SECOND: Nanos = 1_000_000_000;

const TEXT: &str = r#"
title = "Test"

[[role]]
name = "talkers"
kind = "echo"
connections = 100
rate = "1k"

[[role]]
name = "rooms"
kind = "broadcast"
connections = 40
topics = 4
path = "/topics?sub={topic}"
publish_path = "/topics?pub={topic}"
rate = 20

[[role]]
name = "visitors"
kind = "churn"
connections = 5
rate = 10

[[phase]]
name = "rise"
duration = "2s"
rate = { from = 0, to = 0.5 }
connections = { from = 0.5, to = 1.0 }
measure = false

[[phase]]
name = "steady"
duration = "3s"

[[phase]]
name = "storm"
duration = "1s"
role.visitors = { rate = 4 }
"#;

fn plan(text: &str, scale: u64) -> Plan {
    Plan::parse(text, scale).unwrap()
}

fn wrong(from: &str, to: &str) -> String {
    assert!(TEXT.contains(from), "{from}");
    Plan::parse(&TEXT.replace(from, to), 1)
        .unwrap_err()
        .to_string()
}

#[test]
fn shares_are_of_each_role_and_go_on() {
    let plan = plan(TEXT, 1);
    let [talkers, rooms, visitors] = &plan.roles[..] else {
        panic!("three roles")
    };
    assert_eq!((talkers.rate.at(0), talkers.rate.at(SECOND)), (0.0, 250.0));
    assert_eq!(
        talkers.rate.at(3 * SECOND),
        500.0,
        "as the phase before ended"
    );
    assert_eq!((rooms.open.at(0), rooms.open.at(2 * SECOND)), (20.0, 40.0));
    assert_eq!(visitors.rate.at(4 * SECOND), 5.0);
    assert_eq!(
        (visitors.rate.at(5 * SECOND), talkers.rate.at(5 * SECOND)),
        (40.0, 500.0)
    );
    assert_eq!(talkers.rate.sum(0..6 * SECOND), 500.0 + 4.0 * 500.0);
    assert_eq!(
        (plan.length(), plan.measured()),
        (6 * SECOND, 2 * SECOND..6 * SECOND)
    );
    assert_eq!(plan.connections(), 100 + 40 + 4 + 5);
}

#[test]
fn a_scale_makes_more_topics_not_larger_ones() {
    let plan = plan(TEXT, 10);
    let rooms = &plan.roles[1];
    let Task::Broadcast {
        topics, publishers, ..
    } = rooms.task
    else {
        panic!("rooms broadcast")
    };
    assert_eq!(
        (rooms.connections, topics, publishers),
        (400, 40, Who::Own(40))
    );
    assert_eq!(rooms.rate.at(3 * SECOND), 100.0);
    let single = TEXT.replace("topics = 4\n", "").replace("{topic}", "a");
    let plan = Plan::parse(&single, 10).unwrap();
    assert_eq!(
        (plan.roles[1].connections, plan.roles[1].own_publishers()),
        (400, 1)
    );
    assert_eq!(plan.roles[1].rate.at(3 * SECOND), 10.0);
}

#[test]
fn parts_that_do_not_go_together_are_refused_with_their_line() {
    let error = wrong("rate = \"1k\"", "rate = \"1k\"\nhold = \"1s\"");
    assert_eq!(
        error,
        "line 4: role `talkers`: `hold` does not apply to a role of the kind echo"
    );
    assert!(wrong("rate = \"1k\"\n", "").contains("`rate` is missing"));
    assert!(wrong("\"rooms\"", "\"talkers\"").contains("line 10: there are two roles"));
    assert!(wrong("role.visitors", "role.visitor").ends_with("did you mean `visitors`?"));
    assert!(wrong("to = 1.0", "to = 1.5").contains("`connections` is a share from 0 to 1"));
    assert!(wrong("sub={topic}", "sub=a").contains("{topic}"));
    assert!(wrong("\"/topics?sub", "\"topics?sub").contains("no path"));
    assert!(wrong("topics = 4", "topics = 41").contains("every topic needs"));
    let crowd = "connections = 1000000\npublishers = 100000";
    assert!(wrong("connections = 40", crowd).contains("each pair has an account"));
    let rooms = "rate = 20";
    assert!(wrong(rooms, "rate = 20\nsize = 5").contains("`size` is from 28"));
    let error = wrong(
        "duration = \"3s\"",
        "duration = \"3s\"\nmeasure = true\n[[phase]]\nname = 'x'\nduration = '1s'\nmeasure = false",
    );
    assert!(
        error.contains("phase `storm`") && error.contains("before all that are measured"),
        "{error}"
    );
    assert!(
        Plan::parse(TEXT, u64::MAX)
            .unwrap_err()
            .message
            .contains("too many")
    );
}

#[test]
fn a_count_of_the_wrong_type_is_refused() {
    assert!(wrong("connections = 100", "connections = 1.5").contains("a count such as"));
    assert!(wrong("connections = 100", "connections = 0").contains("at least 1"));
}

#[test]
fn only_who_is_always_there_is_counted_on_to_send() {
    let senders = |text: &str| -> Vec<u64> {
        let plan = plan(text, 1);
        let roles = plan.roles.iter();
        roles.map(|role| role.senders(&plan.phases)).collect()
    };
    assert_eq!(senders(TEXT), [100, 4, 5]);
    let few = "duration = \"3s\"\nconnections = 0.03";
    assert_eq!(senders(&TEXT.replace("duration = \"3s\"", few)), [3, 4, 5]);
    // Nothing falls due with the last ones.
    let quiet = format!("{few}\nrate = 0");
    let storm = "duration = \"1s\"\nconnections = 1\nrate = 1";
    let text = TEXT.replace("duration = \"3s\"", &quiet);
    assert_eq!(
        senders(&text.replace("duration = \"1s\"", storm)),
        [100, 4, 5]
    );
}

#[test]
fn paths_of_roles_and_of_their_publishers_are_changed() {
    let mut plan = plan(TEXT, 1);
    plan.change_path("rooms=/r?{topic}").unwrap();
    plan.change_path("rooms.publish=/p?{topic}").unwrap();
    let Task::Broadcast { publish_path, .. } = &plan.roles[1].task else {
        panic!("rooms broadcast")
    };
    let paths = (plan.roles[1].path.as_deref(), publish_path.as_deref());
    assert_eq!(paths, (Some("/r?{topic}"), Some("/p?{topic}")));
    let mut wrong = |change: &str| plan.change_path(change).unwrap_err();
    assert!(wrong("rooms.publish=/p").contains("has to contain {topic}"));
    assert!(wrong("talkers.publish=/p").contains("no publishers of its own"));
    assert!(wrong("romms.publish=/p").contains("did you mean `rooms`?"));
    assert!(wrong("rooms").contains("expected ROLE=PATH or ROLE.publish=PATH"));
}

#[test]
fn what_is_said_first_is_the_roles() {
    let with = |more: &str| TEXT.replace("rate = \"1k\"", &format!("rate = \"1k\"\n{more}"));
    let talkers = |more: &str| plan(&with(more), 1).roles.remove(0);
    let plain = talkers("");
    assert_eq!((plain.skip, plain.hello.len()), (0, 0));
    let one = talkers("hello = 'hi'\nskip = 2");
    assert_eq!((one.skip, one.hello), (2, vec!["hi".to_owned()]));
    assert_eq!(talkers("hello = ['a', 'b']").hello, ["a", "b"]);
    let error = Plan::parse(&with("hello = 5"), 1).unwrap_err().to_string();
    assert!(
        error.contains("expected a text, or a list of texts"),
        "{error}"
    );
    let idle = TEXT.replace("kind = \"churn\"", "kind = \"idle\"\nskip = 1");
    let idle = idle.replace("connections = 5\nrate = 10", "connections = 5");
    let error = Plan::parse(&idle, 1).unwrap_err().to_string();
    assert!(error.contains("`skip` does not apply"), "{error}");
}

#[test]
fn payloads_are_offered_that_there_are() {
    for kind in ["lines", "file", "jsn"] {
        let error = wrong("rate = \"1k\"", &format!("rate = 1\npayload = '{kind}'"));
        let offered = "expected one of `random`, `json`, `text`, `zero`";
        assert!(error.contains(offered), "{error}");
        assert!(!error.contains("mean `lines`"), "{error}");
    }
}

#[test]
fn what_is_different_for_one_role_holds_for_its_phase() {
    let after = format!("{TEXT}[[phase]]\nname = 'calm'\nduration = '1s'\n");
    let visitors = &plan(&after, 1).roles[2];
    let rates = [4, 5, 6].map(|second| visitors.rate.at(second * SECOND));
    assert_eq!(rates, [5.0, 40.0, 5.0]);
}

#[test]
fn scenarios_that_differ_have_another_digest() {
    let plain = plan(TEXT, 1);
    assert_eq!(
        (plain.digest.len(), &plain.digest),
        (16, &plan(TEXT, 5).digest)
    );
    let faster = TEXT.replace("rate = \"1k\"", "rate = \"2k\"");
    assert_ne!(plain.digest, plan(&faster, 1).digest);
    let mut elsewhere = plain.clone();
    elsewhere.change_path("talkers=/other").unwrap();
    assert_ne!(plain.digest, elsewhere.digest);
}

#[test]
fn what_a_scenario_counts_follows_from_its_roles() {
    let both = |plan: &Plan| (plan.has_replies(), plan.opens_connections());
    assert_eq!(both(&plan(TEXT, 1)), (true, true));
    let mut visitors = plan(TEXT, 1);
    visitors.roles.drain(..2);
    assert_eq!(both(&visitors), (false, true), "they send nothing");
    visitors.roles.clear();
    assert_eq!(both(&visitors), (false, false));
}
