//! The labels of many series, which queries share.

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

use super::memo::{Derivation, Memo};
use super::{LabelSet, Projection};
use crate::budget::Budget;
use crate::error::EvalError;

/// The labels of many series, in their order. Cheap to clone.
///
/// What queries make of a list that a [`Window`](crate::window::Window) gives is kept with that list, for those who ask for
/// the same again.
#[derive(Clone, Debug, Default)]
pub struct LabelList {
    labels: Arc<Vec<LabelSet>>,
    /// Where what is made of it is kept.
    memo: Option<Arc<Memo>>,
}

/// A list without metric names, types and units.
#[derive(Debug)]
pub(crate) struct Nameless {
    pub(crate) labels: LabelList,
    /// Whether not all of the series had the same ones.
    pub(crate) names_differ: bool,
}

/// What is made of fewer is made sooner than it is looked up.
const MIN_KEPT: usize = 64;

// === impl LabelList ===

impl LabelList {
    /// A list that is held by who gives it, and of which is kept what queries make of it.
    pub(crate) fn kept(labels: Vec<LabelSet>, memo: Arc<Memo>) -> Self {
        Self {
            labels: Arc::new(labels),
            memo: Some(memo),
        }
    }

    pub(crate) fn with_capacity(count: usize) -> Self {
        Vec::with_capacity(count).into()
    }

    /// Those at these places, which are ascending.
    pub(crate) fn chosen(&self, places: Vec<u32>) -> Self {
        let places: Arc<[u32]> = places.into();
        let how = Derivation::Chosen(Arc::clone(&places));
        let memo = self.memo.as_ref().filter(|_| self.len() >= MIN_KEPT);
        if let Some((known, _)) = memo.and_then(|memo| memo.get::<Self>(&self.labels, &how)) {
            return Self::clone(&known);
        }
        let bytes = places.len() * (size_of::<LabelSet>() + size_of::<u32>());
        let chosen = places.iter().map(|&at| self.labels[at as usize].clone());
        let chosen = self.made(chosen.collect());
        if let Some(memo) = memo {
            memo.put(&self.labels, how, &Arc::new(chosen.clone()), bytes);
        }
        chosen
    }

    pub(crate) fn nameless(&self, budget: &mut Budget) -> Result<Arc<Nameless>, EvalError> {
        self.derived(Derivation::Nameless, budget, |budget| {
            budget.take_list::<LabelSet>(self.len())?;
            let mut name = Projection::of_schema();
            let mut without = Projection::without_name();
            let mut names_differ = false;
            let mut nameless = Vec::with_capacity(self.len());
            for labels in self.iter() {
                names_differ = names_differ || !name.agrees(&self[0], labels);
                nameless.push(without.apply(labels));
                budget.spend_series(name.made() + without.made())?;
            }
            Ok(Nameless {
                labels: self.made(nameless),
                names_differ,
            })
        })
    }

    /// What `make` makes of it, which is of nothing but its labels; or what it made before.
    pub(crate) fn derived<T: Any + Send + Sync>(
        &self,
        how: Derivation,
        budget: &mut Budget,
        make: impl FnOnce(&mut Budget) -> Result<T, EvalError>,
    ) -> Result<Arc<T>, EvalError> {
        let Some(memo) = self.memo.as_ref().filter(|_| self.len() >= MIN_KEPT) else {
            return make(budget).map(Arc::new);
        };
        if let Some((known, bytes)) = memo.get(&self.labels, &how) {
            // So that it does not depend on others whether a query may be.
            budget.take_bytes(bytes)?;
            return Ok(known);
        }
        let before = budget.bytes();
        let result = Arc::new(make(budget)?);
        memo.put(&self.labels, how, &result, budget.bytes() - before);
        Ok(result)
    }

    /// A list that is made of nothing but this one: what is made of it is kept as well.
    pub(crate) fn made(&self, labels: Vec<LabelSet>) -> Self {
        Self {
            labels: Arc::new(labels),
            memo: self.memo.clone(),
        }
    }

    /// To change it: what is kept of it is of the others who have it.
    pub(crate) fn to_mut(&mut self) -> &mut Vec<LabelSet> {
        self.memo = None;
        Arc::make_mut(&mut self.labels)
    }

    pub(crate) fn push(&mut self, labels: LabelSet) {
        self.to_mut().push(labels);
    }
}

impl Deref for LabelList {
    type Target = [LabelSet];

    fn deref(&self) -> &[LabelSet] {
        &self.labels
    }
}

impl From<Vec<LabelSet>> for LabelList {
    /// A list of which nothing is kept.
    fn from(labels: Vec<LabelSet>) -> Self {
        Self {
            labels: Arc::new(labels),
            memo: None,
        }
    }
}

impl FromIterator<LabelSet> for LabelList {
    fn from_iter<I: IntoIterator<Item = LabelSet>>(labels: I) -> Self {
        labels.into_iter().collect::<Vec<_>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EngineConfig;

    fn list(memo: &Arc<Memo>) -> LabelList {
        let labels = (0..MIN_KEPT).map(|i| LabelSet::from_pairs([("i", i.to_string())]));
        LabelList::kept(labels.collect(), Arc::clone(memo))
    }

    #[test]
    fn what_is_made_of_a_list_is_made_once() {
        let memo = Arc::new(Memo::new(1 << 20));
        let mut budget = Budget::new(&EngineConfig::default());
        let list = list(&memo);
        let places = || (0..MIN_KEPT as u32 - 1).collect::<Vec<_>>();
        let chosen = list.chosen(places());
        let again = list.chosen(places());
        assert!(Arc::ptr_eq(&chosen.labels, &again.labels));
        assert_eq!(chosen.last(), list.get(MIN_KEPT - 2));
        let other = list.chosen((1..MIN_KEPT as u32).collect());
        assert_eq!(other.first(), list.get(1));
        let mut count = 0;
        let mut make = |budget: &mut Budget| {
            let made = list.derived(Derivation::Order, budget, |budget| {
                count += 1;
                budget.take_bytes(100).map(|()| count)
            });
            *made.expect("in bounds")
        };
        assert_eq!((make(&mut budget), make(&mut budget)), (1, 1));
        // What a query may take does not depend on who asked before.
        assert_eq!(budget.bytes(), 200);
    }

    #[test]
    fn a_list_that_is_changed_is_another_one() {
        let memo = Arc::new(Memo::new(1 << 20));
        let mut budget = Budget::new(&EngineConfig::default());
        let list = list(&memo);
        let count = |list: &LabelList, budget: &mut Budget| {
            let count = list.derived(Derivation::Order, budget, |_| Ok(list.len()));
            *count.expect("in bounds")
        };
        assert_eq!(count(&list, &mut budget), MIN_KEPT);
        let mut more = list.clone();
        more.push(LabelSet::empty());
        assert_eq!(
            (count(&more, &mut budget), count(&list, &mut budget)),
            (MIN_KEPT + 1, MIN_KEPT)
        );
        let mut fewer = list.clone();
        fewer.to_mut().pop();
        fewer.to_mut().pop();
        assert_eq!(count(&fewer, &mut budget), MIN_KEPT - 2);
    }
}
