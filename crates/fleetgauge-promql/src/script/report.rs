//! What came of a script.

use std::fmt;

use fleetgauge_core::printable::Printable;

/// What came of a script, counted in evaluations.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The script's name.
    pub script: String,
    /// Evaluations whose outcome was as expected.
    pub passed: usize,
    /// The others, in the order of the script.
    pub failures: Vec<Failure>,
}

/// An evaluation whose outcome was not as expected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The script's name.
    pub script: String,
    /// The number of the line of the `eval` (or of the `load` that failed), from 1.
    pub line: usize,
    /// What was evaluated: `eval instant at 5m up`.
    pub command: String,
    /// What is not as expected, a sentence for each difference.
    pub differences: Vec<String>,
    /// What was expected, in the language of scripts, a line each.
    pub expected: Vec<String>,
    /// What came, in the same way.
    pub got: Vec<String>,
}

// === impl Report ===

impl Report {
    /// Whether everything was as expected.
    pub fn is_ok(&self) -> bool {
        self.failures.is_empty()
    }
}

/// A line for the script, and each failure below it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed) = (self.passed, self.failures.len());
        write!(f, "{}: {passed} passed, {failed} failed", Printable(&self.script))?;
        for failure in &self.failures {
            write!(f, "\n{failure}")?;
        }
        Ok(())
    }
}

/// The place and the command, then what is wrong, what was expected and what came.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (script, command) = (Printable(&self.script), Printable(&self.command));
        write!(f, "{script}:{}: {command}", self.line)?;
        for difference in &self.differences {
            write!(f, "\n  {}", Printable(difference))?;
        }
        for (title, lines) in [("expected", &self.expected), ("got", &self.got)] {
            write!(f, "\n  {title}:")?;
            for line in lines {
                write!(f, "\n    {}", Printable(line))?;
            }
            if lines.is_empty() {
                write!(f, " nothing")?;
            }
        }
        Ok(())
    }
}
