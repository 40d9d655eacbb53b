//! Which processors the client's threads run on.

use std::str::FromStr;

use crate::error::BenchError;

/// Processor numbers, one thread each, in the order given: `1`, `0-3`, `0,2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CoreList(Vec<usize>);

impl CoreList {
    /// How many processors; at least one.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
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
    fn nonsense_is_refused() {
        for text in ["", "a", "1-", "3-1", "1,1", "0-2,1", "0-99999999"] {
            assert!(text.parse::<CoreList>().is_err(), "{text}");
        }
    }
}
