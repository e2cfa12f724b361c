//! AES-256-GCM of one leaf's payload, in the cache.

use crate::race::{Race, Rival};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, aead::AeadInOut};
use anyhow::anyhow;
use prunedb_bench::{Meter, codec::Coding};
use prunedb_core::{
    Policy,
    units::{LEAF_BYTES, TAG_BYTES},
};
use ring::aead;
use std::hint::black_box;

const LEAVES_PER_RUN: usize = 1000;

pub(crate) fn race(meter: Meter, policy: Policy) -> anyhow::Result<Race> {
    eprintln!("seal");
    let ours = Coding::new(policy)?.seal_gbps(meter);
    let unbound = aead::UnboundKey::new(&aead::AES_256_GCM, &[1; 32]);
    let key = aead::LessSafeKey::new(unbound.map_err(|_| anyhow!("ring refuses the key"))?);
    let ring = leaves(meter, |payload| {
        let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::empty(), payload);
        let _ = black_box(tag.expect("far below the cipher's limit"));
    });
    let cipher = Aes256Gcm::new(&[1; 32].into());
    let rust_crypto = leaves(meter, |payload| {
        let tag = cipher.encrypt_inout_detached(&Nonce::from([0; 12]), &[], payload.into());
        let _ = black_box(tag.expect("far below the cipher's limit"));
    });
    let rival = |name, gbps| Rival { name, gbps: Some(gbps) };
    let peers = vec![rival("ring", ring), rival("aes-gcm", rust_crypto)];
    Ok(Race::new("seal AES-256-GCM leaves, in cache".into(), ours, peers))
}

fn leaves(meter: Meter, seal: impl Fn(&mut [u8]) + Sync) -> f64 {
    meter.gbps(LEAVES_PER_RUN * LEAF_BYTES, || {
        let mut payload = vec![5; LEAF_BYTES - TAG_BYTES];
        let seal = &seal;
        move || (0..LEAVES_PER_RUN).for_each(|_| seal(black_box(&mut payload)))
    })
}
