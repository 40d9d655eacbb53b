use super::registry::KEEP_CAPACITY;
use super::*;

fn cores(count: usize) -> (Arc<Registry>, Vec<Interests>) {
    let registry = Arc::new(Registry::new());
    let views = (0..count).map(|own| Interests::new(Arc::clone(&registry), own));
    let views = views.collect();
    (registry, views)
}

fn positions(cores: CoreSet) -> Vec<usize> {
    cores.iter().collect()
}

#[test]
fn a_core_is_entered_with_its_first_subscriber_and_leaves_with_its_last() {
    let (registry, mut cores) = cores(3);
    let topic = Arc::from("t");
    let (mut first, mut second) = (TopicInterest::default(), TopicInterest::default());
    assert!(cores[2].elsewhere("t", None).is_empty());
    cores[0].subscribed(&mut first, &topic);
    cores[0].subscribed(&mut first, &topic);
    cores[1].subscribed(&mut second, &topic);
    assert_eq!(registry.subscribers("t"), 3);
    assert_eq!(positions(cores[2].elsewhere("t", None)), [0, 1]);
    assert_eq!(positions(cores[0].elsewhere("t", None)), [1]);
    assert_eq!(positions(cores[0].elsewhere("t", Some(&first))), [1]);
    assert_eq!(positions(registry.cores("t")), [0, 1]);

    cores[0].unsubscribed(&mut first, "t", false);
    assert_eq!(positions(cores[2].elsewhere("t", None)), [0, 1]);
    cores[0].unsubscribed(&mut first, "t", true);
    assert_eq!(positions(cores[2].elsewhere("t", None)), [1]);
    assert_eq!(registry.subscribers("t"), 1);
    cores[1].unsubscribed(&mut second, "t", true);
    assert!(cores[2].elsewhere("t", None).is_empty());
    assert_eq!((registry.subscribers("t"), registry.len()), (0, 0));
}

#[test]
fn what_is_remembered_does_not_outlive_the_topic() {
    let (_registry, mut cores) = cores(3);
    let topic = Arc::from("t");
    for entered in [0, 1, 0] {
        let mut interest = TopicInterest::default();
        assert!(cores[2].elsewhere("t", None).is_empty());
        cores[entered].subscribed(&mut interest, &topic);
        assert_eq!(positions(cores[2].elsewhere("t", None)), [entered]);
        cores[entered].unsubscribed(&mut interest, "t", true);
    }
    assert!(cores[2].elsewhere("t", None).is_empty());
}

#[test]
fn many_topics_are_told_apart_and_leave_no_memory() {
    let (registry, mut cores) = cores(2);
    let count = if cfg!(miri) { 300 } else { 20_000 };
    let names: Vec<Arc<str>> = (0..count).map(|n| format!("topic {n}").into()).collect();
    let mut interests: Vec<_> = names
        .iter()
        .map(|name| {
            let mut interest = TopicInterest::default();
            cores[0].subscribed(&mut interest, name);
            interest
        })
        .collect();
    assert_eq!(registry.len(), count);
    for (n, name) in names.iter().enumerate() {
        assert_eq!(positions(cores[1].elsewhere(name, None)), [0]);
        if n % 2 == 0 {
            cores[0].unsubscribed(&mut interests[n], name, true);
        }
    }
    for (n, name) in names.iter().enumerate() {
        assert_eq!(
            cores[1].elsewhere(name, None).is_empty(),
            n % 2 == 0,
            "{name}"
        );
    }
    for (name, interest) in names.iter().zip(&mut interests).skip(1).step_by(2) {
        cores[0].unsubscribed(interest, name, true);
    }
    assert_eq!(registry.len(), 0);
    let room = |shard: &Shard| shard.read().capacity();
    let kept: usize = registry.shards.iter().map(room).max().unwrap_or_default();
    assert!(kept <= 2 * KEEP_CAPACITY, "room for {kept} entries");
}

#[test]
fn long_names_are_found_and_not_remembered() {
    let (_registry, mut cores) = cores(2);
    let name: Arc<str> = "x".repeat(LONGEST_REMEMBERED + 1).into();
    let mut interest = TopicInterest::default();
    cores[0].subscribed(&mut interest, &name);
    assert_eq!(positions(cores[1].elsewhere(&name, None)), [0]);
    assert!(cores[1].remembered.iter().all(Option::is_none));
}

#[test]
fn wildcards_are_found_by_every_name_that_they_match() {
    let (registry, mut cores) = cores(3);
    let (one, rest): (Arc<str>, Arc<str>) = ("room/*".into(), "room/#".into());
    let mut interests = [(); 3].map(|()| TopicInterest::default());
    let [of_one, of_rest, of_name] = &mut interests;
    assert!(cores[2].elsewhere("room/1", None).is_empty());
    cores[0].subscribed(of_one, &one);
    assert_eq!(positions(cores[2].elsewhere("room/1", None)), [0]);
    assert!(cores[0].elsewhere("room/1", None).is_empty());
    cores[1].subscribed(of_rest, &rest);
    let at = |cores: &mut [Interests], topic| positions(cores[2].elsewhere(topic, None));
    assert_eq!(at(&mut cores, "room/1"), [0, 1]);
    assert_eq!(at(&mut cores, "room/1/door"), [1]);
    assert_eq!(at(&mut cores, "room/*"), [0, 1], "a name, and no pattern");
    assert!(at(&mut cores, "hall").is_empty());
    assert_eq!(positions(registry.cores("room/1")), [0, 1]);

    cores[2].subscribed(of_name, &"room/1".into());
    assert_eq!(
        positions(cores[2].elsewhere("room/1", Some(of_name))),
        [0, 1]
    );
    assert_eq!(positions(cores[0].elsewhere("room/1", None)), [1, 2]);
    assert_eq!(registry.subscribers("room/1"), 1);
    cores[0].unsubscribed(of_one, &one, true);
    assert_eq!(at(&mut cores, "room/1"), [1]);
    cores[1].unsubscribed(of_rest, &rest, true);
    assert!(at(&mut cores, "room/1").is_empty());
    assert_eq!(positions(registry.cores("room/1")), [2]);
}

#[test]
fn a_share_without_subscribers_tells_nothing() {
    let (_registry, mut cores) = cores(2);
    let mut interest = TopicInterest::default();
    cores[1].subscribed(&mut interest, &"t".into());
    let kept = TopicInterest::default();
    assert_eq!(positions(cores[0].elsewhere("t", Some(&kept))), [1]);
}
