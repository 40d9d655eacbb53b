use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

#[test]
fn stat_survives_strange_names() {
    let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 7 3 0 0 20 0 1 0 5 6 7";
    assert_eq!(parse_stat(stat), Some((7, 3)));
}

#[test]
fn status_fields() {
    let mut memory = Memory::default();
    memory.add("VmRSS:\t  10 kB\nRssAnon:\t 4 kB\nRssFile:\t 5 kB\nRssShmem:\t 1 kB\n");
    let expected = Memory {
        resident: 10240,
        anonymous: 4096,
        file: 5120,
        shared: 1024,
    };
    assert_eq!(memory, expected);
    assert_eq!(count_list("0-3,8"), 5);
    assert_eq!(count_list("1"), 1);
}

#[test]
fn a_busy_thread_shows_and_an_ended_one_is_not_lost() {
    let own = std::process::id();
    let watch = Watch::new(&[own]).unwrap();
    let before = watch.snapshot(Detail::Full).unwrap();
    let used = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let spun = std::thread::spawn(move || {
        while used() < Duration::from_millis(50) {}
        thread_times(own, nix::unistd::gettid().as_raw() as u32).unwrap()
    });
    let spun = spun.join().unwrap();
    let after = watch.snapshot(Detail::Full).unwrap();
    let usage = after.since(&before);
    assert!(usage.cpu >= Duration::from_millis(50), "{usage:?}");
    let Load { running, busy } = spun.load_since(&ThreadTimes::default(), after.at - before.at);
    assert!(running > 0.0 && busy >= running && busy <= 1.0);
    // Of all threads of this process: the busiest may be another test's, which does nothing but wait for a processor.
    let Load { running, busy } = usage.load;
    assert!(busy > 0.0 && busy >= running && busy <= 1.0);
}

#[test]
fn a_glance_leaves_many_threads_and_costly_descriptors_out() {
    let mut watch = Watch::new(&[std::process::id()]).unwrap();
    let (over, ends) = std::sync::mpsc::channel::<()>();
    let ends = std::sync::Arc::new(std::sync::Mutex::new(ends));
    let wait = |_| {
        let ends = std::sync::Arc::clone(&ends);
        std::thread::spawn(move || {
            let _ended = ends.lock().unwrap().recv();
        })
    };
    let threads: Vec<_> = (0..=FEW_THREADS).map(wait).collect();
    let shots = |watch: &Watch, detail| {
        let shot = || watch.snapshot(detail).unwrap();
        let (before, after) = (shot(), shot());
        (after.since(&before), after.descriptors)
    };
    let (glance, _) = shots(&watch, Detail::Glance);
    assert!(glance.threads > FEW_THREADS && glance.voluntary_switches.is_none());
    let (full, descriptors) = shots(&watch, Detail::Full);
    assert!(full.voluntary_switches.is_some() && descriptors.unwrap() > 0);
    watch.counts_descriptors = false;
    assert_eq!(shots(&watch, Detail::Glance).1, None);
    assert!(shots(&watch, Detail::Full).1.unwrap() > 0);
    drop(over);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

/// In a process of its own: whatever other tests of this one give back meanwhile would hide the growth.
#[test]
fn the_peak_is_told_from_the_reset_on() {
    let script = "echo started; read -r _; filled=$(head -c 33554432 /dev/zero | tr '\\0' x); \
                  echo ${#filled}; filled=; echo emptied; read -r _";
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = shell.stdin.take().unwrap();
    let mut answers = BufReader::new(shell.stdout.take().unwrap()).lines();
    let mut answer = || answers.next().unwrap().unwrap();

    assert_eq!(answer(), "started");
    let watch = Watch::new(&[shell.id()]).unwrap();
    assert!(
        watch.reset_peak(),
        "a process may reset those of its own user"
    );
    let before = watch.peak().unwrap();
    orders.write_all(b"fill\n").unwrap();
    assert_eq!((answer(), answer()), ("33554432".into(), "emptied".into()));
    let grown = watch.peak().unwrap() - before;
    assert!(grown >= 32 << 20, "{grown} bytes");
    assert!(watch.reset_peak());
    let left = watch.peak().unwrap() - before;
    assert!(left < 32 << 20, "{left} bytes after a second reset");
    drop(orders);
    shell.wait().unwrap();
}

#[test]
fn a_process_that_does_not_exist_is_named() {
    // Above the kernel's PID_MAX_LIMIT of 2^22.
    assert!(Watch::new(&[5_000_000]).is_err());
}
