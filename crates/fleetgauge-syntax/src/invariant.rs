//! Finds what has the same value at every step, so that it is evaluated once.

use crate::tree::{Expr, Shift};

/// Puts the largest expressions that have one value into [`Expr::Once`].
pub(crate) fn mark(expr: &mut Expr) {
    if mark_within(expr) {
        wrap(expr);
    }
}

/// Whether the whole of `expr` has one value; if not, those of its parts that have are marked.
fn mark_within(expr: &mut Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::Text(_) => true,
        Expr::Selector(selector) => is_held(selector.shift),
        Expr::Range(range) => is_held(range.selector.shift),
        Expr::Once(_) => true,
        Expr::Subquery(subquery) => {
            // Its steps are others than those around it, so its inside is looked at for itself.
            mark(&mut subquery.expr);
            is_held(subquery.shift)
        }
        Expr::Negate(inner) => mark_within(inner),
        Expr::Call(call) => {
            let is_timed = call.function.signature().is_timed;
            mark_all(&mut call.args.iter_mut().collect::<Vec<_>>(), is_timed)
        }
        Expr::Aggregate(aggregate) => {
            let mut parts: Vec<_> = aggregate.param.iter_mut().collect();
            parts.push(&mut aggregate.expr);
            mark_all(&mut parts, false)
        }
        Expr::Binary(binary) => mark_all(&mut [&mut binary.left, &mut binary.right], false),
    }
}

fn mark_all(parts: &mut [&mut Expr], is_timed: bool) -> bool {
    let same: Vec<bool> = parts.iter_mut().map(|part| mark_within(part)).collect();
    if !is_timed && same.iter().all(|same| *same) {
        return true;
    }
    for (part, _) in parts.iter_mut().zip(same).filter(|(_, same)| *same) {
        wrap(part);
    }
    false
}

fn is_held(shift: Shift) -> bool {
    shift.at.is_some()
}

fn wrap(expr: &mut Expr) {
    // A range is read where it is used, a literal costs nothing.
    let is_plain = matches!(
        expr,
        Expr::Number(_) | Expr::Text(_) | Expr::Range(_) | Expr::Subquery(_) | Expr::Once(_)
    );
    if !is_plain {
        let inner = std::mem::replace(expr, Expr::Number(0.0));
        *expr = Expr::Once(Box::new(inner));
    }
}
