//! The labels of a series as its target exposes them, and what becomes of them beside the target's own.

use super::limit::AppendError;
use fleetgauge_core::label::METRIC_NAME;

/// What an exposed label is renamed with where the target has one of the same name.
const EXPORTED: &str = "exported_";

/// Takes the labels of one exposed series, `__name__` included.
#[derive(Debug, Default)]
pub struct ExposedLabels {
    text: String,
    /// Where each label's name begins, where it ends and the value begins, and where that ends.
    cells: Vec<[usize; 3]>,
}

// === impl ExposedLabels ===

impl ExposedLabels {
    /// Adds a label. An empty value is "no such label".
    pub fn label(&mut self, name: &str, value: &str) {
        let start = self.text.len();
        self.text.push_str(name);
        let middle = self.text.len();
        self.text.push_str(value);
        self.cells.push([start, middle, self.text.len()]);
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.cells.clear();
    }

    /// Adds the target's labels, and sorts them all.
    ///
    /// The target's win: an exposed one of the same name is kept as `exported_NAME`, or with the prefix repeated
    /// until the name is free. Where `honor_labels`, the exposed one wins, and an empty one leaves out both.
    ///
    /// *Source*: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config>.
    pub(super) fn merge(
        &mut self,
        target: &[(String, String)],
        honor_labels: bool,
    ) -> Result<(), AppendError> {
        if honor_labels {
            self.sort()?;
            for (name, value) in target {
                if self.position(name).is_none() {
                    self.label(name, value);
                }
            }
            self.remove_empty();
            return self.sort();
        }
        self.remove_empty();
        self.sort()?;
        let mut conflicting = Vec::new();
        for (name, value) in target {
            if let Some(at) = self.position(name) {
                conflicting.push((name, self.value(self.cells[at]).to_owned()));
                self.cells.remove(at);
            }
            self.label(name, value);
        }
        // Those that carry the prefix already take what it leads to after those that do not.
        conflicting.sort_by_key(|(name, _)| name.len());
        for (name, value) in conflicting {
            let mut free = format!("{EXPORTED}{name}");
            while self.position(&free).is_some() {
                free.insert_str(0, EXPORTED);
            }
            self.label(&free, &value);
        }
        self.sort()
    }

    fn remove_empty(&mut self) {
        self.cells.retain(|[_, value, end]| value < end);
    }

    pub(super) fn metric_name(&self) -> Result<&str, AppendError> {
        let at = self.position(METRIC_NAME).ok_or(AppendError::NoMetricName)?;
        Ok(self.value(self.cells[at]))
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.cells.iter().map(|&cell| (self.name(cell), self.value(cell)))
    }

    fn sort(&mut self) -> Result<(), AppendError> {
        let text = &self.text;
        self.cells
            .sort_unstable_by(|a, b| text[a[0]..a[1]].cmp(&text[b[0]..b[1]]));
        let same = |pair: &&[[usize; 3]]| self.name(pair[0]) == self.name(pair[1]);
        match self.cells.windows(2).find(same) {
            None => Ok(()),
            Some(pair) => Err(AppendError::DuplicateLabel {
                name: self.name(pair[0]).to_owned(),
            }),
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.cells.iter().position(|&cell| self.name(cell) == name)
    }

    fn name(&self, cell: [usize; 3]) -> &str {
        &self.text[cell[0]..cell[1]]
    }

    fn value(&self, cell: [usize; 3]) -> &str {
        &self.text[cell[1]..cell[2]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(
        target: &[(&str, &str)],
        exposed: &[(&str, &str)],
        honor_labels: bool,
    ) -> Result<String, AppendError> {
        let mut labels = ExposedLabels::default();
        exposed.iter().for_each(|(n, v)| labels.label(n, v));
        let target: Vec<_> = target.iter().map(|&(n, v)| (n.into(), v.into())).collect();
        labels.merge(&target, honor_labels)?;
        Ok(labels.iter().map(|(n, v)| format!("{n}={v} ")).collect())
    }

    #[test]
    fn the_targets_labels_win_and_the_exposed_ones_are_kept() {
        let check = |target: &[(&str, &str)], exposed: &[(&str, &str)], expected: &str| {
            assert_eq!(merged(target, exposed, false).as_deref(), Ok(expected));
        };
        check(&[("job", "t")], &[("a", "1")], "a=1 job=t ");
        check(&[("job", "t")], &[("job", "x")], "exported_job=x job=t ");
        check(&[("job", "t")], &[("job", "")], "job=t ");
        check(
            &[("job", "t")],
            &[("job", "x"), ("exported_job", "y")],
            "exported_exported_job=x exported_job=y job=t ",
        );
        // Both are the target's: the shorter name is renamed first.
        check(
            &[("foo", "1"), ("exported_foo", "2")],
            &[("foo", "3"), ("exported_foo", "4")],
            "exported_exported_exported_foo=4 exported_exported_foo=3 exported_foo=2 foo=1 ",
        );
    }

    #[test]
    fn honoured_labels_win_over_the_targets() {
        let check = |target: &[(&str, &str)], exposed: &[(&str, &str)], expected: &str| {
            assert_eq!(merged(target, exposed, true).as_deref(), Ok(expected));
        };
        check(&[("job", "t")], &[("a", "1")], "a=1 job=t ");
        check(&[("job", "t"), ("pod", "p")], &[("job", "x")], "job=x pod=p ");
        check(&[("job", "t"), ("pod", "p")], &[("job", "")], "pod=p ");
        check(&[], &[("a", ""), ("b", "1")], "b=1 ");
    }

    #[test]
    fn a_label_that_occurs_twice_is_refused() {
        for honor_labels in [false, true] {
            let error = AppendError::DuplicateLabel { name: "a".into() };
            assert_eq!(
                merged(&[("a", "t")], &[("a", "1"), ("b", "2"), ("a", "3")], honor_labels),
                Err(error)
            );
        }
    }
}
