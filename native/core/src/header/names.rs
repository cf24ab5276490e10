//! Many names, each of them once, in little memory: found by their number, and the other way round.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// A list of names that are all different.
///
/// The text of all is one string; a table of numbers, half of it free, finds them by their hash.
#[derive(Debug, Clone, Default)]
pub struct Names {
    text: String,
    ends: Vec<u32>,
    slots: Vec<u32>,
    hashes: RandomState,
}

/// No name.
const FREE: u32 = u32::MAX;
const FEWEST: usize = 16;

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.ends == other.ends
    }
}

impl Eq for Names {}

impl Names {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The name of a number below [`len`](Self::len).
    #[must_use]
    pub fn get(&self, index: usize) -> &str {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin as usize..self.ends[index] as usize]
    }

    /// The number of a name, if it is there.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let found = self.slots[self.slot(name)];
        (found != FREE).then_some(found as usize)
    }

    /// Add a name and return its number; nothing if it is there already, or there is no room: all
    /// names together have less than 4 GiB.
    pub fn add(&mut self, name: &str) -> Option<usize> {
        let end = u32::try_from(self.text.len() + name.len()).ok()?;
        if 2 * (self.len() + 1) > self.slots.len() {
            self.grow();
        }
        let slot = self.slot(name);
        if self.slots[slot] != FREE {
            return None;
        }
        let index = self.len();
        self.slots[slot] = index as u32; // fewer than bytes of text, but for one empty name
        self.text.push_str(name);
        self.ends.push(end);
        Some(index)
    }

    /// Give back what memory is not needed, as no more are added.
    pub(crate) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Where a name is in the table, or would be.
    fn slot(&self, name: &str) -> usize {
        let last = self.slots.len() - 1; // a power of two less one
        let mut slot = self.hashes.hash_one(name) as usize & last;
        while self.slots[slot] != FREE && self.get(self.slots[slot] as usize) != name {
            slot = (slot + 1) & last;
        }
        slot
    }

    fn grow(&mut self) {
        self.slots = vec![FREE; (2 * self.slots.len()).max(FEWEST)];
        for index in 0..self.len() {
            let slot = self.slot(self.get(index));
            self.slots[slot] = index as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn names_are_found_by_their_numbers_and_numbers_by_their_names() {
        let mut names = Names::default();
        assert_eq!(names.find("a"), None);
        let all: Vec<String> = (0..1000).map(|i| format!("layers.{i}.weight")).collect();
        for (index, name) in all.iter().enumerate() {
            assert_eq!(names.add(name), Some(index));
        }
        assert_eq!((names.add(""), names.add("")), (Some(1000), None));
        assert_eq!(names.add("layers.7.weight"), None);
        assert_eq!(names.len(), 1001);
        for (index, name) in all.iter().enumerate() {
            assert_eq!((names.get(index), names.find(name)), (name.as_str(), Some(index)));
        }
        assert_eq!((names.get(1000), names.find("layers.1000.weight")), ("", None));
    }
}
