//! Results of pairs of bytes, looked up.

/// Pairs of bytes.
pub(crate) const PAIRS: usize = 1 << 16;

/// Pairs whose places in the table are found together.
const STRIP: usize = 512;

/// Look up the results of pairs, which the table has by the first byte, then the second.
///
/// Not for an instruction set: of this loop wide vectors are made that gather, which takes twice the
/// time. Results are stored by words: a store of each takes longer than the look.
#[inline(never)]
pub(crate) fn look_up<const N: usize>(
    table: &[[u8; N]; PAIRS],
    [xs, ys]: [&[u8]; 2],
    targets: &mut [[u8; N]],
) {
    let mut places = [0; STRIP];
    let strips = targets.chunks_mut(STRIP).zip(xs.chunks(STRIP).zip(ys.chunks(STRIP)));
    for (targets, (xs, ys)) in strips {
        for (place, (x, y)) in places.iter_mut().zip(xs.iter().zip(ys)) {
            *place = u16::from_be_bytes([*x, *y]);
        }
        let result = |place: &u16| table[usize::from(*place)];
        let whole = targets.len() / 8 * 8;
        let (words, _) = targets[..whole].as_flattened_mut().as_chunks_mut::<8>();
        for (word, places) in words.iter_mut().zip(places.chunks_exact(8 / N)) {
            let together = |all: u64, place| all << (8 * N) | number(result(place));
            *word = places.iter().rev().fold(0, together).to_le_bytes();
        }
        for (target, place) in targets[whole..].iter_mut().zip(&places[whole..]) {
            *target = result(place);
        }
    }
}

/// Up to eight bytes as the lowest of a word.
#[inline(always)]
fn number<const N: usize>(bytes: [u8; N]) -> u64 {
    let mut word = [0; 8];
    word[..N].copy_from_slice(&bytes);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a panic is a failed test

    use super::*;

    fn each_pair_has_its_result<const N: usize>() {
        let result = |pair: usize| std::array::from_fn(|at| (pair >> (8 * at)) as u8 ^ 0x5a);
        let table: Vec<[u8; N]> = (0..PAIRS).map(result).collect();
        for count in [0, 1, 7, 8, 511, 512, 1037] {
            let xs: Vec<u8> = (0..count).map(|at| (at * 37) as u8).collect();
            let ys: Vec<u8> = (0..count).map(|at| (at * 91 + at / 256) as u8).collect();
            let mut found = vec![[0; N]; count];
            look_up(table.first_chunk().unwrap(), [&xs, &ys], &mut found);
            let pair = |(x, y): (&u8, &u8)| usize::from(*x) << 8 | usize::from(*y);
            let expected: Vec<_> = xs.iter().zip(&ys).map(pair).map(result).collect();
            assert_eq!(found, expected, "{count}");
        }
    }

    #[test]
    fn pairs_are_looked_up_by_their_first_byte_then_the_second() {
        each_pair_has_its_result::<1>();
        each_pair_has_its_result::<2>();
    }
}
