//! The tensors of a file in columns: there may be a million of them.

use std::collections::HashMap;

use super::names::Names;
use crate::dtype::Dtype;

/// One tensor of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorInfo<'a> {
    /// Key of the state dict.
    pub name: &'a str,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: &'a [u64],
    /// First byte, from the start of the file.
    pub begin: u64,
    /// One past the last byte.
    pub end: u64,
}

/// Tensors with different names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    names: Names,
    dtypes: Vec<Dtype>,
    shapes: Vec<u32>,
    begins: Vec<u64>,
    distinct: Vec<Vec<u64>>,
    known: HashMap<Vec<u64>, u32>,
}

impl Table {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.begins.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begins.is_empty()
    }

    /// The tensor of a number below [`len`](Self::len).
    #[must_use]
    pub fn get(&self, index: usize) -> TensorInfo<'_> {
        let (begin, dtype) = (self.begins[index], self.dtypes[index]);
        let shape = &self.distinct[self.shapes[index] as usize];
        let end = begin + dtype.size_of(shape).unwrap_or(0); // has one: it was checked
        TensorInfo { name: self.names.get(index), dtype, shape, begin, end }
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = TensorInfo<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The number of the tensor of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.find(name)
    }

    /// Whether another table has the same names in the same order.
    #[must_use]
    pub fn same_names(&self, other: &Self) -> bool {
        self.names == other.names
    }

    /// Which of the shapes that differ a tensor has, and how many these are.
    #[must_use]
    pub fn shape_number(&self, index: usize) -> (usize, usize) {
        (self.shapes[index] as usize, self.distinct.len())
    }

    /// Add a tensor; tells whether its name is new.
    pub(super) fn add(&mut self, name: &str, dtype: Dtype, shape: &[u64], begin: u64) -> bool {
        if self.names.add(name).is_none() {
            return false;
        }
        let number = if let Some(number) = self.known.get(shape) {
            *number
        } else {
            let number = self.distinct.len() as u32; // no more than there are names
            self.distinct.push(shape.to_vec());
            self.known.insert(shape.to_vec(), number);
            number
        };
        self.dtypes.push(dtype);
        self.shapes.push(number);
        self.begins.push(begin);
        true
    }

    /// Whether a name is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.find(name).is_some()
    }

    /// The same tensors by ascending offset, with `data` added to all offsets.
    pub(super) fn placed(mut self, data: u64) -> Self {
        let place = |table: &Self, index: usize| (table.begins[index], table.get(index).end);
        let sorted = (1..self.len()).all(|at| place(&self, at - 1) <= place(&self, at));
        if !sorted {
            let mut order: Vec<usize> = (0..self.len()).collect();
            order.sort_by_key(|index| place(&self, *index));
            let mut sorted = Self::default();
            for index in order {
                let tensor = self.get(index);
                sorted.add(tensor.name, tensor.dtype, tensor.shape, tensor.begin);
            }
            self = sorted;
        }
        for begin in &mut self.begins {
            *begin += data;
        }
        self.known = HashMap::new();
        self.names.shrink();
        self.dtypes.shrink_to_fit();
        self.shapes.shrink_to_fit();
        self.begins.shrink_to_fit();
        self
    }
}
