//! The goals of a run, and whether they were reached.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Reached,
    Missed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// What is held to the bound, with its unit.
    pub goal: String,
    pub bound: Bound,
    /// None where nothing was measured, which misses the goal.
    pub figure: Option<f64>,
    pub verdict: Outcome,
}

impl Verdict {
    pub fn new(goal: &str, figure: f64, bound: Bound) -> Verdict {
        let is_reached = match bound {
            Bound::AtMost(most) => figure <= most,
            Bound::AtLeast(least) => figure >= least,
        };
        Verdict {
            goal: goal.to_owned(),
            bound,
            figure: figure.is_finite().then_some(figure),
            verdict: if is_reached && figure.is_finite() {
                Outcome::Reached
            } else {
                Outcome::Missed
            },
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Bound::AtMost(most) => format!("≤ {most:.2}"),
            Bound::AtLeast(least) => format!("≥ {least:.2}"),
        };
        formatter.pad(&text)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Outcome::Reached => "reached",
            Outcome::Missed => "missed",
        })
    }
}

/// All goals of a run, in a table.
pub struct Goals<'a>(pub &'a [Verdict]);

impl fmt::Display for Goals<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (goal, figure, bound, verdict) = ("goal", "measured", "bound", "verdict");
        writeln!(formatter, "{goal:<72} {figure:>10} {bound:>11}  {verdict}")?;
        self.0
            .iter()
            .try_for_each(|verdict| writeln!(formatter, "{verdict}"))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict {
            goal,
            bound,
            figure,
            verdict,
        } = self;
        let figure = figure.map_or_else(|| "none".to_owned(), |figure| format!("{figure:.2}"));
        write!(formatter, "{goal:<72} {figure:>10} {bound:>11}  {verdict}")
    }
}
