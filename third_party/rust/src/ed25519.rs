//! Ed25519 verification under the ZIP-215 rules, single and batched, behind the C header `nacre_rust.h`.
//!
//! The rules: the point encodings of key and R need not be canonical and may be of small order, s must be canonical,
//! and the equation is multiplied by the cofactor. Only under these do single and batched verification agree for every
//! input, which a chain needs: the nodes that checked a signature alone and those that checked it in a batch must reach
//! the same verdict.
//!
//! The batch is this file's own sum over curve25519-dalek instead of `ed25519_zebra::batch`, because that one draws its
//! coefficients from a generator in the order of a randomly seeded hash map. Here the coefficients are a function of the
//! batch alone, so verification is pure and two machines compute the very same sum.
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use ed25519_zebra::{Signature, VerificationKey};
use sha2::{Digest, Sha512};
use std::{iter, slice};

const COEFFICIENT_CONTEXT: &[u8] = b"nacre/ed25519-batch/1";
const KEY: usize = 32;
const SIGNATURE: usize = 64;
const COEFFICIENT: usize = 16;

struct Item<'a> {
    key: &'a [u8; KEY],
    signature: &'a [u8; SIGNATURE],
    message: &'a [u8],
}

impl Item<'_> {
    fn r(&self) -> [u8; 32] {
        let (r, _) = self.signature.split_at(32);
        r.try_into().expect("32 of 64 bytes")
    }

    fn s(&self) -> Option<Scalar> {
        let (_, s) = self.signature.split_at(32);
        Scalar::from_canonical_bytes(s.try_into().expect("32 of 64 bytes")).into()
    }

    /// The challenge k = SHA-512(R || A || M) mod l; it also stands for the message in the batch's seed.
    fn challenge(&self) -> Scalar {
        Scalar::from_hash(Sha512::new().chain_update(self.r()).chain_update(self.key).chain_update(self.message))
    }

    fn verify(&self) -> bool {
        VerificationKey::try_from(*self.key)
            .and_then(|key| key.verify(&Signature::from_bytes(self.signature), self.message))
            .is_ok()
    }
}

/// The 128-bit coefficients: SHA-512(seed || block number) in counter mode, where the seed hashes the number of items
/// and every key, signature and challenge. Whoever wants a bad signature to cancel out must find it by guessing against
/// a hash that changes with each guess.
fn coefficients(items: &[Item], challenges: &[Scalar]) -> Vec<Scalar> {
    let mut seed = Sha512::new().chain_update(COEFFICIENT_CONTEXT).chain_update((items.len() as u64).to_be_bytes());
    for (item, challenge) in items.iter().zip(challenges) {
        seed.update(item.key);
        seed.update(item.signature);
        seed.update(challenge.as_bytes());
    }
    let seed = seed.finalize();
    let per_block = 64 / COEFFICIENT;
    let mut out = Vec::with_capacity(items.len() + per_block);
    for block in 0..items.len().div_ceil(per_block) {
        let bytes = Sha512::new().chain_update(seed).chain_update((block as u64).to_be_bytes()).finalize();
        for part in bytes.chunks_exact(COEFFICIENT) {
            out.push(Scalar::from(u128::from_le_bytes(part.try_into().expect("16 bytes"))));
        }
    }
    out.truncate(items.len());
    out
}

/// 8 (-sum(z s) B + sum(z R) + sum(z k A)) = 0, with one term per distinct key.
fn sum_is_zero(items: &[Item]) -> Option<bool> {
    let challenges: Vec<Scalar> = items.iter().map(Item::challenge).collect();
    let coefficients = coefficients(items, &challenges);
    let mut by_key: Vec<usize> = (0..items.len()).collect();
    by_key.sort_unstable_by_key(|&i| (items[i].key, i));

    let mut base = Scalar::ZERO;
    let mut scalars = Vec::with_capacity(2 * items.len());
    let mut points: Vec<EdwardsPoint> = Vec::with_capacity(2 * items.len());
    for (item, z) in items.iter().zip(&coefficients) {
        base -= z * item.s()?;
        scalars.push(*z);
        points.push(CompressedEdwardsY(item.r()).decompress()?);
    }
    for group in by_key.chunk_by(|&i, &j| items[i].key == items[j].key) {
        scalars.push(group.iter().map(|&i| coefficients[i] * challenges[i]).sum());
        points.push(CompressedEdwardsY(*items[group[0]].key).decompress()?);
    }
    let sum = EdwardsPoint::vartime_multiscalar_mul(
        iter::once(&base).chain(&scalars),
        iter::once(&ED25519_BASEPOINT_POINT).chain(&points),
    );
    Some(sum.mul_by_cofactor().is_identity())
}

/// # Safety
/// `data` must point to `size` readable bytes; it may be null when `size` is 0.
unsafe fn view<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 {
        return &[];
    }
    slice::from_raw_parts(data, size)
}

/// # Safety
/// See `nacre_rust.h`: `pk` is 32, `sig` 64, `msg` `len` readable bytes.
#[no_mangle]
pub unsafe extern "C" fn nacre_ed25519_verify(pk: *const u8, sig: *const u8, msg: *const u8, len: usize) -> bool {
    Item { key: &*pk.cast(), signature: &*sig.cast(), message: view(msg, len) }.verify()
}

/// # Safety
/// See `nacre_rust.h`: four arrays of `n` entries, each entry as for `nacre_ed25519_verify`.
#[no_mangle]
pub unsafe extern "C" fn nacre_ed25519_verify_batch(
    n: usize,
    pks: *const *const u8,
    sigs: *const *const u8,
    msgs: *const *const u8,
    lens: *const usize,
) -> bool {
    let item = |i| Item {
        key: &*(*pks.add(i)).cast(),
        signature: &*(*sigs.add(i)).cast(),
        message: view(*msgs.add(i), *lens.add(i)),
    };
    match n {
        0 => true,
        1 => item(0).verify(),
        _ => sum_is_zero(&(0..n).map(item).collect::<Vec<_>>()).unwrap_or(false),
    }
}
