//! Element types of safetensors files.

/// An element type that safetensors knows, with its size in bits.
///
/// All can be copied; [`Dtype::computable`] says which can be computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, non_camel_case_types)] // the variants are the format's own names
pub enum Dtype {
    BOOL,
    F4,
    F6_E2M3,
    F6_E3M2,
    U8,
    I8,
    F8_E5M2,
    F8_E4M3,
    F8_E5M2FNUZ,
    F8_E4M3FNUZ,
    F8_E8M0,
    I16,
    U16,
    F16,
    BF16,
    I32,
    U32,
    F32,
    C64,
    F64,
    I64,
    U64,
}

use Dtype::{
    BF16, BOOL, C64, F16, F32, F4, F64, F6_E2M3, F6_E3M2, F8_E4M3, F8_E4M3FNUZ, F8_E5M2,
    F8_E5M2FNUZ, F8_E8M0, I16, I32, I64, I8, U16, U32, U64, U8,
};

/// Every type with its name in the file and its size in bits.
const TABLE: [(Dtype, &str, u64); 22] = [
    (BOOL, "BOOL", 8),
    (F4, "F4", 4),
    (F6_E2M3, "F6_E2M3", 6),
    (F6_E3M2, "F6_E3M2", 6),
    (U8, "U8", 8),
    (I8, "I8", 8),
    (F8_E5M2, "F8_E5M2", 8),
    (F8_E4M3, "F8_E4M3", 8),
    (F8_E5M2FNUZ, "F8_E5M2FNUZ", 8),
    (F8_E4M3FNUZ, "F8_E4M3FNUZ", 8),
    (F8_E8M0, "F8_E8M0", 8),
    (I16, "I16", 16),
    (U16, "U16", 16),
    (F16, "F16", 16),
    (BF16, "BF16", 16),
    (I32, "I32", 32),
    (U32, "U32", 32),
    (F32, "F32", 32),
    (C64, "C64", 64),
    (F64, "F64", 64),
    (I64, "I64", 64),
    (U64, "U64", 64),
];

impl Dtype {
    /// The type of that name in a header, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// The name in a header.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Bits per element.
    pub fn bits(self) -> u64 {
        self.row().2
    }

    /// Bytes per element of a type that [`Dtype::computable`] accepts.
    pub(crate) fn bytes(self) -> usize {
        (self.bits() / 8) as usize
    }

    /// Whether programs can read and write the type.
    pub fn computable(self) -> bool {
        matches!(self, F16 | BF16 | F32 | F64 | F8_E4M3 | F8_E5M2)
    }

    /// Bytes of a tensor of this shape; `None` if that overflows or ends within a byte.
    pub fn size_of(self, shape: &[u64]) -> Option<u64> {
        let bits = elements(shape)?.checked_mul(self.bits())?;
        (bits % 8 == 0).then_some(bits / 8)
    }

    fn row(self) -> &'static (Self, &'static str, u64) {
        // The table is in the order of the variants (tested), so this is an index.
        &TABLE[self as usize]
    }
}

/// The number of elements of a shape, unless it overflows.
///
/// A zero makes the product zero, but only if the other sizes do not overflow by themselves:
/// no reader should have to multiply in a lucky order.
pub fn elements(shape: &[u64]) -> Option<u64> {
    let product = |acc: u64, size: &u64| acc.checked_mul((*size).max(1));
    let positive = shape.iter().try_fold(1, product)?;
    Some(if shape.contains(&0) { 0 } else { positive })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_variant_order() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, index);
            assert_eq!(Dtype::parse(row.1), Some(row.0));
        }
    }

    #[test]
    fn size_of_checks_overflow_and_whole_bytes() {
        assert_eq!(F16.size_of(&[3, 4]), Some(24));
        assert_eq!(F16.size_of(&[]), Some(2));
        assert_eq!(F4.size_of(&[3]), None);
        assert_eq!(F4.size_of(&[4]), Some(2));
        assert_eq!(F32.size_of(&[u64::MAX, 2]), None);
        assert_eq!(F32.size_of(&[u64::MAX, 2, 0]), None);
        assert_eq!(F32.size_of(&[0, 7]), Some(0));
    }
}
