"""State in PyTorch the three networks that `networks.py` times, under the tensor names of their checkpoints."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class TimeEmbedding(nn.Module):
    """sin, then cos, of t at frequencies falling from 1 to 10⁻⁴: (B,) to (B, dim)."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, t):
        half = self.dim // 2
        angle = t[:, None] * torch.exp(torch.arange(half, device=t.device) * (-math.log(1e4) / (half - 1)))
        return torch.cat([angle.sin(), angle.cos()], -1)


def over_positions(vector, field):
    """(B, C), to be added to (B, C, ...)."""
    return vector.reshape(*vector.shape, *[1] * (field.dim() - 2))


class SimpleBlock(nn.Module):
    """Two of conv–BatchNorm–ReLU with time and condition added between, and a shortcut."""

    def __init__(self, inside, outside, time_dim):
        super().__init__()

        def half(channels):
            return nn.Sequential(nn.Conv2d(channels, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU())

        self.block1, self.block2 = half(inside), half(outside)
        self.time_mlp, self.cond_mlp = nn.Linear(time_dim, outside), nn.Linear(time_dim, outside)
        self.shortcut = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x, t, c):
        return self.block2(self.block1(x) + over_positions(self.time_mlp(t) + self.cond_mlp(c), x)) + self.shortcut(x)


class SimpleUNet(nn.Module):
    """Of x (B, channels, H, W), t (B,) and c (B, cond_dim); halves the field at every level."""

    def __init__(self, base_channels=128, time_dim=256, cond_dim=6, channel_mults=(1, 2, 4, 8), channels=1):
        super().__init__()
        widths = [base_channels * m for m in channel_mults]
        self.time_mlp = nn.Sequential(
            TimeEmbedding(time_dim), nn.Linear(time_dim, time_dim), nn.ReLU(), nn.Linear(time_dim, time_dim)
        )
        self.cond_mlp = nn.Sequential(nn.Linear(cond_dim, time_dim), nn.ReLU(), nn.Linear(time_dim, time_dim))
        self.init_conv = nn.Conv2d(channels, base_channels, 3, padding=1)
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        now = base_channels
        for width in widths:
            block = SimpleBlock(now, width, time_dim)
            self.downs.append(nn.ModuleDict({"res": block, "down": nn.Conv2d(width, width, 4, 2, 1)}))
            now = width
        self.mid = SimpleBlock(now, now, time_dim)
        for width in reversed(widths):
            block = SimpleBlock(now + width, width, time_dim)
            self.ups.append(nn.ModuleDict({"up": nn.ConvTranspose2d(now, now, 4, 2, 1), "res": block}))
            now = width
        self.final_conv = nn.Sequential(
            nn.Conv2d(now, now, 3, padding=1), nn.ReLU(), nn.Conv2d(now, channels, 1)
        )

    def forward(self, x, t, c):
        t, c, x = self.time_mlp(t), self.cond_mlp(c), self.init_conv(x)
        skips = []
        for level in self.downs:
            x = level["res"](x, t, c)
            skips.append(x)
            x = level["down"](x)
        x = self.mid(x, t, c)
        for level in self.ups:
            x = level["res"](torch.cat([level["up"](x), skips.pop()], 1), t, c)
        return self.final_conv(x)


class Half(nn.Module):
    def __init__(self, inside, outside, groups, padding):
        super().__init__()
        self.proj = nn.Conv2d(inside, outside, 3, padding=1, padding_mode=padding)
        self.norm = nn.GroupNorm(groups, outside)

    def forward(self, x):
        return F.silu(self.norm(self.proj(x)))


class HmcBlock(nn.Module):
    """Two of conv–GroupNorm–SiLU with time and raw condition added between, and a shortcut."""

    def __init__(self, inside, outside, time_dim, cond_dim, groups, padding):
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_dim, outside))
        self.cond_mlp = nn.Sequential(nn.SiLU(), nn.Linear(cond_dim, outside))
        self.block1, self.block2 = Half(inside, outside, groups, padding), Half(outside, outside, groups, padding)
        self.res_conv = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x, t, c):
        return self.block2(self.block1(x) + over_positions(self.mlp(t) + self.cond_mlp(c), x)) + self.res_conv(x)


HEADS, HEAD_DIM = 4, 32


def heads(qkv):
    """(B, 3·128, H, W) to q, k and v of (B, 4, 32, H·W)."""
    return qkv.reshape(qkv.shape[0], 3, HEADS, HEAD_DIM, -1).unbind(1)


def linear_attention(qkv):
    q, k, v = heads(qkv)
    q = q.softmax(-2) * HEAD_DIM**-0.5
    out = (k.softmax(-1) @ v.transpose(-1, -2)).transpose(-1, -2) @ q
    return out.reshape(qkv.shape[0], -1, *qkv.shape[2:])


def full_attention(qkv):
    q, k, v = (part.transpose(-1, -2) for part in heads(qkv))
    out = F.scaled_dot_product_attention(q, k, v)
    return out.transpose(-1, -2).reshape(qkv.shape[0], -1, *qkv.shape[2:])


class Attention(nn.Module):
    def __init__(self, dim, linear):
        super().__init__()
        self.attend = linear_attention if linear else full_attention
        self.to_qkv = nn.Conv2d(dim, 3 * HEADS * HEAD_DIM, 1, bias=False)
        out = nn.Conv2d(HEADS * HEAD_DIM, dim, 1)
        self.to_out = nn.Sequential(out, nn.GroupNorm(1, dim)) if linear else out

    def forward(self, x):
        return self.to_out(self.attend(self.to_qkv(x)))


class PreNorm(nn.Module):
    """As `Residual`, a level of its own in the tensor names."""

    def __init__(self, dim, fn):
        super().__init__()
        self.norm, self.fn = nn.GroupNorm(1, dim), fn

    def forward(self, x):
        return self.fn(self.norm(x))


class Residual(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return self.fn(x) + x


class DiffusionHmcUNet(nn.Module):
    """Of x (B, channels, H, W), t (B,) and c (B, cond_dim); halves the field at every level but the last."""

    def __init__(self, dim=64, dim_mults=(1, 2, 4, 8), cond_dim=2, groups=8, padding="circular", channels=1):
        super().__init__()
        widths, time_dim = [dim * m for m in dim_mults], 4 * dim

        def block(inside, outside):
            return HmcBlock(inside, outside, time_dim, cond_dim, groups, padding)

        def attention(width, linear=True):
            return Residual(PreNorm(width, Attention(width, linear)))

        self.time_mlp = nn.Sequential(
            TimeEmbedding(dim), nn.Linear(dim, time_dim), nn.GELU(), nn.Linear(time_dim, time_dim)
        )
        self.conditional_embedding = nn.Sequential(
            nn.Linear(cond_dim, 5 * cond_dim), nn.GELU(), nn.Linear(5 * cond_dim, time_dim)
        )
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        now = channels
        for width in widths:
            last = len(self.downs) + 1 == len(widths)
            down = nn.Identity() if last else nn.Conv2d(width, width, 4, 2, 1, padding_mode=padding)
            self.downs.append(nn.ModuleList([block(now, width), block(width, width), attention(width), down]))
            now = width
        self.mid_block1, self.mid_attn, self.mid_block2 = block(now, now), attention(now, False), block(now, now)
        for width in reversed(widths[:-1]):
            up = nn.ConvTranspose2d(width, width, 4, 2, 1)
            self.ups.append(nn.ModuleList([block(2 * now, width), block(width, width), attention(width), up]))
            now = width
        self.final_conv = nn.ModuleList([block(now, now), nn.Conv2d(now, channels, 1)])

    def forward(self, x, t, c):
        t = self.time_mlp(t) + self.conditional_embedding(c)
        skips = []
        for block1, block2, attention, down in self.downs:
            x = attention(block2(block1(x, t, c), t, c))
            skips.append(x)
            x = down(x)
        x = self.mid_block2(self.mid_attn(self.mid_block1(x, t, c)), t, c)
        for block1, block2, attention, up in self.ups:
            x = torch.cat([x, skips.pop()], 1)
            x = up(attention(block2(block1(x, t, c), t, c)))
        block, conv = self.final_conv
        return conv(block(x, t, c))


class TimeMlp(nn.Module):
    def __init__(self, time_dim, outside):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(time_dim, outside), nn.SiLU(), nn.Linear(outside, outside))

    def forward(self, t):
        return self.mlp(t)


class LatentBlock(nn.Module):
    """conv–norm–SiLU, + time, conv–norm, + x, SiLU."""

    def __init__(self, width, time_dim):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv3d(width, width, 3, padding=1), nn.Conv3d(width, width, 3, padding=1)
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.time_mlp = TimeMlp(time_dim, width)

    def forward(self, x, t):
        y = F.silu(self.norm1(self.conv1(x))) + over_positions(self.time_mlp(t), x)
        return F.silu(self.norm2(self.conv2(y)) + x)


class LatentVelocityEstimator(nn.Module):
    """Of x (B, in_channels, D, H, W) and t (B,)."""

    def __init__(self, in_channels=128, base_channels=64, time_dim=128, num_res_blocks=4):
        super().__init__()
        self.time_embed = TimeEmbedding(time_dim)
        self.input_conv = nn.Conv3d(in_channels, base_channels, 3, padding=1)
        self.input_norm = nn.GroupNorm(8, base_channels)
        self.res_blocks = nn.ModuleList(LatentBlock(base_channels, time_dim) for _ in range(num_res_blocks))
        self.output_norm = nn.GroupNorm(8, base_channels)
        self.output_conv = nn.Conv3d(base_channels, in_channels, 3, padding=1)

    def forward(self, x, t):
        t, x = self.time_embed(t), F.silu(self.input_norm(self.input_conv(x)))
        for block in self.res_blocks:
            x = block(x, t)
        return self.output_conv(F.silu(self.output_norm(x)))


def from_metadata(metadata, channels):
    """The network that a checkpoint's metadata describes, of `channels` per pixel where that is not told."""

    def sizes(*names):
        return {name: int(metadata[name]) for name in names}

    def multipliers(name):
        return {name: tuple(int(m) for m in metadata[name].split(","))}

    match metadata["net"]:
        case "SimpleUNet":
            own = sizes("base_channels", "time_dim", "cond_dim") | multipliers("channel_mults")
            return SimpleUNet(**own, channels=channels)
        case "diffusion-hmc U-Net":
            own = sizes("dim", "cond_dim", "groups") | multipliers("dim_mults")
            return DiffusionHmcUNet(**own, padding=metadata["padding"], channels=channels)
        case "LatentVelocityEstimator":
            return LatentVelocityEstimator(**sizes("in_channels", "base_channels", "time_dim", "num_res_blocks"))
        case other:
            raise ValueError(f"unknown network {other}")
