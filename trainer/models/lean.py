"""Lean: brings the content of each frame to where the reference has it, and says how much to take.

It starts from what the reference and the frames that agree with it show, and learns the rest.
Frames are aligned as the camera moved, and as things did that moved by themselves; a small U-Net at
half resolution merges them. What either brings is in docs/benchmarks.md; SAFNet (Kong, Li, Zhang,
Yang, Zou, ECCV 2024, arXiv 2407.16308) showed that a small network does best by flow first.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelgen.core.response import GAMMA
from trainer.models.camera_motion import camera_flow, combine_flows, sharpen_flow
from trainer.models.inputs import check_frame_count
from trainer.models.mu_law import inverse_mu_law, mu_law
from trainer.models.optical_flow import Align, conv, is_inside, warp
from trainer.models.output import Output

CLIP_FROM, CLIP_TO = 0.90, 0.98
"""Codes between which a channel turns from seen to clipped; noise and JPEG blur the threshold."""
DISCOUNT = 4.0
"""At the start frames that differ or clip count e^-4 times as much as the reference, together."""
AGREEMENT, AGREEMENT_RADIUS = 0.03, 2
"""Difference of codes, root mean square within so many px, that makes it count e^-1/2 as much."""
CLIPPED_DISCOUNT = 1.0
"""Where it clips, e^1 times as much as the shorter ones together; longer ones clip there too."""
LOGIT_GAIN = 4.0
"""Of the predicted logits, so that they can leave that start in a few hundred steps."""


class Residual(nn.Module):
    """Two convolutions beside a skip."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = conv(channels, channels, dilation=dilation)
        self.second = conv(channels, channels)
        with torch.no_grad():
            self.second.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return x + self.second(F.relu(self.first(F.relu(x))))


class AlignedBracket(NamedTuple):
    """What is known of a bracket before its frames are merged.

    `features` (B, C, H / 2, W / 2), what the U-Net sees; `candidates` (B, F, 3, H, W), mu-law
    radiance of the reference, then of the others, aligned; `prior` (B, F, H, W), logits of their
    weights to start from; `aligned` (B, F - 1, 3, H, W) and `visible` (B, F - 1, 1, H, W) as
    `Output` has them.
    """

    features: Tensor
    candidates: Tensor
    prior: Tensor
    aligned: Tensor
    visible: Tensor


class Lean(nn.Module):
    """Our default: about 0.56 M parameters and 0.15 TFLOP for 3 frames of 1500 x 1000.

    Each frame, aligned with the reference, is a candidate for every pixel, and where the reference
    clips, a candidate is at least what the reference proves (a frame that shows something darker
    there shows something else). The result is their mean in the mu-law domain by predicted weights,
    plus a predicted residual. Before training the residual is 0, and frames that agree with the
    reference count as the light they gathered, those that differ hardly at all; where the reference
    clips, the shorter frames have a good share.

    Parameters
    ----------
    frames : int
        How many frames it takes.
    reference : int
        Index of the frame whose geometry the result has.
    widths, align : (int, int, int)
        Channels of the U-Net, and of the features to align by, at a half, a quarter and an eighth
        of the resolution.
    """

    stride = 8
    """Height and width of its input are multiples of this."""
    reach = 240
    """No pixel of the result depends on one farther away."""

    def __init__(
        self,
        frames: int,
        reference: int,
        widths: tuple[int, int, int] = (40, 56, 64),
        align: tuple[int, int, int] = (16, 32, 40),
    ) -> None:
        super().__init__()
        self.frames, self.reference = frames, reference
        self.others = [i for i in range(frames) if i != reference]
        half, quarter, eighth = widths
        self.align = Align(4, align)
        self.head = conv(4 * 7 * frames, half)
        self.encode_half = Residual(half)
        self.to_quarter = conv(half, quarter, 2, stride=2)
        self.encode_quarter = Residual(quarter)
        self.to_eighth = conv(quarter, eighth, 2, stride=2)
        self.middle = nn.Sequential(Residual(eighth), Residual(eighth, dilation=2))
        self.from_eighth = conv(eighth, 4 * quarter, 1)
        self.decode_quarter = Residual(quarter)
        self.from_quarter = conv(quarter, 4 * half, 1)
        self.decode_half = Residual(half)
        self.tail = conv(half, 4 * (3 + frames))
        nn.init.zeros_(self.tail.weight)

    def forward(self, inputs: Tensor, camera: Tensor | None = None) -> Tensor | Output:
        """Radiance of a bracket.

        Parameters
        ----------
        inputs : (B, F, 6, H, W) float32
            As `trainer.data.dataset.network_input` makes them; H and W are multiples of `stride`.
        camera : (B, F - 1, 2, H, W) float32, optional
            How the camera moved, as `overview` finds it, if more is known than these pixels tell.

        Returns
        -------
        (B, 3, H, W) float32
            Linear radiance in the geometry of the reference, 1.0 where the shortest frame clips;
            in training mode an `Output`, which has the aligned frames too.
        """
        check_frame_count(inputs, self.frames)
        seen = self.see(inputs, camera)
        predicted = self.unet(seen.features).float()
        weights = (seen.prior + LOGIT_GAIN * predicted[:, 3:]).softmax(1)
        merged = (weights[:, :, None] * seen.candidates).sum(1)
        result = inverse_mu_law(merged + predicted[:, :3].tanh())
        return Output(result, seen.aligned, seen.visible) if self.training else result

    def overview(self, inputs: Tensor) -> Tensor:
        """How the camera moved between the reference and the other frames.

        Windows that find it are wide, and it may have moved far, so that of a large frame a
        reduced one tells more than its tiles do.

        Parameters
        ----------
        inputs : (B, F, 6, H, W) float32
            A whole frame, reduced as far as may be.

        Returns
        -------
        (B, F - 1, 2, H, W) float32
            Steps to the right and down in these pixels, from the reference.
        """
        reference, other = self.pairs(inputs[:, :, :3], relative_exposures(inputs))
        return self.per_frame(camera_flow(reference, other, self.align(reference, other)))

    def flows(
        self, reference: Tensor, other: Tensor, camera: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Where what the reference shows lies in the others, and what of it was learned.

        Parameters
        ----------
        reference, other : (B (F - 1), 4, H, W) float32
            What `pairs` makes.
        camera : (B, F - 1, 2, H, W) float32, optional
            See `forward`.

        Returns
        -------
        flow, learned : (B (F - 1), 2, H, W) float32
            Steps to the right and down in pixels.
        """
        if camera is None:
            learned = self.align(reference, other)
            smooth = camera_flow(reference, other, learned)
        else:
            smooth = camera.flatten(0, 1)
            step = self.align(reference, warp(other, smooth))
            learned = step + warp(smooth, step)
        steady = sharpen_flow(reference, other, smooth)
        own = learned + (sharpen_flow(reference, other, learned) - learned).detach()
        return combine_flows(reference, other, steady, own), learned

    def see(self, inputs: Tensor, camera: Tensor | None) -> AlignedBracket:
        """Align the frames of a bracket, (B, F, 6, H, W), and compare them.

        By itself, so that what it needs on the way is gone before the U-Net takes its memory.
        """
        code, radiance = inputs[:, :, :3], mu_law(inputs[:, :, 3:])
        exposed = relative_exposures(inputs)
        reference, other = self.pairs(code, exposed)
        flow, learned = self.flows(reference, other, camera)
        theirs = torch.cat([radiance[:, self.others].flatten(0, 1), other[:, :3]], 1)
        aligned, same = self.per_frame(warp(theirs, flow, "bicubic")).chunk(2, 2)

        unseen = clipping(code[:, self.reference, None])
        proven = radiance[:, self.reference, None]
        raised = aligned + unseen * F.relu(proven - aligned)
        hidden = self.hidden(aligned, exposed, flow)
        differ = self.per_frame(reference[:, :3]) - same
        shown = [
            torch.cat([code[:, self.reference, None] - 0.5, proven - 0.5], 2).flatten(1, 2),
            unseen.amax(2),
            torch.cat([raised - 0.5, differ, hidden], 2).flatten(1, 2),
        ]
        features = F.pixel_unshuffle(torch.cat(shown, 1), 2)
        prior = self.prior(unseen.amax(2), differ, hidden, exposed)
        if self.training:  # what was learned is judged by itself
            aligned = self.per_frame(warp(theirs[:, :3], learned, "bicubic"))
            hidden = self.hidden(aligned, exposed, learned)
        return AlignedBracket(
            features.contiguous(memory_format=torch.channels_last),
            torch.cat([proven, raised], 1),
            prior,
            aligned,
            1 - hidden,
        )

    def hidden(self, aligned: Tensor, exposed: Tensor, flow: Tensor) -> Tensor:
        """Whether frames (B, F - 1, 3, H, W) clip or end there, (B, F - 1, 1, H, W), 0 to 1."""
        low, high = (mu_law(c**GAMMA / exposed[:, self.others]) for c in (CLIP_FROM, CLIP_TO))
        clipped = ((aligned - low) / (high - low)).amax(2, keepdim=True).clamp(0, 1)
        return (clipped + 1 - self.per_frame(is_inside(flow))).clamp(max=1)

    def pairs(self, code: Tensor, exposed: Tensor) -> tuple[Tensor, Tensor]:
        """The reference and each other frame as the longer of the two exposures shows both.

        Parameters
        ----------
        code : (B, F, 3, H, W) float32
            Of all frames, 0 to 1.
        exposed : (B, F, 1, 1, 1) float32
            Exposure of each, as `relative_exposures` finds it.

        Returns
        -------
        reference, other : (B (F - 1), 4, H, W) float32
            Codes (RGB), and whether they clip.
        """
        both = [[self.reference, i] for i in self.others]
        code, exposed = code[:, both], exposed[:, both]
        same = code * (exposed.amax(2, keepdim=True) / exposed) ** (1 / GAMMA)
        same = same.clamp(max=1)
        shown = torch.cat([same, clipping(same).amax(3, keepdim=True)], 3).flatten(0, 1)
        return shown[:, 0], shown[:, 1]

    def per_frame(self, image: Tensor) -> Tensor:
        """(B (F - 1), C, H, W) as (B, F - 1, C, H, W)."""
        return image.view(-1, self.frames - 1, *image.shape[1:])

    def prior(self, unseen: Tensor, differ: Tensor, hidden: Tensor, exposed: Tensor) -> Tensor:
        """Logits (B, F, H, W) of the reference and the others to start from.

        What agrees with the reference counts as the light it gathered (Hasinoff 2010,
        doi:10.1109/CVPR.2010.5540167), what differs hardly. Where the reference clips nothing can
        be compared, and the shorter frames have a good share.

        Parameters
        ----------
        unseen : (B, 1, H, W) float32
            How far the reference clips, 0 to 1.
        differ, hidden : (B, F - 1, 3, H, W), (B, F - 1, 1, H, W) float32
            Differences of codes to the others, aligned, and whether these show anything.
        exposed : (B, F, 1, 1, 1) float32
            Exposures.
        """
        light = (exposed[:, self.others] / exposed[:, self.reference, None]).log()[:, :, 0]
        odd = F.pad(differ.square().amax(2), (AGREEMENT_RADIUS,) * 4, "replicate")
        odd = F.avg_pool2d(odd, 2 * AGREEMENT_RADIUS + 1, 1) / (2 * AGREEMENT**2)
        least = DISCOUNT + math.log(len(self.others))
        seeing = (light - odd - least * hidden[:, :, 0]).clamp(min=-least)
        longer = torch.tensor([i > self.reference for i in self.others], device=unseen.device)
        alike = CLIPPED_DISCOUNT + math.log(max(1, self.reference))
        clipping = torch.where(longer, -DISCOUNT, 0.0).view(-1, 1, 1) - alike
        logits = seeing + unseen * (clipping - seeing)
        return torch.cat([torch.zeros_like(unseen), logits], 1)

    def unet(self, features: Tensor) -> Tensor:
        """(B, C, H / 2, W / 2) to (B, 3 + F, H, W): residual and logits of candidates."""
        half = self.encode_half(self.head(features))
        quarter = self.encode_quarter(self.to_quarter(half))
        eighth = self.middle(self.to_eighth(quarter))
        quarter = self.decode_quarter(quarter + F.pixel_shuffle(self.from_eighth(eighth), 2))
        half = self.decode_half(half + F.pixel_shuffle(self.from_quarter(quarter), 2))
        return F.pixel_shuffle(self.tail(F.relu(half)), 2)


def clipping(code: Tensor) -> Tensor:
    """How far codes are on the way to clipping, 0 to 1."""
    return ((code - CLIP_FROM) / (CLIP_TO - CLIP_FROM)).clamp(0, 1)


def relative_exposures(inputs: Tensor) -> Tensor:
    """Exposure of frames relative to the shortest, 1 or more, (B, F, 1, 1, 1) float32.

    The ratio of what codes stand for and the radiance, of the brightest channel: the same
    everywhere in a frame. A black frame has 1.
    """
    code, radiance = (x.detach().amax((2, 3, 4)) for x in (inputs[:, :, :3], inputs[:, :, 3:]))
    found = torch.where(radiance > 0, code**GAMMA / radiance.clamp(min=1e-30), 1.0)
    return found[:, :, None, None, None]
