"""Logits of an imported model against the same tensors put together by hand with transformers.

The encoder and the decoder are transformers' own, under the released names; the sampler, the split
vocabulary and the splice are written out here.

Letters: N views, P patches, D encoder width, Q queries, T tokens, E LLM width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch.nn.functional import gelu, layer_norm, linear
from transformers import Phi3Config, Phi3Model, SiglipVisionConfig, SiglipVisionModel

from mmcore import assemble
from mmcore.exchange import fill_stored, import_checkpoint, open_stored
from mmcore.interfaces import PackedBatch

IMAGE = 372
IDS = [5, 9, IMAGE, 30, 371, 374, 17, 373, 360]


def below(state, prefix):
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def features(state, pixels_NCHW):
    config = SiglipVisionConfig(
        hidden_size=32, num_hidden_layers=27, num_attention_heads=16, intermediate_size=40,
        patch_size=4, image_size=16,
    )  # fmt: skip
    model = SiglipVisionModel(config).eval()
    inner = getattr(model, "vision_model", model)
    inner.load_state_dict(below(state, "vision_encoder."))
    return model(pixel_values=pixels_NCHW.float() / 127.5 - 1).last_hidden_state


def vision_tokens(state, x_NPD):
    s = below(state, "vision_tokenizer.")
    q_NQD = s["latents"].expand(len(x_NPD), -1, -1)

    def normed(x, name):
        return layer_norm(x, x.shape[-1:], s[f"{name}.weight"], s[f"{name}.bias"])

    def heads(x):
        return x.unflatten(-1, (16, -1)).transpose(1, 2)

    for i in range(6):
        one = f"layers.{i}.0"
        latents = normed(q_NQD, f"{one}.norm_latents")
        context = torch.cat([normed(x_NPD, f"{one}.norm_media"), latents], dim=1)
        k, v = linear(context, s[f"{one}.to_kv.weight"]).chunk(2, dim=-1)
        q = linear(latents, s[f"{one}.to_q.weight"]) * 3**-0.5
        weights = (heads(q) @ heads(k).transpose(-1, -2)).softmax(-1)
        mixed = (weights @ heads(v)).transpose(1, 2).flatten(2)
        q_NQD = q_NQD + linear(mixed, s[f"{one}.to_out.weight"])
        wide = gelu(linear(normed(q_NQD, f"layers.{i}.1.0"), s[f"layers.{i}.1.1.weight"]))
        q_NQD = q_NQD + linear(wide, s[f"layers.{i}.1.3.weight"])
    return linear(normed(q_NQD, "norm"), s["projection.weight"], s["projection.bias"])


def logits(state, tokens_QE):
    s = below(state, "lang_model.")
    small = s["model.embed_tokens.additional_embedding.weight"]
    large = s["model.embed_tokens.weight"]
    rows = [small[one - IMAGE] if one >= IMAGE else large[one] for one in IDS]
    place = IDS.index(IMAGE)
    x_TE = torch.cat([torch.stack(rows[:place]), tokens_QE, torch.stack(rows[place + 1 :])])
    config = Phi3Config(
        hidden_size=64, num_hidden_layers=32, num_attention_heads=32, intermediate_size=48,
        vocab_size=384, sliding_window=2047, pad_token_id=None, attn_implementation="eager",
    )  # fmt: skip
    decoder = Phi3Model(config).eval()
    own = {k: v for k, v in below(s, "model.").items() if "additional" not in k}
    decoder.load_state_dict(own)
    h_TE = decoder(inputs_embeds=x_TE[None], use_cache=False).last_hidden_state[0]
    known = linear(h_TE, s["lm_head.weight"], s["lm_head.bias"])[:, :IMAGE]
    added = linear(h_TE, s["lm_head.additional_fc.weight"], s["lm_head.additional_fc.bias"])
    return torch.cat([known, added], dim=1)


@torch.no_grad()
def test_logits_are_those_of_the_released_layout(released, state, tmp_path):
    pixels_NCHW = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    want_TV = logits(state, vision_tokens(state, features(state, pixels_NCHW))[0])

    import_checkpoint("xgen-mm", released, tmp_path / "model", probe=False)
    with open_stored(tmp_path / "model") as stored:
        model = assemble.empty_model(stored.file.model, 0, torch.device("cpu")).eval()
        fill_stored(model, stored)
    ids = [one for i in IDS for one in ([IMAGE] * 8 if i == IMAGE else [i])]
    batch = PackedBatch(
        input_ids_T=torch.tensor(ids),
        position_ids_T=torch.arange(len(ids)),
        cu_seqlens=torch.tensor([0, len(ids)], dtype=torch.int32),
        lengths=(len(ids),),
        label_index_L=torch.zeros(1, dtype=torch.long),
        targets_L=torch.zeros(1, dtype=torch.long),
        label_weight_L=torch.zeros(1),
        pixels_NCHW=pixels_NCHW,
        patch_mask_NP=torch.ones(1, 16, dtype=torch.bool),
        image_token_index_K=torch.tensor([n for n, one in enumerate(ids) if one == IMAGE]),
        label_segment_L=torch.zeros(1, dtype=torch.int32),
    )
    got_TV = model.llm.head(model.hidden(batch))
    assert got_TV.shape == want_TV.shape == (16, 375)
    torch.testing.assert_close(got_TV, want_TV, atol=1e-4, rtol=1e-4)
