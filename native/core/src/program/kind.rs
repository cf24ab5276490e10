//! What a value is: a number or a truth, and one per what.

use super::op::{Axis, Binary, Leaf, Op, Reduction, Unary};
use crate::error::{Error, Result};

/// How many values there are of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// One per tensor; float64.
    Scalar,
    /// One per column, repeated along dim 0; float32.
    Columns,
    /// One per vector of the last dim, repeated along it; float32.
    Vectors,
    /// One per element; float32.
    Elements,
}

/// The static type of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// How many values.
    pub extent: Extent,
    /// Whether they are truths; kept as 0 and 1 in the number's format.
    pub boolean: bool,
}

impl Kind {
    const fn number(extent: Extent) -> Self {
        Self { extent, boolean: false }
    }

    /// Whether there is one value per tensor.
    pub fn is_scalar(self) -> bool {
        self.extent == Extent::Scalar
    }

    /// The kind of an operation's result, or why it cannot take these arguments.
    pub(super) fn of(op: Op, args: &[Self]) -> Result<Self> {
        match (op, args) {
            (Op::Leaf(leaf), _) => Ok(Self::number(leaf_extent(leaf))),
            (Op::Unary(op), [x]) => unary(op, *x),
            (Op::Binary(op), [x, y]) => binary(op, *x, *y),
            (Op::Where, [condition, x, y]) => select(*condition, *x, *y),
            (Op::Reduce(op, axis), _) => reduce(op, axis, args),
            (Op::KthAbs, [x, k]) => kth_abs(*x, *k),
            _ => Err(Error::program("wrong number of arguments")),
        }
    }
}

fn leaf_extent(leaf: Leaf) -> Extent {
    match leaf {
        Leaf::Input(_) | Leaf::RowIndex | Leaf::Random(..) => Extent::Elements,
        Leaf::Scalar(_) | Leaf::Constant(_) | Leaf::Rows | Leaf::Numel => Extent::Scalar,
    }
}

/// How many values there are where two meet.
fn join(x: Extent, y: Extent) -> Extent {
    match (x, y) {
        (Extent::Scalar, other) | (other, Extent::Scalar) => other,
        (x, y) if x == y => x,
        _ => Extent::Elements,
    }
}

fn unary(op: Unary, x: Kind) -> Result<Kind> {
    if op == Unary::LogicalNot {
        truths(&[x])?;
    }
    let boolean = matches!(op, Unary::LogicalNot | Unary::IsNan | Unary::IsFinite);
    Ok(Kind { extent: x.extent, boolean })
}

fn binary(op: Binary, x: Kind, y: Kind) -> Result<Kind> {
    use Binary::{Equal, Greater, GreaterEqual, Less, LessEqual, LogicalAnd, LogicalOr, NotEqual};
    let boolean = match op {
        LogicalAnd | LogicalOr => {
            truths(&[x, y])?;
            true
        }
        Less | LessEqual | Greater | GreaterEqual | Equal | NotEqual => true,
        _ => false,
    };
    Ok(Kind { extent: join(x.extent, y.extent), boolean })
}

fn select(condition: Kind, x: Kind, y: Kind) -> Result<Kind> {
    truths(&[condition])?;
    let extent = join(condition.extent, join(x.extent, y.extent));
    Ok(Kind { extent, boolean: x.boolean && y.boolean })
}

fn reduce(op: Reduction, axis: Axis, args: &[Kind]) -> Result<Kind> {
    let boolean = matches!(op, Reduction::Any | Reduction::All);
    if boolean {
        truths(args)?;
    }
    let extent = args.iter().map(|kind| kind.extent).fold(Extent::Scalar, join);
    let repeatable = boolean || matches!(op, Reduction::Min | Reduction::Max | Reduction::Mean);
    match (extent, axis) {
        (Extent::Elements, _) => {}
        (Extent::Scalar, _) => {
            return Err(Error::program("nothing to reduce: one value per tensor"))
        }
        (_, Axis::Whole) if repeatable => {}
        _ => return Err(Error::program("values of a reduction cannot be reduced again like this")),
    }
    let extent = match axis {
        Axis::Whole => Extent::Scalar,
        Axis::Rows => Extent::Columns,
        Axis::Last => Extent::Vectors,
    };
    Ok(Kind { extent, boolean })
}

fn kth_abs(x: Kind, k: Kind) -> Result<Kind> {
    if x.extent != Extent::Elements {
        return Err(Error::program("x must have one value per element"));
    }
    if k != Kind::number(Extent::Scalar) {
        return Err(Error::program("k must be one number per tensor"));
    }
    Ok(Kind::number(Extent::Scalar))
}

fn truths(kinds: &[Kind]) -> Result<()> {
    if kinds.iter().all(|kind| kind.boolean) {
        return Ok(());
    }
    Err(Error::program("takes truths, numbers given"))
}
