//! Every input that fuzzing found worth keeping still has the properties that fuzzing checks.

use std::path::Path;

#[path = "../../fuzz/properties.rs"]
mod properties;

#[rstest::rstest]
#[case::tag_list("tag_list", properties::tag_list)]
#[case::www_authenticate("www_authenticate", properties::www_authenticate)]
#[case::docker_config("docker_config", properties::docker_config)]
#[case::version_constraint("version_constraint", properties::version_constraint)]
fn the_corpus_holds(#[case] target: &str, #[case] property: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut inputs = 0;
    for entry in std::fs::read_dir(corpus.join(target)).unwrap() {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        property(&input);
        // What arrives is often cut short.
        for end in 0..input.len().min(512) {
            property(&input[..end]);
        }
        inputs += 1;
    }
    assert!(inputs >= 10, "{inputs} inputs for {target}");
}
