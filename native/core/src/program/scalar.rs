//! Values of which there is one per tensor: float64, by the same names as for elements.

use super::op::{Binary, Leaf, Op, Unary};
use super::Program;
use crate::vm::geometry::Geometry;

/// Compute every scalar that is known after `passes` passes and was not before.
///
/// `values` has one place per node; those of reductions are filled in by their pass.
pub(crate) fn evaluate(
    program: &Program,
    passes: usize,
    hyperparameters: &[f64],
    geometry: &Geometry,
    values: &mut [f64],
) {
    for (index, node) in program.nodes().iter().enumerate() {
        if !node.kind.is_scalar() || node.level != passes {
            continue;
        }
        let arg = |place: usize| values[node.args[place]];
        let value = match node.op {
            Op::Leaf(Leaf::Scalar(index)) => hyperparameters[index],
            Op::Leaf(Leaf::Constant(value)) => value,
            Op::Leaf(Leaf::Rows) => geometry.rows as f64,
            Op::Leaf(Leaf::Numel) => geometry.elements as f64,
            Op::Unary(op) => unary(op, arg(0)),
            Op::Binary(op) => binary(op, arg(0), arg(1)),
            Op::Where => arg(if arg(0) == 0.0 { 2 } else { 1 }),
            // Reductions are known already, other leaves are no scalars.
            Op::Leaf(_) | Op::Reduce(..) | Op::KthAbs => continue,
        };
        values[index] = value;
    }
}

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn unary(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign => truth(x > 0.0) - truth(x < 0.0),
        Unary::Sqrt => x.sqrt(),
        Unary::Square => x * x,
        Unary::Exp => libm::exp(x),
        Unary::Log => libm::log(x),
        Unary::Sin => libm::sin(x),
        Unary::Cos => libm::cos(x),
        Unary::Acos => libm::acos(x),
        Unary::Tanh => libm::tanh(x),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Trunc => x.trunc(),
        Unary::Round => x.round_ties_even(),
        Unary::IsNan => truth(x.is_nan()),
        Unary::IsFinite => truth(x.is_finite()),
        Unary::LogicalNot => truth(x == 0.0),
    }
}

fn binary(op: Binary, x: f64, y: f64) -> f64 {
    match op {
        Binary::Add => x + y,
        Binary::Subtract => x - y,
        Binary::Multiply => x * y,
        Binary::Divide => x / y,
        Binary::Pow => libm::pow(x, y),
        Binary::Minimum => propagate(x, y, if x < y { x } else { y }),
        Binary::Maximum => propagate(x, y, if x > y { x } else { y }),
        Binary::Copysign => x.copysign(y),
        Binary::Less => truth(x < y),
        Binary::LessEqual => truth(x <= y),
        Binary::Greater => truth(x > y),
        Binary::GreaterEqual => truth(x >= y),
        Binary::Equal => truth(x == y),
        Binary::NotEqual => truth(x != y),
        Binary::LogicalAnd => truth(x != 0.0 && y != 0.0),
        Binary::LogicalOr => truth(x != 0.0 || y != 0.0),
    }
}

/// NaN if either is, as torch has it.
fn propagate(x: f64, y: f64, result: f64) -> f64 {
    if x.is_nan() || y.is_nan() {
        f64::NAN
    } else {
        result
    }
}
