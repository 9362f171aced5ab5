//! The prompts of requests: generated or from a file; new, repeated, or paraphrased.

use crate::random::{mix, unit};

/// What stands before and after a prompt in each of its phrasings, for prompts without paraphrases of their own.
const PHRASINGS: [(&str, &str); 4] = [
    ("", ""),
    ("Could you tell me the following? ", ""),
    ("Please answer this. ", ""),
    ("", " Thanks in advance."),
];
/// Numbers of the popular prompts begin here, apart from those asked once.
const POPULAR: u64 = 1 << 48;
/// Told apart from other draws of the same number.
const SIZES: u64 = 0x7369_7a65;
const RANKS: u64 = 0x7261_6e6b;
const WORDS: u64 = 0x776f_7264;

/// One prompt of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilePrompt {
    /// The prompt.
    pub query: String,
    /// The same in other words (`paraphrases` of its JSON line).
    pub paraphrases: Vec<String>,
}

/// Where prompts come from.
#[derive(Debug, Clone)]
pub struct Prompts {
    /// Sizes of made-up prompts in bytes; each is taken as often as the others.
    pub bytes: Vec<usize>,
    /// Prompts of a file, in turn; empty = made up, each another.
    pub file: Vec<FilePrompt>,
    /// Share of requests that repeat a prompt word for word.
    pub repeat_share: f64,
    /// Share of requests that ask a prompt again in other words.
    pub paraphrase_share: f64,
    /// With an exponent, what is asked again is one of `pool` prompts, the k-th as often as 1/k^zipf;
    /// without, it is the new prompt `lag` new prompts ago.
    pub zipf: Option<f64>,
    /// How many prompts are popular.
    pub pool: usize,
    /// See `zipf`.
    pub lag: u64,
    /// Sums of 1/k^zipf up to each rank, see [`Prompts::prepare`].
    pub ranks: Vec<f64>,
}

impl Default for Prompts {
    fn default() -> Self {
        Self {
            bytes: vec![1000],
            file: Vec::new(),
            repeat_share: 0.0,
            paraphrase_share: 0.0,
            zipf: None,
            pool: 1000,
            lag: 2,
            ranks: Vec::new(),
        }
    }
}

/// A prompt chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub index: u64,
    /// In which words; 0 = its own.
    pub phrasing: usize,
}

impl Prompts {
    /// Makes ready what draws need.
    ///
    /// # Errors
    /// The shares do not fit together.
    pub fn prepare(&mut self) -> Result<(), String> {
        if self.repeat_share + self.paraphrase_share > 1.0 {
            return Err("repeat-share and paraphrase-share together are more than 1".into());
        }
        if !self.file.is_empty() {
            self.pool = self.pool.min(self.file.len());
        }
        if let Some(zipf) = self.zipf {
            let mut sum = 0.0;
            let weights = (1..=self.pool).map(|rank| (rank as f64).powf(-zipf));
            self.ranks = weights
                .map(|weight| {
                    sum += weight;
                    sum
                })
                .collect();
        }
        Ok(())
    }

    /// The prompt of request number `turn`.
    #[must_use]
    pub fn choose(&self, seed: u64, turn: u64) -> Choice {
        let again = self.repeat_share + self.paraphrase_share;
        let before = due(turn, again);
        let new = turn - before;
        if due(turn + 1, again) == before {
            let phrasing = 0;
            return Choice {
                index: new,
                phrasing,
            };
        }
        let index = match self.ranks.last() {
            Some(sum) => {
                let drawn = unit(seed ^ RANKS, turn) * sum;
                let rank = self.ranks.partition_point(|up_to| *up_to <= drawn) as u64;
                if self.file.is_empty() {
                    POPULAR + rank
                } else {
                    rank
                }
            }
            None => new.checked_sub(self.lag).unwrap_or(new / 2),
        };
        let others = self.phrasings(index) - 1;
        let reworded = is_share(before, self.paraphrase_share / again) && others > 0;
        let phrasing = if reworded {
            1 + pick(mix(seed ^ WORDS, turn), others)
        } else {
            0
        };
        Choice { index, phrasing }
    }

    /// Number of phrasings of a prompt, its own among them.
    #[must_use]
    pub fn phrasings(&self, index: u64) -> usize {
        match self.file_prompt(index) {
            Some(prompt) if !prompt.paraphrases.is_empty() => 1 + prompt.paraphrases.len(),
            _ => PHRASINGS.len(),
        }
    }

    fn file_prompt(&self, index: u64) -> Option<&FilePrompt> {
        let length = u64::try_from(self.file.len()).ok()?;
        let at = index.checked_rem(length)?;
        self.file.get(usize::try_from(at).ok()?)
    }

    /// The text of a choice. `salt` is part of every made-up prompt, so that no two runs of
    /// different seeds make the same and meet in a cache.
    #[must_use]
    pub fn text(&self, salt: u64, choice: Choice) -> String {
        let own = match self.file_prompt(choice.index) {
            Some(prompt) => {
                let own = prompt.paraphrases.get(choice.phrasing.wrapping_sub(1));
                if let Some(own) = own {
                    return own.clone();
                }
                prompt.query.clone()
            }
            None => self.made_up(salt, choice.index),
        };
        match PHRASINGS.get(choice.phrasing) {
            Some((before, after)) => [before, own.as_str(), after].concat(),
            None => own,
        }
    }

    fn made_up(&self, salt: u64, index: u64) -> String {
        const THINGS: [&str; 16] = [
            "harbour",
            "violin",
            "glacier",
            "ledger",
            "orchard",
            "engine",
            "cathedral",
            "beetle",
            "comet",
            "bakery",
            "railway",
            "parliament",
            "desert",
            "telescope",
            "vineyard",
            "loom",
        ];
        const PLACES: [&str; 16] = [
            "Norway", "Peru", "Kenya", "Japan", "Iceland", "Chile", "Egypt", "Canada", "Nepal",
            "Greece", "Vietnam", "Ghana", "Finland", "Cuba", "Jordan", "Malta",
        ];
        const FILLER: &str = "please tell me about this in a few plain words ";
        let drawn = mix(salt, index);
        let word = |list: &[&'static str; 16], shift: u32| {
            let at = usize::try_from((drawn >> shift) & 15).unwrap_or(0);
            list.get(at).copied().unwrap_or_default()
        };
        let sizes = self.bytes.len().max(1);
        let size = self.bytes.get(pick(mix(salt ^ SIZES, index), sizes));
        let size = size.copied().unwrap_or(1000);
        let start = format!("Question {salt:x}-{index:x}: ");
        let least = start.len();
        let (thing, other, position) = (word(&THINGS, 0), word(&THINGS, 4), word(&PLACES, 8));
        let mut prompt =
            format!("{start}what has the {thing} to do with the {other} of {position}, ");
        while prompt.len() < size {
            prompt.push_str(FILLER);
        }
        prompt.truncate(size.max(least));
        prompt
    }
}

/// One of `count`, from a well-mixed number.
fn pick(mixed: u64, count: usize) -> usize {
    let count = u64::try_from(count.max(1)).unwrap_or(1);
    usize::try_from(mixed % count).unwrap_or(0)
}

/// Requests of a share among the first `turns`.
fn due(turns: u64, share: f64) -> u64 {
    // Ten times a tenth is a hair less than one.
    (turns as f64 * share + 1e-9) as u64
}

/// Spreads a share evenly over the turns.
#[must_use]
pub fn is_share(turn: u64, share: f64) -> bool {
    due(turn + 1, share) > due(turn, share)
}

/// Reads prompts: one a line, or JSON lines with `query` and perhaps `paraphrases`.
///
/// # Errors
/// There are none.
pub fn read_prompts(text: &str) -> Result<Vec<FilePrompt>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let prompts: Vec<FilePrompt> = lines
        .map(|line| {
            let json = serde_json::from_str::<serde_json::Value>(line).unwrap_or_default();
            let Some(query) = json["query"].as_str() else {
                return FilePrompt {
                    query: line.to_owned(),
                    paraphrases: Vec::new(),
                };
            };
            let others = json["paraphrases"].as_array().into_iter().flatten();
            FilePrompt {
                query: query.to_owned(),
                paraphrases: others
                    .filter_map(|other| other.as_str().map(str::to_owned))
                    .collect(),
            }
        })
        .collect();
    if prompts.is_empty() {
        return Err("no prompts in it".into());
    }
    Ok(prompts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn shares_are_spread_evenly() {
        let hits = (0..1000).filter(|turn| is_share(*turn, 0.25)).count();
        assert_eq!(hits, 250);
        assert!(!(0..1000).any(|turn| is_share(turn, 0.0)));
        assert!((0..1000).all(|turn| is_share(turn, 1.0)));
        assert_eq!((0..10).filter(|turn| is_share(*turn, 0.1)).count(), 1);
    }

    #[test]
    fn prompts_from_lines_or_json() {
        let read = read_prompts("a b\n\n{\"query\":\"c\",\"paraphrases\":[\"d\"]}\n").unwrap();
        assert_eq!(read[0].query, "a b");
        assert_eq!(
            (read[1].query.as_str(), &read[1].paraphrases[..]),
            ("c", &["d".to_owned()][..])
        );
        assert!(read_prompts("\n").is_err());
    }

    fn texts(prompts: &Prompts, turns: u64) -> Vec<String> {
        (0..turns)
            .map(|turn| prompts.text(7, prompts.choose(7, turn)))
            .collect()
    }

    #[test]
    fn repeats_were_asked_before() {
        let mut prompts = Prompts {
            repeat_share: 0.5,
            lag: 10,
            ..Prompts::default()
        };
        prompts.prepare().unwrap();
        let texts = texts(&prompts, 1000);
        let mut seen = HashSet::new();
        let repeated = texts.iter().filter(|text| !seen.insert(*text)).count();
        assert!((498..=500).contains(&repeated), "{repeated}");
        assert!(texts.iter().all(|text| text.len() == 1000));
    }

    #[test]
    fn popular_prompts_follow_zipf() {
        let mut prompts = Prompts {
            repeat_share: 1.0,
            zipf: Some(1.0),
            pool: 100,
            ..Prompts::default()
        };
        prompts.prepare().unwrap();
        let mut counts: HashMap<u64, u64> = HashMap::new();
        for turn in 0..50_000 {
            *counts
                .entry(prompts.choose(3, turn).index - POPULAR)
                .or_default() += 1;
        }
        // The sum of 1/k up to 100 is 5.187.
        let first = counts[&0] as f64 / 50_000.0;
        assert!((first - 1.0 / 5.187).abs() < 0.01, "{first}");
        let ratio = counts[&0] as f64 / counts[&9] as f64;
        assert!((ratio - 10.0).abs() < 1.5, "{ratio}");
        assert_eq!(counts.len(), 100);
    }

    #[test]
    fn paraphrases_are_other_words_for_a_prompt_asked() {
        let mut prompts = Prompts {
            repeat_share: 0.25,
            paraphrase_share: 0.25,
            zipf: Some(1.0),
            pool: 2,
            file: read_prompts("{\"query\":\"a\",\"paraphrases\":[\"b\"]}\nlong").unwrap(),
            ..Prompts::default()
        };
        prompts.prepare().unwrap();
        let choices: Vec<Choice> = (0..1000).map(|turn| prompts.choose(1, turn)).collect();
        let reworded = choices.iter().filter(|choice| choice.phrasing > 0).count();
        assert_eq!(reworded, 250);
        let texts: HashSet<String> = texts(&prompts, 1000).into_iter().collect();
        assert!(texts.contains("b") && texts.contains("Please answer this. long"));
        prompts.repeat_share = 0.9;
        assert!(prompts.prepare().is_err());
    }

    #[test]
    fn sizes_are_mixed_and_kept() {
        let prompts = Prompts {
            bytes: vec![10, 200, 8000],
            ..Prompts::default()
        };
        let lengths: HashSet<usize> = texts(&prompts, 100).iter().map(String::len).collect();
        // Too small for its number: as small as it can be.
        assert!(lengths.contains(&200) && lengths.contains(&8000));
        assert_eq!(texts(&prompts, 100), texts(&prompts, 100));
    }
}
