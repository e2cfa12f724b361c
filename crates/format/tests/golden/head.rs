//! Heads: the open layout around a sealed body, and the body by itself. Sealing and signing are not this crate's: the
//! sealed bytes and the signature here are patterns.

use super::{LAKE, check, fixture, flipped, manifest};
use prunedb_core::{ContainerId, Policy, Term};
use prunedb_format::head::{Group, HeadBody, HeadParts, HeadPrefix, ManifestRef, SIGNATURE_BYTES};

fn head() -> Vec<u8> {
    let prefix = HeadPrefix {
        lake: LAKE,
        term: Term(9),
        number: 42,
        salt: [0x5a; 32],
        public_key: [0x9b; 32],
    };
    let sealed = [0xc3; 40];
    [&prefix.encode(sealed.len())[..], &sealed, &[0x51; SIGNATURE_BYTES]].concat()
}

fn body() -> HeadBody {
    let policy = Policy::new(2, 1).expect("a policy");
    let manifest = |number, first_edit, edits| ManifestRef {
        first_edit,
        edits,
        stream: manifest::stream(ContainerId::manifest(number)),
    };
    HeadBody {
        next_data: 8,
        next_manifest: 6,
        next_edit: 21,
        policy,
        nodes: ["10.0.0.1:9900", "10.0.0.2:9900", "node-3.example:9900", "[::1]:9900"]
            .map(str::to_owned)
            .to_vec(),
        groups: vec![
            Group { policy, slots: vec![0, 1, 2] },
            Group { policy: Policy::new(2, 2).expect("a policy"), slots: vec![3, 0, 2, 1] },
        ],
        manifests: vec![manifest(5, 0, 20), manifest(4, 20, 1)],
    }
}

#[test]
fn head_fixtures() {
    let reencode = |bytes: &[u8]| {
        HeadParts::decode(bytes).map(|parts| {
            let prefix = parts.prefix.encode(parts.sealed.len());
            assert_eq!(prefix, parts.prefix_bytes);
            [&prefix[..], parts.sealed, parts.signature].concat()
        })
    };
    let reencode_body = |bytes: &[u8]| HeadBody::decode(bytes).map(|body| body.encode());
    let mut newer = head();
    newer[8] = 2;
    let mut cut = head();
    cut.pop();
    let mut gap = body();
    gap.manifests[1].first_edit += 1;
    let mut nobody = body();
    nobody.groups[1].slots[0] = 4;
    check(
        "head",
        vec![
            fixture("layout.head", head(), reencode),
            fixture("four-nodes.body", body().encode(), reencode_body),
            fixture("flipped-magic.head", flipped(head(), 0), reencode)
                .refused(r#"Magic { what: "head""#),
            fixture("newer-version.head", newer, reencode)
                .refused(r#"Version { what: "head", found: 2"#),
            fixture("cut.head", cut, reencode).refused(r#"Truncated { what: "head""#),
            fixture("missing-edit.body", gap.encode(), reencode_body)
                .refused(r#"Value { what: "first edit of a manifest container", found: 21"#),
            fixture("slot-of-nobody.body", nobody.encode(), reencode_body)
                .refused(r#"Value { what: "node of a slot", found: 4"#),
        ],
    );
}
