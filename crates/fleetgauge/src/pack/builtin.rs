//! The texts of the built-in packs.

/// Name and text of each, the one that most need first.
const BUILTIN: [(&str, &str); 11] = [
    ("inference", include_str!("../../packs/inference.yaml")),
    ("vllm", include_str!("../../packs/vllm.yaml")),
    ("sglang", include_str!("../../packs/sglang.yaml")),
    ("trtllm", include_str!("../../packs/trtllm.yaml")),
    ("ray", include_str!("../../packs/ray.yaml")),
    ("triton", include_str!("../../packs/triton.yaml")),
    ("tgi", include_str!("../../packs/tgi.yaml")),
    ("llamacpp", include_str!("../../packs/llamacpp.yaml")),
    ("dynamo", include_str!("../../packs/dynamo.yaml")),
    ("dcgm", include_str!("../../packs/dcgm.yaml")),
    ("epp", include_str!("../../packs/epp.yaml")),
];

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

pub(super) fn text(name: &str) -> Option<&'static str> {
    let found = BUILTIN.iter().find(|(builtin, _)| *builtin == name);
    found.map(|(_, text)| *text)
}
