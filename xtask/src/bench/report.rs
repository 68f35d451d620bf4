//! What a benchmark found: figures, and the budgets they are held to.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use super::Load;
use super::machine::Machine;
use crate::console::say;

/// A line of figures is at least so wide before its value.
const NAME_WIDTH: usize = 58;

/// What one benchmark found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    command: String,
    machine: Machine,
    /// Whether it ran with a fraction of its load, so that its figures mean nothing.
    quick: bool,
    sections: Vec<Section>,
    budgets: Vec<Budget>,
}

#[derive(Debug, Serialize)]
struct Section {
    title: String,
    figures: Vec<Figure>,
}

#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

/// A figure, usually a ratio, with what must hold and what is aimed at.
#[derive(Debug, Serialize)]
pub(crate) struct Budget {
    /// What is held to it.
    pub(crate) name: String,
    /// What was found.
    pub(crate) value: f64,
    /// Its unit; empty for a ratio.
    pub(crate) unit: &'static str,
    /// What must hold.
    pub(crate) must: Bound,
    /// What is aimed at.
    pub(crate) aim: Bound,
}

/// One side of a budget.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
}

impl Report {
    /// An empty report of `cargo xtask bench <command>`.
    pub(crate) fn new(command: impl Into<String>, load: Load) -> Self {
        Self {
            command: command.into(),
            machine: Machine::here(),
            quick: load == Load::Quick,
            sections: Vec::new(),
            budgets: Vec::new(),
        }
    }

    /// Begins a section; figures go to the last one begun.
    pub(crate) fn section(&mut self, title: impl Into<String>) {
        self.sections.push(Section {
            title: title.into(),
            figures: Vec::new(),
        });
    }

    /// Adds a figure to the last section.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        if self.sections.is_empty() {
            self.section("figures");
        }
        if let Some(section) = self.sections.last_mut() {
            section.figures.push(Figure {
                name: name.into(),
                value,
                unit,
            });
        }
    }

    /// Adds a figure that is held to a budget.
    pub(crate) fn budget(&mut self, budget: Budget) {
        self.budgets.push(budget);
    }

    /// Prints it. A budget that does not hold is shown, not failed: a benchmark is no test.
    pub(crate) fn tell(&self, json: bool) -> Result<()> {
        if json {
            say(serde_json::to_string_pretty(self)?);
        } else {
            say(self);
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cargo xtask bench {}", self.command)?;
        writeln!(f, "{}", self.machine)?;
        if self.quick {
            writeln!(f, "QUICK: a tenth of the load, figures of no worth")?;
        }
        for section in &self.sections {
            writeln!(f, "\n{}", section.title)?;
            for figure in &section.figures {
                let (name, value) = (&figure.name, Number(figure.value));
                writeln!(f, "  {name:NAME_WIDTH$} {value:>12} {}", figure.unit)?;
            }
        }
        if !self.budgets.is_empty() {
            writeln!(f, "\nbudgets")?;
        }
        for budget in &self.budgets {
            writeln!(
                f,
                "  {:NAME_WIDTH$} {:>12} {}   must {}: {}, aim {}: {}",
                budget.name,
                Number(budget.value),
                budget.unit,
                budget.must,
                budget.must.verdict(budget.value),
                budget.aim,
                budget.aim.verdict(budget.value),
            )?;
        }
        Ok(())
    }
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn verdict(self, value: f64) -> &'static str {
        if self.holds(value) { "holds" } else { "MISSED" }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {}", Number(*bound)),
            Self::AtMost(bound) => write!(f, "≤ {}", Number(*bound)),
        }
    }
}

/// Three digits that count, and thousands apart.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        let text = match value.abs() {
            size if size >= 1000.0 => thousands(value),
            size if size >= 100.0 => format!("{value:.0}"),
            size if size >= 10.0 => format!("{value:.1}"),
            size if size >= 1.0 => format!("{value:.2}"),
            _ => format!("{value:.3}"),
        };
        f.pad(&text)
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.as_str()),
    };
    let mut text = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Bound, Number};

    #[test]
    fn numbers_show_three_digits_that_count() {
        let shown: Vec<String> = [0.0512, 1.234, 12.34, 123.4, 1234.0, -1_234_567.0]
            .map(|value| Number(value).to_string())
            .into();
        assert_eq!(
            shown,
            ["0.051", "1.23", "12.3", "123", "1,234", "-1,234,567"]
        );
    }

    #[test]
    fn a_budget_holds_on_its_own_side() {
        assert_eq!(Bound::AtLeast(0.5).verdict(0.5), "holds");
        assert_eq!(Bound::AtLeast(0.5).verdict(0.49), "MISSED");
        assert_eq!(Bound::AtMost(25.0).verdict(25.1), "MISSED");
    }
}
