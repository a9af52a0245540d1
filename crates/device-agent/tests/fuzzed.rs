//! The fuzz target's function on what is near its corpus: answers of real servers and of swtpm.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::LazyLock;

use device_agent::fuzzing::agent;
use proptest::prelude::*;

static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/agent");
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_near_the_corpus_is_read_strictly(
        input in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        cuts in any::<[prop::sample::Index; 2]>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut bytes = CORPUS[input.index(CORPUS.len())].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        agent(&bytes);
        // The beginning of one input before the end of another.
        let tail = &CORPUS[other.index(CORPUS.len())];
        bytes.truncate(cuts[0].index(bytes.len()));
        bytes.extend(&tail[cuts[1].index(tail.len())..]);
        agent(&bytes);
    }
}
