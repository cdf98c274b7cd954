"""Lean: align each frame with the reference, and merge the frames by predicted weights.

Frames are aligned by the motion of the camera and of objects. A small U-Net at half resolution
then predicts the weights by which they are merged. Before training, the result is a mean of the
reference and of the frames that agree with it. docs/benchmarks.md has measurements of both parts.
SAFNet (Kong, Li, Zhang, Yang, Zou, ECCV 2024, arXiv 2407.16308) showed that small networks do best
if flow comes first.
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
"""Between these codes (0 to 1) a channel counts as partly clipped, since noise and JPEG blur the
threshold."""
DISCOUNT = 4.0
"""Before training, frames that differ from the reference or clip weigh e^-4 times as much as the
reference, all of them together."""
AGREEMENT, AGREEMENT_RADIUS = 0.03, 2
"""A frame weighs e^-1/2 times as much where its codes differ by the first value from those of the
reference: the root mean square within the second (px)."""
CLIPPED_DISCOUNT = 1.0
"""Before training, where the reference clips, it weighs e^1 times as much as all shorter frames
together. Longer frames clip there too."""
LOGIT_GAIN = 4.0
"""Factor of the predicted logits, large enough to change the initial weights within a few hundred
steps of training."""


class Residual(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = conv(channels, channels, dilation=dilation)
        self.second = conv(channels, channels)
        with torch.no_grad():
            self.second.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return x + self.second(F.relu(self.first(F.relu(x))))


class AlignedBracket(NamedTuple):
    """A bracket whose frames are aligned, but not merged."""

    features: Tensor
    """(B, C, H / 2, W / 2), the input of the U-Net."""
    candidates: Tensor
    """(B, F, 3, H, W), mu-law radiance of the reference, then of the other frames."""
    prior: Tensor
    """(B, F, H, W), logits of their weights before training."""
    aligned: Tensor
    """As in `Output`."""
    visible: Tensor
    """As in `Output`."""


class Lean(nn.Module):
    """The default network: about 0.56 M parameters, 0.15 TFLOP for 3 frames of 1500 x 1000.

    Each frame, aligned with the reference, is a candidate for every pixel. The result is the
    weighted mean of the candidates in the mu-law domain plus a residual; weights and residual are
    predicted. Where the reference clips, it is a lower bound of the radiance, so darker candidates
    are raised to it.

    Before training the residual is 0. Frames that agree with the reference weigh in proportion to
    their exposure, frames that differ hardly weigh anything. Where the reference clips, the shorter
    frames have a good share.

    Parameters
    ----------
    frames : int
        Number of frames.
    reference : int
        Index of the frame whose geometry the result has.
    widths, align : (int, int, int)
        Channels of the U-Net, and of the features for alignment, at a half, a quarter and an eighth
        of the resolution.
    """

    stride = 8
    """Height and width of the input are multiples of this."""
    receptive_field = 240
    """Distance (px) from a pixel of the result beyond which the input does not change it."""

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
        """Return the radiance of a bracket.

        Parameters
        ----------
        inputs : (B, F, 6, H, W) float32
            Made by `trainer.data.dataset.network_input`; H and W are multiples of `stride`.
        camera : (B, F - 1, 2, H, W) float32, optional
            Motion of the camera by `overview`; by default it is estimated from `inputs`.

        Returns
        -------
        (B, 3, H, W) float32
            Linear radiance in the geometry of the reference, 1.0 where the shortest frame clips.
            In training mode it is part of an `Output`, together with the aligned frames.
        """
        check_frame_count(inputs, self.frames)
        bracket = self.align_bracket(inputs, camera)
        predicted = self.unet(bracket.features).float()
        weights = (bracket.prior + LOGIT_GAIN * predicted[:, 3:]).softmax(1)
        merged = (weights[:, :, None] * bracket.candidates).sum(1)
        radiance = inverse_mu_law(merged + predicted[:, :3].tanh())
        return Output(radiance, bracket.aligned, bracket.visible) if self.training else radiance

    def overview(self, inputs: Tensor) -> Tensor:
        """Estimate the motion of the camera from the reference to the other frames.

        Large frames are predicted tile by tile. The motion of the camera is found better in the
        whole frame, downsampled, because its windows are wide and the camera may have moved far.

        Parameters
        ----------
        inputs : (B, F, 6, H, W) float32
            Whole frames, downsampled.

        Returns
        -------
        (B, F - 1, 2, H, W) float32
            Steps to the right and down, in pixels of the input.
        """
        reference, other = self.match_exposures(inputs[:, :, :3], relative_exposures(inputs))
        return self.per_frame(camera_flow(reference, other, self.align(reference, other)))

    def estimate_flows(
        self, reference: Tensor, other: Tensor, camera: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Estimate the flows from the reference to the other frames.

        Parameters
        ----------
        reference, other : (B (F - 1), 4, H, W) float32
            Result of `match_exposures`.
        camera : (B, F - 1, 2, H, W) float32, optional
            See `forward`.

        Returns
        -------
        flow, learned : (B (F - 1), 2, H, W) float32
            Steps to the right and down in pixels: the flow to align by, and the learned one alone.
        """
        if camera is None:
            learned = self.align(reference, other)
            smooth = camera_flow(reference, other, learned)
        else:
            smooth = camera.flatten(0, 1)
            step = self.align(reference, warp(other, smooth))
            learned = step + warp(smooth, step)
        camera_sharp = sharpen_flow(reference, other, smooth)
        own = learned + (sharpen_flow(reference, other, learned) - learned).detach()
        return combine_flows(reference, other, camera_sharp, own), learned

    def align_bracket(self, inputs: Tensor, camera: Tensor | None) -> AlignedBracket:
        """Align the frames of a bracket, (B, F, 6, H, W), and compare them.

        It is a function of its own to free its intermediate results before the U-Net runs.
        """
        codes, radiance = inputs[:, :, :3], mu_law(inputs[:, :, 3:])
        exposures = relative_exposures(inputs)
        reference, other = self.match_exposures(codes, exposures)
        flow, learned = self.estimate_flows(reference, other, camera)
        others = torch.cat([radiance[:, self.others].flatten(0, 1), other[:, :3]], 1)
        aligned, matched = self.per_frame(warp(others, flow, "bicubic")).chunk(2, 2)

        clipped = clipping(codes[:, self.reference, None])
        bound = radiance[:, self.reference, None]
        raised = aligned + clipped * F.relu(bound - aligned)
        hidden = self.hidden_share(aligned, exposures, flow)
        difference = self.per_frame(reference[:, :3]) - matched
        parts = [
            torch.cat([codes[:, self.reference, None] - 0.5, bound - 0.5], 2).flatten(1, 2),
            clipped.amax(2),
            torch.cat([raised - 0.5, difference, hidden], 2).flatten(1, 2),
        ]
        features = F.pixel_unshuffle(torch.cat(parts, 1), 2)
        prior = self.prior(clipped.amax(2), difference, hidden, exposures)
        if self.training:  # the loss of the alignment judges the learned flow alone
            aligned = self.per_frame(warp(others[:, :3], learned, "bicubic"))
            hidden = self.hidden_share(aligned, exposures, learned)
        return AlignedBracket(
            features.contiguous(memory_format=torch.channels_last),
            torch.cat([bound, raised], 1),
            prior,
            aligned,
            1 - hidden,
        )

    def hidden_share(self, aligned: Tensor, exposures: Tensor, flow: Tensor) -> Tensor:
        """Return how far aligned frames clip, or are outside of their border, at each pixel.

        Parameters
        ----------
        aligned : (B, F - 1, 3, H, W) float32
            Mu-law radiance of the other frames, aligned by `flow`.
        exposures : (B, F, 1, 1, 1) float32
            Result of `relative_exposures`.
        flow : (B (F - 1), 2, H, W) float32
            Steps to the right and down in pixels.

        Returns
        -------
        (B, F - 1, 1, H, W) float32
            0 where the frame shows the radiance, 1 where it does not.
        """
        low, high = (mu_law(c**GAMMA / exposures[:, self.others]) for c in (CLIP_FROM, CLIP_TO))
        clipped = ((aligned - low) / (high - low)).amax(2, keepdim=True).clamp(0, 1)
        return (clipped + 1 - self.per_frame(is_inside(flow))).clamp(max=1)

    def match_exposures(self, codes: Tensor, exposures: Tensor) -> tuple[Tensor, Tensor]:
        """Show the reference and each other frame at the longer of their two exposures.

        Parameters
        ----------
        codes : (B, F, 3, H, W) float32
            Codes of all frames, 0 to 1.
        exposures : (B, F, 1, 1, 1) float32
            Result of `relative_exposures`.

        Returns
        -------
        reference, other : (B (F - 1), 4, H, W) float32
            Codes (RGB), and how far they clip, 0 to 1.
        """
        pairs = [[self.reference, i] for i in self.others]
        codes, exposures = codes[:, pairs], exposures[:, pairs]
        matched = codes * (exposures.amax(2, keepdim=True) / exposures) ** (1 / GAMMA)
        matched = matched.clamp(max=1)
        clipped = clipping(matched).amax(3, keepdim=True)
        frames = torch.cat([matched, clipped], 3).flatten(0, 1)
        return frames[:, 0], frames[:, 1]

    def per_frame(self, image: Tensor) -> Tensor:
        """Reshape (B (F - 1), C, H, W) to (B, F - 1, C, H, W)."""
        return image.view(-1, self.frames - 1, *image.shape[1:])

    def prior(
        self, clipped: Tensor, difference: Tensor, hidden: Tensor, exposures: Tensor
    ) -> Tensor:
        """Return the logits of candidates before training, (B, F, H, W).

        Frames that agree with the reference weigh in proportion to their exposure (Hasinoff 2010,
        doi:10.1109/CVPR.2010.5540167), frames that differ hardly weigh anything. Where the
        reference clips, nothing can be compared, and the shorter frames have a good share.

        Parameters
        ----------
        clipped : (B, 1, H, W) float32
            How far the reference clips, 0 to 1.
        difference : (B, F - 1, 3, H, W) float32
            Codes of the reference minus those of the aligned frames at the same exposure.
        hidden : (B, F - 1, 1, H, W) float32
            Result of `hidden_share`.
        exposures : (B, F, 1, 1, 1) float32
            Result of `relative_exposures`.
        """
        gain = (exposures[:, self.others] / exposures[:, self.reference, None]).log()[:, :, 0]
        error = F.pad(difference.square().amax(2), (AGREEMENT_RADIUS,) * 4, "replicate")
        error = F.avg_pool2d(error, 2 * AGREEMENT_RADIUS + 1, 1) / (2 * AGREEMENT**2)
        discount = DISCOUNT + math.log(len(self.others))
        compared = (gain - error - discount * hidden[:, :, 0]).clamp(min=-discount)
        longer = torch.tensor([i > self.reference for i in self.others], device=clipped.device)
        clipped_discount = CLIPPED_DISCOUNT + math.log(max(1, self.reference))
        uncompared = torch.where(longer, -DISCOUNT, 0.0).view(-1, 1, 1) - clipped_discount
        logits = compared + clipped * (uncompared - compared)
        return torch.cat([torch.zeros_like(clipped), logits], 1)

    def unet(self, features: Tensor) -> Tensor:
        """Map (B, C, H / 2, W / 2) to residual and logits of candidates, (B, 3 + F, H, W)."""
        half = self.encode_half(self.head(features))
        quarter = self.encode_quarter(self.to_quarter(half))
        eighth = self.middle(self.to_eighth(quarter))
        quarter = self.decode_quarter(quarter + F.pixel_shuffle(self.from_eighth(eighth), 2))
        half = self.decode_half(half + F.pixel_shuffle(self.from_quarter(quarter), 2))
        return F.pixel_shuffle(self.tail(F.relu(half)), 2)


def clipping(code: Tensor) -> Tensor:
    """Return how far codes of any shape clip, 0 to 1."""
    return ((code - CLIP_FROM) / (CLIP_TO - CLIP_FROM)).clamp(0, 1)


def relative_exposures(inputs: Tensor) -> Tensor:
    """Return exposures relative to the shortest frame, (B, F, 1, 1, 1) float32, 1 or more.

    The exposure of a frame is code^2.2 / radiance, the same at every pixel; it is taken at the
    brightest value. A black frame gets 1.
    """
    code, radiance = (x.detach().amax((2, 3, 4)) for x in (inputs[:, :, :3], inputs[:, :, 3:]))
    exposures = torch.where(radiance > 0, code**GAMMA / radiance.clamp(min=1e-30), 1.0)
    return exposures[:, :, None, None, None]
