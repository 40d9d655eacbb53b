//! Which processors the client's threads run on.

use std::collections::BTreeSet;
use std::fs;
use std::str::FromStr;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::procfs::thread_times;

/// Processor numbers, one thread each, in the order given: `1`, `0-3`, `0,2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CoreList(Vec<usize>);

impl CoreList {
    /// The processor numbers, as they were given.
    pub(crate) fn numbers(&self) -> &[usize] {
        &self.0
    }

    /// The processor numbers.
    ///
    /// # Errors
    /// When one of them is not among those this process may use.
    pub(crate) fn checked(&self) -> Result<&[usize], BenchError> {
        let allowed: Vec<usize> = core_affinity::get_core_ids()
            .unwrap_or_default()
            .into_iter()
            .map(|core| core.id)
            .collect();
        match self.0.iter().find(|core| !allowed.contains(core)) {
            None => Ok(&self.0),
            Some(core) => Err(BenchError::usage(format!(
                "--cores: processor {core} is not among those this process may use ({})",
                join(&allowed)
            ))),
        }
    }
}

impl FromStr for CoreList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected processor numbers such as 1, 0-3 or 0,2".to_owned();
        let number = |t: &str| t.trim().parse::<usize>().map_err(|_| expected());
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last >= MAX_PROCESSOR {
                return Err(expected());
            }
            cores.extend(first..=last);
        }
        let mut sorted = cores.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != cores.len() {
            return Err("a processor is named twice".into());
        }
        Ok(Self(cores))
    }
}

/// Linux is built for at most 8192 processors (`CONFIG_NR_CPUS`); keeps typing errors small.
const MAX_PROCESSOR: usize = 8192;

/// How the system calls for processors name the calling thread.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// A thread that has run for less than this part of what the busiest one has only waits for the others to end.
const WORKS: u64 = 100;

/// Processor numbers, in their order.
pub(crate) type Processors = BTreeSet<usize>;

/// Those that the calling thread may run on.
pub(crate) fn own() -> Processors {
    sched_getaffinity(THIS_THREAD).map_or(Processors::new(), |set| numbers(&set))
}

/// Those that the threads of these processes which do the work may run on; `None` when one of the processes has ended.
pub(crate) fn of_processes(pids: &[u32]) -> Option<Processors> {
    let mut processors = Processors::new();
    for &pid in pids {
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            let tid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let set = sched_getaffinity(Pid::from_raw(tid as i32));
            // A thread may end while the list is read.
            if let (Ok(times), Ok(set)) = (thread_times(pid, tid), set) {
                threads.push((times.running, set));
            }
        }
        let most = threads.iter().map(|(running, _)| *running).max()?;
        let works = |(running, _): &&(u64, CpuSet)| *running >= most / WORKS;
        let of_workers = threads.iter().filter(works);
        processors.extend(of_workers.flat_map(|(_, set)| numbers(set)));
    }
    Some(processors)
}

/// As `--cores` and `taskset -c` take them: `0-3,8`.
pub(crate) fn listed(processors: &Processors) -> String {
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for &number in processors {
        match stretches.last_mut() {
            Some((_, end)) if *end + 1 == number => *end = number,
            _ => stretches.push((number, number)),
        }
    }
    let stretch = |&(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    stretches.iter().map(stretch).collect::<Vec<_>>().join(",")
}

fn numbers(set: &CpuSet) -> Processors {
    let allowed = |&number: &usize| set.is_set(number).unwrap_or(false);
    (0..CpuSet::count()).filter(allowed).collect()
}

/// Pins the calling thread.
///
/// # Errors
/// When the system refuses.
pub(crate) fn pin(core: usize) -> Result<(), BenchError> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        Ok(())
    } else {
        Err(BenchError::runtime(format!(
            "cannot pin a thread to processor {core}"
        )))
    }
}

/// Keeps the calling thread, and what it starts, away from processors that others have to themselves. Ends with the value.
#[derive(Debug)]
pub(crate) struct Aside {
    /// Where the thread could run before.
    before: CpuSet,
}

impl Aside {
    /// Steps aside from the client's processors when the process may use others. Where it may not, the thread stays
    /// where it is: it has little to do.
    pub(crate) fn from(client: &[usize]) -> Option<Self> {
        let before = sched_getaffinity(THIS_THREAD).ok()?;
        let others = without(&before, client)?;
        sched_setaffinity(THIS_THREAD, &others).ok()?;
        Some(Self { before })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // It could run there before. If it may no longer, it is better where it is.
        let _ = sched_setaffinity(THIS_THREAD, &self.before);
    }
}

/// The processors without some of them; `None` when none would be left, or all.
fn without(processors: &CpuSet, taken: &[usize]) -> Option<CpuSet> {
    if taken.is_empty() {
        return None;
    }
    let mut others = CpuSet::new();
    let mut count = 0;
    for processor in 0..CpuSet::count() {
        if processors.is_set(processor).unwrap_or(false) && !taken.contains(&processor) {
            others.set(processor).ok()?;
            count += 1;
        }
    }
    (count > 0).then_some(others)
}

fn join(cores: &[usize]) -> String {
    cores
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!("1".parse::<CoreList>().unwrap().0, [1]);
        assert_eq!("0-3".parse::<CoreList>().unwrap().0, [0, 1, 2, 3]);
        assert_eq!("4,0-1".parse::<CoreList>().unwrap().0, [4, 0, 1]);
    }

    #[test]
    fn others_are_left_when_there_are_any() {
        let mut processors = CpuSet::new();
        for number in [0, 1, 3] {
            processors.set(number).unwrap();
        }
        let others = without(&processors, &[1, 2]).unwrap();
        let left: Vec<bool> = (0..4)
            .map(|number| others.is_set(number).unwrap())
            .collect();
        assert_eq!(left, [true, false, false, true]);
        assert!(without(&processors, &[0, 1, 3]).is_none());
        assert!(without(&processors, &[]).is_none());
    }

    #[test]
    fn who_steps_aside_comes_back() {
        let before = sched_getaffinity(THIS_THREAD).unwrap();
        let mine = core_affinity::get_core_ids().unwrap();
        let aside = Aside::from(&[mine[0].id]);
        assert_eq!(aside.is_some(), mine.len() > 1);
        if let Some(aside) = aside {
            let now = sched_getaffinity(THIS_THREAD).unwrap();
            assert!(!now.is_set(mine[0].id).unwrap());
            drop(aside);
        }
        assert_eq!(sched_getaffinity(THIS_THREAD).unwrap(), before);
    }

    #[test]
    fn processors_are_listed_as_they_are_typed() {
        let list = |numbers: &[usize]| listed(&numbers.iter().copied().collect());
        assert_eq!(list(&[]), "");
        assert_eq!(list(&[3]), "3");
        assert_eq!(list(&[8, 0, 1, 2, 10]), "0-2,8,10");
        let typed: CoreList = list(&[0, 1, 2, 8]).parse().unwrap();
        assert_eq!(typed.0, [0, 1, 2, 8]);
    }

    #[test]
    fn a_process_uses_what_its_busy_threads_may() {
        assert!(!own().is_empty());
        let all = of_processes(&[std::process::id()]).unwrap();
        assert!(!all.is_empty() && all.is_subset(&every()), "{all:?}");
        // Above the kernel's PID_MAX_LIMIT of 2^22.
        assert_eq!(of_processes(&[5_000_000]), None);
    }

    /// Those that this process began with: other tests pin threads of theirs.
    fn every() -> Processors {
        let main = Pid::from_raw(std::process::id() as i32);
        numbers(&sched_getaffinity(main).unwrap())
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "a", "1-", "3-1", "1,1", "0-2,1", "0-99999999"] {
            assert!(text.parse::<CoreList>().is_err(), "{text}");
        }
    }
}
