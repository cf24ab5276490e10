//! The vocabulary: every operation, its name and what it takes.

use crate::error::{Error, Result};

/// Values that no argument gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Leaf {
    /// The elements of an input.
    Input(usize),
    /// A hyperparameter.
    Scalar(usize),
    /// A number.
    Constant(f64),
    /// The index of an element along dim 0.
    RowIndex,
    /// The size of dim 0.
    Rows,
    /// The number of elements.
    Numel,
    /// Random numbers of a stream.
    Random(Distribution, u32),
}

/// Distributions of random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// 24-bit multiples of 2^-24 in [0, 1).
    Uniform,
    /// Mean 0, variance 1.
    Normal,
    /// As uniform, drawn for stochastic rounding; no operation of a program gives it.
    Rounding,
}

/// What a reduction keeps of the values along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum Reduction {
    Sum,
    Mean,
    VectorNorm,
    Vecdot,
    Min,
    Max,
    Any,
    All,
}

/// What a reduction runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// The whole tensor.
    Whole,
    /// Dim 0: one value per column of the 2-d view (rows, rest).
    Rows,
    /// The last dim: one value per vector.
    Last,
}

/// Declare an enum of operations together with the table of their names.
macro_rules! operations {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)] // the names say it
        pub enum $name { $($variant),* }

        impl $name {
            /// Every operation with its name.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $text)),*];

            fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().find(|row| row.1 == name).map(|row| row.0)
            }
        }
    };
}

operations! {
    /// Elementwise operations of one argument.
    Unary {
        Neg = "neg", Abs = "abs", Sign = "sign", Sqrt = "sqrt", Square = "square", Exp = "exp",
        Log = "log", Sin = "sin", Cos = "cos", Acos = "acos", Tanh = "tanh", Floor = "floor",
        Ceil = "ceil", Trunc = "trunc", Round = "round", IsNan = "isnan", IsFinite = "isfinite",
        LogicalNot = "logical_not",
    }
}

operations! {
    /// Elementwise operations of two arguments.
    Binary {
        Add = "add", Subtract = "subtract", Multiply = "multiply", Divide = "divide",
        Pow = "pow", Minimum = "minimum", Maximum = "maximum", Copysign = "copysign",
        Less = "less", LessEqual = "less_equal", Greater = "greater",
        GreaterEqual = "greater_equal", Equal = "equal", NotEqual = "not_equal",
        LogicalAnd = "logical_and", LogicalOr = "logical_or",
    }
}

/// One operation with its constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// No arguments.
    Leaf(Leaf),
    /// One argument, elementwise.
    Unary(Unary),
    /// Two arguments, elementwise.
    Binary(Binary),
    /// `where(condition, x, y)`.
    Where,
    /// One argument (two for [`Reduction::Vecdot`]) along an axis.
    Reduce(Reduction, Axis),
    /// `kth_abs(x, k)`.
    KthAbs,
}

impl Op {
    /// The operation of that name with these constants.
    pub fn parse(name: &str, constants: &[f64]) -> Result<Self> {
        if let Some(op) = Unary::parse(name) {
            return none(constants, Self::Unary(op));
        }
        if let Some(op) = Binary::parse(name) {
            return none(constants, Self::Binary(op));
        }
        if let Some(op) = reduction(name) {
            return Ok(Self::Reduce(op, axis(constants)?));
        }
        match name {
            "where" => none(constants, Self::Where),
            "kth_abs" => none(constants, Self::KthAbs),
            _ => leaf(name, constants).map(Self::Leaf),
        }
    }

    /// How many arguments it takes.
    pub fn arity(self) -> usize {
        match self {
            Self::Leaf(_) => 0,
            Self::Binary(_) | Self::KthAbs | Self::Reduce(Reduction::Vecdot, _) => 2,
            Self::Unary(_) | Self::Reduce(..) => 1,
            Self::Where => 3,
        }
    }
}

fn leaf(name: &str, constants: &[f64]) -> Result<Leaf> {
    Ok(match name {
        "input" => Leaf::Input(index(constants, f64::from(u16::MAX))? as usize),
        "scalar" => Leaf::Scalar(index(constants, f64::from(u16::MAX))? as usize),
        "constant" => Leaf::Constant(one(constants)?),
        "row_index" => none(constants, Leaf::RowIndex)?,
        "rows" => none(constants, Leaf::Rows)?,
        "numel" => none(constants, Leaf::Numel)?,
        "random_uniform" => Leaf::Random(Distribution::Uniform, stream(constants)?),
        "random_normal" => Leaf::Random(Distribution::Normal, stream(constants)?),
        _ => return Err(Error::program("unknown op")),
    })
}

fn reduction(name: &str) -> Option<Reduction> {
    Some(match name {
        "sum" => Reduction::Sum,
        "mean" => Reduction::Mean,
        "vector_norm" => Reduction::VectorNorm,
        "vecdot" => Reduction::Vecdot,
        "min" => Reduction::Min,
        "max" => Reduction::Max,
        "any" => Reduction::Any,
        "all" => Reduction::All,
        _ => return None,
    })
}

fn axis(constants: &[f64]) -> Result<Axis> {
    let code = one(constants)?;
    let axes = [(-2.0, Axis::Whole), (0.0, Axis::Rows), (-1.0, Axis::Last)];
    let found = axes.iter().find(|row| row.0 == code).map(|row| row.1);
    found.ok_or_else(|| Error::program(format!("axis is {code}; allowed: -2, -1, 0")))
}

fn stream(constants: &[f64]) -> Result<u32> {
    Ok(index(constants, f64::from(u32::MAX))? as u32)
}

/// The one constant as a whole number from 0 to `limit`.
fn index(constants: &[f64], limit: f64) -> Result<u64> {
    let value = one(constants)?;
    if value.fract() != 0.0 || !(0.0..=limit).contains(&value) {
        let message = format!("constant is {value}; allowed: whole numbers from 0 to {limit}");
        return Err(Error::program(message));
    }
    Ok(value as u64)
}

fn one(constants: &[f64]) -> Result<f64> {
    match constants {
        [value] => Ok(*value),
        _ => Err(Error::program(format!("takes 1 constant, {} given", constants.len()))),
    }
}

fn none<T>(constants: &[f64], value: T) -> Result<T> {
    if constants.is_empty() {
        return Ok(value);
    }
    Err(Error::program(format!("takes no constants, {} given", constants.len())))
}
