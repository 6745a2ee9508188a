"""2D networks made 3D: what they see in a volume that is constant in z, what is refused, which weights fit."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn
from undrawn import undrawn

from motors.networks.encoders.inflation import ENCODERS, InflatedEncoder, inflate
from motors.networks.weights import pretrained

pytestmark = pytest.mark.kernel  # networks are built and computed
SHAPE = (32, 64, 96)  # z, y, x
TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16], "cardinality": 2, "base_width": 8, "stem_width": 8}
NARROW = [8, 16, 16, 32]  # channels of the four stages
# These take three quarters of the time that all take.
LARGE = (
    "resnet34 resnet50 resnext50_32x4d se_resnet50 densenet169 vgg16_bn tu-resnext50_32x4d tu-seresnext50_32x4d".split()
)


def image() -> torch.Tensor:
    """Random grey levels `(1, 3, y, x)`, scaled as ImageNet's."""
    return torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))


def shaken(flat: nn.Module) -> nn.Module:
    """The network in evaluation mode with random statistics, so that no normalisation does nothing."""
    generator = torch.Generator().manual_seed(0)
    for module in flat.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    return flat.eval()


def without_borders(flat: nn.Module) -> nn.Module:
    """The network with borders repeated instead of zeros beside them: a volume constant in z then stays so."""
    for module in flat.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "replicate"
    return flat


def both(name: str, *, bordered: bool = False) -> tuple[nn.Module, nn.Module]:
    """An encoder for images, with or without zeros beside them, and the one for volumes that is made of it."""
    flat = shaken(smp.encoders.get_encoder(name, weights=None))
    flat = flat if bordered else without_borders(flat)
    with undrawn():  # the kernels are the image's
        return flat, inflate(flat)


@pytest.mark.parametrize(
    "name", [pytest.param(e, marks=pytest.mark.kernel if e in LARGE else ()) for e in ENCODERS if "tf_" not in e]
)
def test_a_volume_constant_in_z_has_the_features_of_its_slices(name):
    """Kernels repeated along z and divided by their length see in equal slices what they saw in one."""
    flat, solid = both(name)
    with torch.inference_mode():
        slices = flat(image())
        volumes = solid(image()[:, :, None].expand(-1, -1, 32, -1, -1))
    for stride, level, expected in zip((1, 2, 4, 8, 16, 32), volumes, slices, strict=True):
        assert level.shape == (1, expected.shape[1], 32 // stride, *expected.shape[2:])
        error = (level - expected[:, :, None]).abs().max()
        assert error <= 2e-4 * expected.abs().max(), f"stride {stride}: {error}"


@pytest.mark.parametrize("name", ["resnet18", "tu-tf_efficientnet_lite0", "tu-tf_efficientnetv2_b0"])
def test_the_ends_of_a_constant_volume_differ_and_its_middle_does_not(name):
    """Zeros beyond the ends of z reach only as far as the kernels do."""
    flat, solid = both(name, bordered=True)
    with torch.inference_mode():
        slices = flat(image())[1:3]
        volumes = solid(image()[:, :, None].expand(-1, -1, 64, -1, -1))[1:3]
    for level, expected in zip(volumes, slices, strict=True):
        near = (level - expected[:, :, None]).abs().amax(dim=(0, 1, 3, 4)) / expected.abs().max()
        assert near[len(near) // 2] < 1e-4 < near[-1], near


def test_real_imagenet_weights_see_in_a_constant_volume_what_they_see_in_its_slices(real):
    """Weights trained on photographs survive being inflated: EfficientNet-Lite0, both ways round."""
    weights = pretrained(real / "weights" / "tf_efficientnet_lite0.pth")
    encoder = InflatedEncoder("tu-tf_efficientnet_lite0", weights).eval()
    flat = timm.create_model("tf_efficientnet_lite0", features_only=True)
    fitting = {key: tensor for key, tensor in weights.items() if key in flat.state_dict()}
    flat.load_state_dict(fitting)
    with torch.inference_mode():
        slices = flat.eval()(image())
        volumes = encoder(image()[:, :, None].expand(-1, -1, 96, -1, -1))
    for level, expected in zip(volumes[:3], slices, strict=False):
        middle = level[:, :, level.shape[2] // 2]
        assert expected.abs().max() > 0.1
        assert (middle - expected).abs().max() <= 1e-3 * expected.abs().max()


def test_a_kernel_keeps_its_sum_and_its_axes():
    """A 3 x 3 kernel becomes three thirds of itself, one behind the other in z."""
    flat = nn.Conv2d(2, 4, 3, stride=2, padding=1)
    solid = inflate(flat)
    assert solid.weight.shape == (4, 2, 3, 3, 3) and solid.stride == (2, 2, 2) and solid.padding == (1, 1, 1)
    for k in range(3):
        torch.testing.assert_close(solid.weight[:, :, k], flat.weight / 3)
    torch.testing.assert_close(solid.bias, flat.bias)


def test_the_2d_network_is_left_as_it_was():
    """Inflating makes a copy: the image network still takes images, and shares no tensor with the copy."""
    flat = shaken(smp.encoders.get_encoder("tu-resnext50_32x4d", weights=None, **TINY))
    before = flat(image())
    solid = inflate(flat)
    for tensor in solid.state_dict().values():
        tensor.zero_()
    for level, expected in zip(flat(image()), before, strict=True):
        torch.testing.assert_close(level, expected)


def test_without_weights_the_kernels_are_half_alike_along_z_and_keep_the_variance():
    """Taps one behind the other correlate by one half, others do not; what comes out is about as large as in 2D."""
    torch.manual_seed(0)
    encoder = InflatedEncoder("resnet18")
    kernel = encoder.network.layer1[0].conv1.weight
    behind, beside = (
        [kernel[:, :, 0].ravel(), other.ravel()] for other in (kernel[:, :, 2], kernel[:, :, 0].roll(1, -1))
    )
    assert [float(torch.stack(pair).corrcoef()[0, 1]) for pair in (behind, beside)] == pytest.approx([0.5, 0], abs=0.02)
    assert kernel.std().item() == pytest.approx((2 / (64 * 27)) ** 0.5, rel=0.02)  # fan out, for ReLU


@pytest.mark.parametrize("name", ["resnext50_32x4d", "densenet121", "tu-efficientnet_b0"])
def test_an_encoder_says_what_it_hands_on(name):
    """Channels and strides are those of the tensors that come out, finest first."""
    with undrawn():
        encoder = InflatedEncoder(name).eval()
    with torch.inference_mode():
        levels = encoder(torch.rand(1, 3, *SHAPE))
    assert [level.shape[1] for level in levels] == list(encoder.channels)
    assert [tuple(level.shape[2:]) for level in levels] == [tuple(n // s for n in SHAPE) for s in encoder.strides]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mit_b0", "LayerNorm|no features"),
        ("tu-convnext_atto", "no features at each"),
        ("tu-ecaresnet26t", "counterpart"),
        ("inceptionv4", "not square"),
        ("resnext51", "no encoder is called"),
        ("tu-resnext51", "no encoder is called"),
        ("tu-tnt_s_patch16_224", "cannot be built .*Unsupported model downsampling pattern.*choose another"),
        ("tu-resnet18.foo", "no weights 'foo' of resnet18: choose one of resnet18, resnet18"),
    ],
)
def test_what_cannot_be_made_3d_is_refused_by_name(name, why):
    """The message says which encoder, and which of its layers has no counterpart."""
    with undrawn(), pytest.raises(ValueError, match=why) as error:
        InflatedEncoder(name)
    assert name.removeprefix("tu-").partition(".")[0] in str(error.value)


def test_an_untested_encoder_is_tried_on_its_side(monkeypatch):
    """Code that averages over two of three axes runs without complaint, and is caught all the same."""
    encoder = InflatedEncoder("tu-resnet10t", channels=NARROW)  # not in the list, but good
    assert encoder.channels[-1] == NARROW[-1]

    class Forgetful(nn.ReLU):
        def forward(self, features):
            return super().forward(features) + features.mean((2, 3), keepdim=True)

    Forgetful.__module__ = nn.ReLU.__module__  # passes for an activation
    original = smp.encoders.get_encoder

    def get_encoder(*arguments, **options):
        flat = original(*arguments, **options)
        flat.model.act1 = Forgetful()
        return flat

    monkeypatch.setattr(smp.encoders, "get_encoder", get_encoder)
    with pytest.raises(ValueError, match="tu-resnet10t.*treats depth, height and width differently"):
        InflatedEncoder("tu-resnet10t", channels=NARROW)


def test_trying_an_encoder_leaves_its_kernels_as_they_were():
    """Three turns bring kernels back."""
    torch.manual_seed(0)
    flat = smp.encoders.get_encoder("tu-resnet10t", weights=None, channels=NARROW)
    weights = {key.removeprefix("model."): tensor for key, tensor in flat.state_dict().items()}
    weights |= {"fc.weight": torch.zeros(1000, NARROW[-1]), "fc.bias": torch.zeros(1000)}
    kernel = InflatedEncoder("tu-resnet10t", weights, channels=NARROW).network.model.layer2[0].conv1.weight
    for k in range(3):
        torch.testing.assert_close(kernel[:, :, k], weights["layer2.0.conv1.weight"] / 3)


def test_weights_of_torchvision_and_timm_fit_under_their_own_names():
    """A classifier is left out; what remains is inflated."""
    torch.manual_seed(0)
    weights = timm.create_model("resnet18").state_dict()
    for name in ("resnet18", "tu-resnet18"):
        assert "fc.weight" in weights
        with undrawn():
            encoder = InflatedEncoder(name, weights)
        network = encoder.network if name == "resnet18" else encoder.network.model
        torch.testing.assert_close(network.conv1.weight[:, :, 3], weights["conv1.weight"] / 7)
        torch.testing.assert_close(network.layer4[1].bn2.weight, weights["layer4.1.bn2.weight"])
        assert "fc.weight" in weights, "the caller's dictionary was changed"


@pytest.fixture(scope="module")
def of_resnet18() -> dict[str, torch.Tensor]:
    """Weights under the names of timm's ResNet-18, all alike."""
    with undrawn():
        return timm.create_model("resnet18").state_dict()


@pytest.mark.parametrize("name", ["resnet18", "tu-resnet18"])
@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_weights_that_do_not_fit_are_refused(name, change, of_resnet18):
    """One tensor too few, too many or of another shape is one too many."""
    weights = dict(of_resnet18)
    if change == "missing":
        del weights["layer3.0.conv1.weight"]
    elif change == "unknown":
        weights["layer5.0.conv1.weight"] = torch.zeros(1)
    else:
        weights["layer3.0.conv1.weight"] = weights["layer3.0.conv1.weight"][:, :5]
    said = {"missing": "1 are missing", "unknown": "1 are unknown", "shape": "1 are of another shape"}[change]
    said = rf"not the weights of the 2D network '{name}': .* {said} \(layer\d.0.conv1"
    with undrawn(), pytest.raises(ValueError, match=said) as e:
        InflatedEncoder(name, weights)
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["densenet121", "tu-densenet121"])
def test_weights_of_another_network_are_refused_in_one_line(name, of_resnet18):
    """Hundreds of tensors are counted, and two of them named."""
    said = r"\d+ are missing \(features\S+, \S+, ...\); \d+ are unknown \(conv1"
    with undrawn(), pytest.raises(ValueError, match=said) as error:
        InflatedEncoder(name, dict(of_resnet18))
    assert "\n" not in str(error.value) and len(str(error.value)) < 250


@pytest.mark.parametrize("name", ["resnet18", "tu-resnet10t"])
def test_no_weights_at_all_are_refused_and_no_others_fetched(name):
    """An empty dictionary is not the same as none."""
    with pytest.raises(ValueError, match=f"the weights of the 2D network '{name}' are wanted, but none are given"):
        InflatedEncoder(name, {})


def test_a_fault_that_is_not_the_weights_is_not_told_as_theirs(of_resnet18):
    """An option that the network does not know stays one, with weights as without."""
    with pytest.raises(ValueError, match="'tu-resnet18' cannot be built .*'layer'"):
        InflatedEncoder("tu-resnet18", dict(of_resnet18), layer=[1])


def test_options_reach_timm_and_are_refused_elsewhere():
    """A network is shrunk by its constructor's own settings."""
    encoder = InflatedEncoder("tu-resnext50_32x4d", stem_type="deep", **TINY)
    assert encoder.channels == (16, 32, 32, 64, 64)
    with pytest.raises(ValueError, match="takes no options.*layers"):
        InflatedEncoder("resnext50_32x4d", layers=[1, 1, 1, 1])
