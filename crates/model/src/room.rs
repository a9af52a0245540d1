//! Room in tables that hold an entry for each device.

/// Makes room for one more at the end: an eighth more at a time. A list that doubles holds up to half of its room empty, which is much where
/// there are many devices and every one of them counts.
pub fn for_one<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 8 + 16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_empty_and_it_seldom_grows() {
        let (mut list, mut grown, mut room) = (Vec::new(), 0, 0);
        for n in 0..100_000_u32 {
            for_one(&mut list);
            list.push(n);
            assert!(list.capacity() <= list.len() + list.len() / 8 + 16);
            grown += u32::from(list.capacity() != room);
            room = list.capacity();
        }
        assert!(grown < 100, "{grown}");
    }
}
