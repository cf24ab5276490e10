//! Operations that always come together in merges of task vectors, and have one instruction then.
//!
//! A trim keeps the greatest differences; a vote leaves out what has not the sign that most have. As
//! single operations they take eight instructions and more for each model, each of which writes and
//! reads a strip of memory; together they are one loop, with the same roundings.

use super::op::{Binary, Leaf, Op, Unary};
use super::stage::VOTERS;
use super::Node;

/// What a sum of weights must reach to be divided by.
pub(crate) const LEAST_WEIGHT: f64 = 1e-8;

/// `factor * (|d| >= least ? d : 0)`, of `d = x - y`, or `x` if there is no `y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trim {
    pub(super) d: usize,
    /// What the factor is multiplied with.
    pub(super) kept: usize,
    pub(super) x: usize,
    pub(super) y: Option<usize>,
    /// A scalar.
    pub(super) least: usize,
    /// A scalar; 1 if there is none.
    pub(super) factor: Option<usize>,
}

/// The sum of those values that have the elected sign, divided by the sum of their weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vote {
    /// Two to [`VOTERS`].
    pub(super) values: Vec<usize>,
    /// A sign is elected by how many values have it; else by that of their sum.
    pub(super) by_count: bool,
    /// Scalars; nothing is divided without.
    pub(super) weights: Option<Vec<usize>>,
}

/// The nodes of a program, and how many others need each.
#[derive(Clone, Copy)]
pub(super) struct Groups<'a> {
    pub(super) nodes: &'a [Node],
    pub(super) uses: &'a [usize],
}

impl Groups<'_> {
    /// What a node trims, if it does.
    pub(super) fn trim(&self, node: usize) -> Option<Trim> {
        let (kept, factor) = match self.binary(node, Binary::Multiply) {
            Some([x, y]) if self.is_scalar(x) => (y, Some(x)),
            Some([x, y]) if self.is_scalar(y) => (x, Some(y)),
            _ => (node, None),
        };
        if factor.is_some() && self.uses[kept] > 1 {
            return None;
        }
        let (condition, d) = self.or_zero(kept)?;
        let [magnitude, least] = self.binary(condition, Binary::GreaterEqual)?;
        let same = self.unary(magnitude, Unary::Abs) == Some(d);
        if !same || self.is_scalar(d) || !self.is_scalar(least) {
            return None;
        }
        let (x, y) = match self.binary(d, Binary::Subtract) {
            Some([x, y]) if !self.is_scalar(x) && !self.is_scalar(y) => (x, Some(y)),
            _ => (d, None),
        };
        Some(Trim { d, kept, x, y, least, factor })
    }

    /// What votes for a node, if anything does.
    pub(super) fn vote(&self, node: usize) -> Option<Vote> {
        let Some([mixed, divisor]) = self.binary(node, Binary::Divide) else {
            let (_, values, by_count) = self.mixed(node)?;
            return Some(Vote { values, by_count, weights: None });
        };
        let (agree, values, by_count) = self.mixed(mixed)?;
        let [small, one, sum] = self.choice(divisor)?;
        let [magnitude, least] = self.binary(small, Binary::Less)?;
        let guarded = self.unary(magnitude, Unary::Abs) == Some(sum)
            && self.is(least, LEAST_WEIGHT)
            && self.is(one, 1.0);
        let terms: Option<Vec<_>> =
            self.terms(sum).into_iter().map(|term| self.or_zero(term)).collect();
        let (of, weights): (Vec<_>, Vec<_>) = terms?.into_iter().unzip();
        let scalar = weights.iter().all(|weight| self.is_scalar(*weight));
        (guarded && scalar && of == agree).then_some(Vote {
            values,
            by_count,
            weights: Some(weights),
        })
    }

    /// A sum of what has the elected sign: where it has, what, and whether votes were counted.
    fn mixed(&self, node: usize) -> Option<(Vec<usize>, Vec<usize>, bool)> {
        let terms = self.terms(node);
        if !(2..=VOTERS).contains(&terms.len()) || terms.iter().any(|term| self.uses[*term] > 1) {
            return None;
        }
        let parts: Option<Vec<_>> = terms.into_iter().map(|term| self.or_zero(term)).collect();
        let (agree, values): (Vec<_>, Vec<_>) = parts?.into_iter().unzip();
        let mut elected = None;
        for (agree, value) in agree.iter().zip(&values) {
            let [product, zero] = self.binary(*agree, Binary::Greater)?;
            let [voter, sign] = self.binary(product, Binary::Multiply)?;
            let known = *elected.get_or_insert(sign) == sign;
            if voter != *value || self.is_scalar(voter) || !known || !self.is(zero, 0.0) {
                return None;
            }
        }
        let by_count = self.is_counted(elected?, &values)?;
        Some((agree, values, by_count))
    }

    /// Whether a sign is that of the numbers of votes, or of the sum of the values.
    fn is_counted(&self, elected: usize, values: &[usize]) -> Option<bool> {
        if let Some(count) = self.unary(elected, Unary::Sign) {
            let signs = self.terms(count).into_iter().map(|term| self.unary(term, Unary::Sign));
            return (signs.collect::<Option<Vec<_>>>()? == values).then_some(true);
        }
        let [positive, one, other] = self.choice(elected)?;
        let [sum, zero] = self.binary(positive, Binary::GreaterEqual)?;
        let signs = self.is(zero, 0.0) && self.is(one, 1.0) && self.is(other, -1.0);
        (signs && self.terms(sum) == values).then_some(false)
    }

    /// What is added up from left to right; no more than one too many.
    fn terms(&self, node: usize) -> Vec<usize> {
        let (mut terms, mut left) = (Vec::new(), node);
        while let Some([x, y]) = self.binary(left, Binary::Add) {
            terms.push(y);
            left = x;
            if terms.len() > VOTERS {
                break;
            }
        }
        terms.push(left);
        terms.reverse();
        terms
    }

    /// A condition and what there is where it holds; 0 is elsewhere.
    fn or_zero(&self, node: usize) -> Option<(usize, usize)> {
        let [condition, x, zero] = self.choice(node)?;
        self.is(zero, 0.0).then_some((condition, x))
    }

    fn choice(&self, node: usize) -> Option<[usize; 3]> {
        let Node { op: Op::Where, args, .. } = &self.nodes[node] else {
            return None;
        };
        args[..].try_into().ok()
    }

    fn binary(&self, node: usize, wanted: Binary) -> Option<[usize; 2]> {
        match &self.nodes[node] {
            Node { op: Op::Binary(op), args, .. } if *op == wanted => args[..].try_into().ok(),
            _ => None,
        }
    }

    fn unary(&self, node: usize, wanted: Unary) -> Option<usize> {
        match &self.nodes[node] {
            Node { op: Op::Unary(op), args, .. } if *op == wanted => args.first().copied(),
            _ => None,
        }
    }

    fn is_scalar(&self, node: usize) -> bool {
        self.nodes[node].kind.is_scalar()
    }

    /// Whether a node is a number, with its sign.
    fn is(&self, node: usize, number: f64) -> bool {
        let Op::Leaf(Leaf::Constant(value)) = self.nodes[node].op else {
            return false;
        };
        value.to_bits() == number.to_bits()
    }
}
