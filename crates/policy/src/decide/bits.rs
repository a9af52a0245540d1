//! Sets of policies as bits, with a summary that lets wide sets be intersected in few steps.

/// Rows of equal width: for each, which policies it may concern.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    words: usize,
    summary: usize,
    /// For each row its summary words (one bit a word), then its words.
    cells: Vec<u64>,
}

impl Rows {
    /// Rows for policies numbered below `policies`.
    pub(crate) fn new(policies: usize) -> Self {
        let words = policies.div_ceil(64).max(1);
        Self { words, summary: words.div_ceil(64), cells: Vec::new() }
    }

    /// Appends a row.
    pub(crate) fn push(&mut self, policies: &[u32]) {
        let start = self.cells.len();
        self.cells.resize(start.saturating_add(self.summary).saturating_add(self.words), 0);
        let Some(row) = self.cells.get_mut(start..) else {
            return;
        };
        let (summary, words) = row.split_at_mut(self.summary);
        for policy in policies {
            let (word, bit) = (place(*policy), policy % 64);
            if let Some(cell) = words.get_mut(word) {
                *cell |= 1 << bit;
            }
            if let Some(cell) = summary.get_mut(word / 64) {
                *cell |= 1 << (word % 64);
            }
        }
    }

    /// Summary and words of a row.
    #[inline]
    fn row(&self, number: u32) -> Option<(&[u64], &[u64])> {
        let width = self.summary.wrapping_add(self.words);
        let start = crate::lower::index(number).checked_mul(width)?;
        Some(self.cells.get(start..start.checked_add(width)?)?.split_at(self.summary))
    }

    /// The first policy, in rising order, that all three rows have and `take` takes.
    #[inline]
    pub(crate) fn first(rows: [(&Self, u32); 3], mut take: impl FnMut(u32) -> bool) -> Option<u32> {
        let [a, b, c] = rows.map(|(rows, number)| rows.row(number));
        let ((a_sum, a), (b_sum, b), (c_sum, c)) = (a?, b?, c?);
        let mut base = 0u32;
        for ((x, y), z) in a_sum.iter().zip(b_sum).zip(c_sum) {
            let mut left = x & y & z;
            while left != 0 {
                let word = base.wrapping_add(left.trailing_zeros());
                left &= left.wrapping_sub(1);
                let at = place(word.wrapping_mul(64));
                let (Some(x), Some(y), Some(z)) = (a.get(at), b.get(at), c.get(at)) else {
                    continue;
                };
                let mut bits = x & y & z;
                while bits != 0 {
                    let policy = word.wrapping_mul(64).wrapping_add(bits.trailing_zeros());
                    bits &= bits.wrapping_sub(1);
                    if take(policy) {
                        return Some(policy);
                    }
                }
            }
            base = base.wrapping_add(64);
        }
        None
    }
}

fn place(policy: u32) -> usize {
    crate::lower::index(policy / 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_all_rows_have(
            sets in prop::array::uniform3(prop::collection::btree_set(0u32..9000, 0..400)),
        ) {
            let rows = sets.clone().map(|set| {
                let mut rows = Rows::new(9000);
                rows.push(&[]);
                rows.push(&set.into_iter().collect::<Vec<u32>>());
                rows
            });
            let [a, b, c] = &rows;
            let mut found = Vec::new();
            let none = Rows::first([(a, 1), (b, 1), (c, 1)], |policy| {
                found.push(policy);
                false
            });
            prop_assert_eq!(none, None);
            let expect: Vec<u32> =
                sets[0].iter().filter(|p| sets[1].contains(p) && sets[2].contains(p)).copied().collect();
            prop_assert_eq!(&found, &expect);
            let first = Rows::first([(a, 1), (b, 1), (c, 1)], |_| true);
            prop_assert_eq!(first, expect.first().copied());
            prop_assert_eq!(Rows::first([(a, 0), (b, 1), (c, 1)], |_| true), None);
        }
    }
}
