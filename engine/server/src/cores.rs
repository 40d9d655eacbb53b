//! Which processors the server's cores run on.

use std::str::FromStr;

/// The largest processor number taken from a list, so that a slip like `0-99999999` is an error
/// and not a large allocation. The Linux kernel is built for at most 8192 processors.
const MAX_PROCESSOR: usize = 8191;

/// A choice among the processors that the process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cores {
    /// So many, in ascending order of their numbers.
    First(usize),
    /// These processors.
    These(Vec<usize>),
}

impl FromStr for Cores {
    type Err = String;

    /// `2` is a number of cores; `0-3`, `0,2` and `5-5` are lists.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) => Err("at least one core is needed".to_owned()),
            Ok(count) => Ok(Self::First(count)),
            Err(_) => Ok(Self::These(processor_list(text)?)),
        }
    }
}

impl Cores {
    /// The chosen ones of the `usable` processors, which are in ascending order.
    ///
    /// # Errors
    /// When a processor was asked for that the process may not use, or more than there are.
    pub(crate) fn among(&self, usable: &[usize]) -> Result<Vec<usize>, String> {
        let problem = match self {
            Self::First(count) => match usable.get(..*count) {
                Some(first) => return Ok(first.to_vec()),
                None => format!("{count} cores were asked for"),
            },
            Self::These(list) => match list.iter().find(|one| !usable.contains(one)) {
                None => return Ok(list.clone()),
                Some(one) => format!("processor {one} was asked for"),
            },
        };
        let numbers: Vec<String> = usable.iter().map(usize::to_string).collect();
        let usable = numbers.join(",");
        Err(format!(
            "{problem}, but this process may use {usable} (see taskset, cpuset)"
        ))
    }
}

/// `0-3,5` as ascending numbers, each once: the kernel's list format.
fn processor_list(text: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("{text:?} is not a list of processors like 0-3 or 0,2");
    let mut list = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first: usize = first.parse().map_err(|_| wrong())?;
        let last: usize = last.parse().map_err(|_| wrong())?;
        if first > last {
            return Err(wrong());
        }
        if last > MAX_PROCESSOR {
            return Err(format!(
                "processors have numbers up to {MAX_PROCESSOR}, not {last}"
            ));
        }
        list.extend(first..=last);
    }
    list.sort_unstable();
    list.dedup();
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_count_and_a_list_names_processors() {
        assert_eq!("2".parse(), Ok(Cores::First(2)));
        assert_eq!("0-3".parse(), Ok(Cores::These(vec![0, 1, 2, 3])));
        assert_eq!("4,0-1,1".parse(), Ok(Cores::These(vec![0, 1, 4])));
        assert_eq!("5-5".parse(), Ok(Cores::These(vec![5])));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["", "0", "a", "3-1", "1,", "0-", "-1", "0-99999999", "1-2-3"] {
            assert!(text.parse::<Cores>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_choice_stays_within_what_the_process_may_use() {
        let usable = [2, 3, 7];
        assert_eq!(Cores::First(2).among(&usable), Ok(vec![2, 3]));
        assert_eq!(Cores::These(vec![3, 7]).among(&usable), Ok(vec![3, 7]));
        let error = Cores::First(4).among(&usable).unwrap_err();
        assert!(
            error.contains("4 cores") && error.contains("2,3,7"),
            "{error}"
        );
        let error = Cores::These(vec![2, 4]).among(&usable).unwrap_err();
        assert!(
            error.contains("processor 4") && error.contains("2,3,7"),
            "{error}"
        );
    }
}
