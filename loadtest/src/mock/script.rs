//! A file that tells the mock what to do when.
//!
//! ```toml
//! repeat = "60s"        # begin again; without it the last step stays
//! [start]               # from the beginning; flags win over it
//! latency = "lognormal:200ms:0.4"
//! [[steps]]
//! at = "20s"
//! status = 529
//! [[steps]]
//! at = "30s"
//! reset = true          # back to the start
//! ```

use super::settings::Settings;
use crate::toml_file::Section;
use crate::units::duration;
use std::time::Duration;

/// What is set at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When, counted from the beginning of the script.
    pub at: Duration,
    /// Everything goes back to what the mock was started with, before the rest is set.
    pub reset: bool,
    /// Names and values.
    pub changes: Vec<(String, String)>,
}

/// Steps over time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Script {
    /// In the order of time.
    pub steps: Vec<Step>,
    /// When it begins again.
    pub repeat: Option<Duration>,
}

impl Script {
    /// Reads a script and sets its start in `settings`.
    ///
    /// # Errors
    /// The file, a key or a value; the text names it.
    pub fn read(file: &str, settings: &mut Settings) -> Result<Self, String> {
        Self::from_section(Section::read(file)?, settings)
    }

    fn from_section(mut root: Section, settings: &mut Settings) -> Result<Self, String> {
        if let Some(mut start) = root.section("start")? {
            changes(&mut start, settings)?;
        }
        let mut script = Self::default();
        if let Some(text) = root.text("repeat")? {
            let repeat = duration(&text).filter(|repeat| !repeat.is_zero());
            script.repeat = Some(repeat.ok_or_else(|| root.complain("repeat", "no duration"))?);
        }
        let mut probe = settings.clone();
        for mut step in root.sections("steps")? {
            let at = step.text("at")?.as_deref().and_then(duration);
            let at = at.ok_or_else(|| step.complain("at", "needs a duration such as 20s"))?;
            let reset = step.text("reset")?.is_some_and(|text| text == "true");
            let changes = changes(&mut step, &mut probe)?;
            script.steps.push(Step { at, reset, changes });
        }
        root.finish()?;
        script.steps.sort_by_key(|step| step.at);
        let last = script.steps.last().map_or(Duration::ZERO, |step| step.at);
        if script.repeat.is_some_and(|repeat| repeat <= last) {
            return Err("repeat must be later than the last step".into());
        }
        Ok(script)
    }

    /// The step number `number` and its time from the beginning; `None` after the last.
    #[must_use]
    pub fn step(&self, number: usize) -> Option<(Duration, &Step)> {
        let round = number.checked_div(self.steps.len())?;
        let step = self.steps.get(number % self.steps.len())?;
        let begun = match (round, self.repeat) {
            (0, _) => Duration::ZERO,
            (_, None) => return None,
            (_, Some(repeat)) => repeat.saturating_mul(u32::try_from(round).unwrap_or(u32::MAX)),
        };
        Some((begun + step.at, step))
    }
}

/// All keys of `section`, set in `settings` as the flags of these names would be.
fn changes(
    section: &mut Section,
    settings: &mut Settings,
) -> Result<Vec<(String, String)>, String> {
    let mut changes = Vec::new();
    for (key, value) in section.rest()? {
        let name = key.replace('_', "-");
        settings
            .set(&name, &value, true)
            .map_err(|why| section.complain(&key, &why))?;
        changes.push((name, value));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Script, Settings), String> {
        let mut settings = Settings::default();
        let script = Script::from_section(Section::parse("s", text)?, &mut settings)?;
        Ok((script, settings))
    }

    #[test]
    fn steps_come_in_their_time() {
        let text = "repeat='10s'\n[start]\nlatency='1ms'\n[[steps]]\nat='5s'\nreset=true\n[[steps]]\nat='2s'\nstatus=529\ntoken_gap='5ms'";
        let (script, settings) = read(text).unwrap();
        assert_eq!(settings.behaviour.latency.to_string(), "1ms");
        let times: Vec<u64> = (0..4)
            .map(|number| script.step(number).unwrap().0.as_secs())
            .collect();
        assert_eq!(times, [2, 5, 12, 15]);
        assert!(script.step(1).unwrap().1.reset);
        let (script, _) = read("[[steps]]\nat='1s'\nstatus=500").unwrap();
        assert!(script.step(1).is_none());
        assert!(Script::default().step(0).is_none());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("[[step]]\nat='1s'", "did you mean `steps`"),
            ("[[steps]]\nstatus=500", "at: needs a duration"),
            (
                "[[steps]]\nat='1s'\nlatancy='1s'",
                "steps[0].latancy: latancy=1s: unknown; did you mean `latency`",
            ),
            ("repeat='1s'\n[[steps]]\nat='2s'", "later than the last"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
}
