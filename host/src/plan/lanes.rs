//! Which lanes of a job a process works on: all; some by number; or every n-th, for array jobs whose tasks know their own
//! number and how many they are. More or fewer tasks means other sets; nothing moves.

use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::message::Message;

/// A choice of lanes, as it is typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LaneSet {
    /// All of them.
    #[default]
    All,
    /// `0-15`, `3`, `0-3,8`.
    Ranges(Vec<RangeInclusive<u32>>),
    /// `2/4`: those whose number leaves 2 when it is divided by 4.
    Share {
        /// 0 to `of` - 1.
        number: u32,
        /// How many share the job.
        of: u32,
    },
}

impl LaneSet {
    /// The lanes of a job with so many, ascending. A set without any lane of the job is a mistake.
    pub fn choose(&self, lanes: u32) -> Result<Vec<u32>, Message> {
        let is_chosen = |lane: &u32| match self {
            LaneSet::All => true,
            LaneSet::Ranges(ranges) => ranges.iter().any(|range| range.contains(lane)),
            LaneSet::Share { number, of } => lane % of == *number,
        };
        if let LaneSet::Ranges(ranges) = self
            && let Some(range) = ranges.iter().find(|range| *range.end() >= lanes)
        {
            let message =
                Message::new(format!("there is no lane {}: the job has {lanes}, numbered from 0", range.end()));
            return Err(message.hint("`lanes` under [checkpoint] is fixed when a job begins"));
        }
        let chosen: Vec<u32> = (0..lanes).filter(is_chosen).collect();
        if chosen.is_empty() {
            let message = Message::new(format!("no lane is left for this run: the job has {lanes}"));
            return Err(message.hint("begin a job with more lanes than there will ever be tasks"));
        }
        Ok(chosen)
    }
}

impl FromStr for LaneSet {
    type Err = String;

    fn from_str(text: &str) -> Result<LaneSet, String> {
        let number =
            |text: &str| text.trim().parse::<u32>().map_err(|_| format!("`{}` is no lane's number", text.trim()));
        if let Some((own, of)) = text.split_once('/') {
            let (own, of) = (number(own)?, number(of)?);
            if own >= of {
                return Err(format!("shares of {of} are numbered 0 to {}", i64::from(of) - 1));
            }
            return Ok(LaneSet::Share { number: own, of });
        }
        let range = |part: &str| match part.split_once('-') {
            None => number(part).map(|lane| lane..=lane),
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last { Err(format!("{first} is above {last}")) } else { Ok(first..=last) }
            }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(LaneSet::Ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_chosen_by_number_or_share() {
        let chosen = |text: &str, lanes| text.parse::<LaneSet>()?.choose(lanes);
        assert_eq!(chosen("0-2,5", 8), Ok(vec![0, 1, 2, 5]));
        assert_eq!(chosen("1/4", 8), Ok(vec![1, 5]));
        assert_eq!(LaneSet::All.choose(2), Ok(vec![0, 1]));
    }

    #[test]
    fn what_is_no_choice_is_refused() {
        for text in ["", "a", "3-1", "4/4", "1/0", "-1", "1-", "0-9"] {
            let chosen = text.parse::<LaneSet>().map_err(Message::from).and_then(|set| set.choose(8));
            assert!(chosen.is_err(), "{text}: {chosen:?}");
        }
        assert!(LaneSet::Share { number: 3, of: 4 }.choose(2).is_err());
    }
}
