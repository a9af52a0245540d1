//! What a run of the program needs of a pack that was tested: not its examples and notes, which are a quarter of the text.

/// A pack without the values of `yes`, `no` and `note` as shipped packs write them: on one line, or as a list that ends with a bracket on a line of
/// its own. Every line stays in its place.
pub fn lean(text: &str) -> String {
    let mut lean = String::with_capacity(text.len());
    let mut in_list = false;
    for line in text.lines() {
        let skipped = in_list || ["yes =", "no =", "note ="].iter().any(|key| line.starts_with(key));
        if skipped {
            in_list = if in_list { line != "]" } else { line.ends_with("= [") };
        } else {
            lean.push_str(line);
        }
        lean.push('\n');
    }
    lean
}
