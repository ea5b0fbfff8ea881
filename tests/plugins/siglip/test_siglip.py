"""SigLIP against transformers' own, its weights in both dialects, and its size."""

from __future__ import annotations

import attrs
import pytest
import torch
from safetensors.torch import save_file
from transformers import SiglipVisionConfig, SiglipVisionModel

from mmcore.interfaces import WeightsError
from mmcore_siglip.spec import SiglipSpec

TINY = SiglipSpec().tiny()


@pytest.fixture(scope="module")
def theirs() -> SiglipVisionModel:
    torch.manual_seed(0)
    config = SiglipVisionConfig(
        hidden_size=TINY.width,
        num_hidden_layers=TINY.depth,
        num_attention_heads=TINY.heads,
        intermediate_size=TINY.mlp_width,
        patch_size=TINY.patch_size,
        image_size=TINY.image_size,
    )
    model = SiglipVisionModel(config).eval()
    for parameter in model.parameters():  # nothing stays zero or one, so that all of it counts
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def folder(theirs, tmp_path):
    # As in the published file, with the text side beside the vision side.
    state = {
        f"vision_model.{name.removeprefix('vision_model.')}": x.clone()
        for name, x in theirs.state_dict().items()
    }
    extra = {"text_model.embeddings.token_embedding.weight": torch.zeros(2, 2)}
    save_file(state | extra | {"logit_scale": torch.zeros(1)}, tmp_path / "model.safetensors")
    return tmp_path


def test_features_are_those_of_transformers_on_the_same_weights(theirs, folder):
    spec = attrs.evolve(TINY, weights=str(folder))
    module = spec.build(attention="sdpa")
    report = spec.load(module)
    assert len(report.loaded) == len(list(module.parameters()))
    assert report.unused == ("logit_scale", "text_model.embeddings.token_embedding.weight")
    pixels = torch.randint(0, 256, (3, 3, 56, 56), dtype=torch.uint8)
    with torch.no_grad():
        want = theirs(pixel_values=pixels.float() / 127.5 - 1)
        got = module(pixels)
        pooled = module.trunk.attn_pool(got)
    torch.testing.assert_close(got, want.last_hidden_state, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pooled, want.pooler_output, atol=1e-5, rtol=1e-5)


def test_weights_under_the_names_of_timm(tmp_path):
    torch.manual_seed(1)
    source = TINY.build(attention="sdpa")
    save_file(source.trunk.state_dict(), tmp_path / "model.safetensors")
    spec = attrs.evolve(TINY, weights=str(tmp_path))
    module = spec.build(attention="sdpa")
    spec.load(module)
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, source.get_parameter(name)), name


def test_a_file_of_something_else_is_refused(tmp_path):
    save_file({"model.norm.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    spec = attrs.evolve(TINY, weights=str(tmp_path))
    with pytest.raises(WeightsError, match="holds no SigLIP"):
        spec.load(spec.build(attention="sdpa"))


def test_size_of_the_published_model():
    with torch.device("meta"):
        module = SiglipSpec().build(attention="sdpa")
    assert sum(one.numel() for one in module.parameters()) == 428_225_600
    assert (SiglipSpec().view.patches, SiglipSpec().feature_width) == (729, 1152)


def test_only_the_pooling_head_is_frozen():
    module = TINY.build(attention="sdpa")
    frozen = {name for name, one in module.named_parameters() if not one.requires_grad}
    assert frozen == {name for name, _ in module.named_parameters() if "attn_pool" in name}
    module(torch.zeros(1, 3, 56, 56, dtype=torch.uint8)).sum().backward()
    assert all(one.grad is not None for one in module.parameters() if one.requires_grad)


def test_pixels_beyond_the_last_whole_patch_are_not_seen():
    spec = attrs.evolve(TINY, image_size=60)
    module = spec.build(attention="sdpa")
    assert spec.view.patches == 16
    pixels = torch.randint(0, 256, (1, 3, 60, 60), dtype=torch.uint8)
    other = pixels.clone()
    other[:, :, 56:, :], other[:, :, :, 56:] = 0, 255
    assert torch.equal(module(pixels), module(other))


def test_fixed_positions_are_no_parameter_and_tell_patches_apart():
    spec = attrs.evolve(TINY, positions="sincos")
    module = spec.build(attention="sdpa")
    assert all("pos_embed" not in name for name, _ in module.named_parameters())
    assert "trunk.pos_embed" not in module.state_dict()
    features_PD = module(torch.zeros(1, 3, 56, 56, dtype=torch.uint8))[0]
    distances = torch.cdist(features_PD, features_PD) + torch.eye(16)
    assert distances.min() > 1e-2


def test_faults_of_a_recipe_are_seen_before_building(tmp_path):
    spec = SiglipSpec(width=90, positions="sincos", weights="hf://nobody/nowhere")
    keys = [problem.key for problem in spec.problems()]
    assert keys == ["heads", "positions", "positions", "weights"]
    assert list(SiglipSpec().problems()) == []
    with pytest.raises(ValueError, match="did you mean 'so400m-patch14-384'"):
        SiglipSpec(variant="so400m-patch14-385")


def test_load_of_random_weights_is_nothing():
    assert TINY.load(TINY.build(attention="sdpa")) is None


@pytest.mark.parametrize("positions", ["learned", "sincos"])
def test_weights_in_bfloat16_give_features_in_bfloat16(positions):
    encoder = attrs.evolve(TINY, positions=positions).build(attention="sdpa")
    pixels_NCHW = torch.randint(0, 256, (2, 3, 56, 56), dtype=torch.uint8)
    wanted_NPD = encoder(pixels_NCHW)
    for parameter in encoder.parameters():
        parameter.data = parameter.data.bfloat16()  # as DeepSpeed does it: buffers stay
    found_NPD = encoder(pixels_NCHW)
    assert found_NPD.dtype == torch.bfloat16
    torch.testing.assert_close(found_NPD.float(), wanted_NPD, rtol=0.1, atol=0.1)


def test_recomputed_blocks_give_the_same_gradients():
    pixels_NCHW = torch.randint(0, 256, (2, 3, 56, 56), dtype=torch.uint8)
    gradients, kept = [], []
    for recompute in (False, True):
        torch.manual_seed(0)
        encoder = attrs.evolve(TINY, recompute=recompute).build(attention="sdpa")
        saved = []

        def keep(tensor, saved=saved):
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            features_NPD = encoder(pixels_NCHW)
        features_NPD.square().sum().backward()
        gradients.append([p.grad for p in encoder.parameters() if p.requires_grad])
        kept.append(sum(saved))
    torch.testing.assert_close(*gradients)
    assert kept[1] < kept[0] / 2 + 1000  # of two blocks the inputs are left
