"""Which tokens the log-probabilities of a preference pair are of, so that no others borrow them."""

from __future__ import annotations

import hashlib

import attrs

from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import PairReference, Rejection


def fingerprint(pair: TokenizedSample) -> str:
    """Of both sequences: their ids, which of them are learned, and how the pictures are cut. Other
    tokenizers, chat formats, tilers, samplers and bounds of a pack give another one."""
    digest = hashlib.blake2b(digest_size=16)
    for sequence in pair.sequences:
        digest.update(f"{sequence.tokens}/".encode())
        digest.update(sequence.input_ids_T.astype("<i8").tobytes())
        digest.update(sequence.learned_T.tobytes())
        for picture in sequence.pictures:
            plan = attrs.astuple(picture.plan)
            digest.update(repr((picture.start, plan, picture.instruction)).encode())
    return digest.hexdigest()


def with_reference(pair: TokenizedSample, reference: PairReference) -> TokenizedSample:
    """The pair with the log-probabilities of its answers.

    Raises:
        Rejection: ``other-tokens``, where they are of other ones.
    """
    found = fingerprint(pair)
    if reference.tokens and reference.tokens != found:
        raise Rejection(
            "other-tokens",
            f"the reference log-probabilities are of the tokens {reference.tokens}, these are "
            f"{found}: another tokenizer, chat format, tiler, token sampler or size of a pack; "
            "prepare the pairs again with `mmcore data prepare-dpo`",
        )
    assert pair.dispreferred is not None
    worse = attrs.evolve(pair.dispreferred, reference=reference.dispreferred)
    return attrs.evolve(pair, dispreferred=worse, reference=reference.preferred)
