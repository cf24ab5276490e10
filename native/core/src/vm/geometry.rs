//! The few numbers of a shape that programs depend on.

/// A tensor seen as rows of columns, and as vectors of its last dim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// All elements.
    pub(crate) elements: u64,
    /// Size of dim 0; 1 for a 0-d tensor.
    pub(crate) rows: u64,
    /// Elements per row.
    pub(crate) columns: u64,
    /// Size of the last dim; 1 for a 0-d tensor.
    pub(crate) last: u64,
}

impl Geometry {
    /// The geometry of a shape whose product has been checked.
    pub(crate) fn of(shape: &[u64]) -> Self {
        let elements = shape.iter().product();
        let rows = shape.first().copied().unwrap_or(1);
        let columns = shape.iter().skip(1).product();
        let last = shape.last().copied().unwrap_or(1);
        Self { elements, rows, columns, last }
    }
}
