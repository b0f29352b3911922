"""The estimate of memory as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from configs.schema import RunConfig
from launch.memory.estimate import Device, estimate, places, remedies, without_checkpointing
from launch.memory.figures import GB, UPDATE, Figure, RoleMemory, total
from launch.memory.model_size import ModelSizeError

NAME_WIDTH = 38


def describe_memory(config: RunConfig, device: Device, *, learns: bool = True) -> str:
    """Return the estimate of a run, a role after the other, and what does not fit.

    Returns:
        Many lines, or one with the reason where no sizes can be read.
    """
    try:
        roles = estimate(config, device, learns=learns)
    except ModelSizeError as error:
        return f"memory       not estimated: {error}"
    lines = [f"memory       estimate in GB of 1e9 bytes; device {device}"]
    for role in roles:
        lines += _role_lines(role)
    lines.append("")
    for place in places(config, roles):
        fits = place.num_bytes <= device.num_bytes
        verdict = "fits" if fits else "DOES NOT FIT"
        lines.append(
            _line(place.name, place.num_bytes, f"of {device.num_bytes / GB:.1f}: {verdict}")
        )
        if not fits:
            fixes = remedies(config, device, learns=learns)
            advice = f"one of {', '.join(fixes)}" if fixes else "no single setting mends it"
            lines.append(f"  {advice}")
    if learns and (place := without_checkpointing(config, device)):
        advice = "would not fit"
        if place.num_bytes <= device.num_bytes:
            advice = "fits: model.gradient_checkpointing=false saves some 15 % of an update"
        lines.append(_line("without gradient checkpointing", place.num_bytes, advice))
    return "\n".join(lines)


def _role_lines(role: RoleMemory) -> list[str]:
    gpus = f" on {role.gpus} GPUs each" if role.gpus > 1 else ""
    note = f": {role.note}" if role.note else ""
    lines = ["", f"{role.name} x {role.count}{gpus}{note}"]
    for figure in role.figures:
        if figure.num_bytes:
            rest = f"{figure.basis}{_when(figure)}"
            lines.append(_line(f"  {figure.name}", figure.num_bytes, rest))
    if role.step != role.backward:
        lines.append(_line("  = forward and backward, at most", role.backward))
        lines.append(_line("  = step, at most", role.step))
    elif role.figures:
        lines.append(_line("  = together", role.peak))
    if role.asleep:
        lines.append(_line("  = asleep", total(role.asleep)))
    return lines + [_line(f"  on the host: {f.name}", f.num_bytes, f.basis) for f in role.host]


def _when(figure: Figure) -> str:
    """The phases of a figure that does not last."""
    if "always" in figure.phases:
        return ""
    return (
        ", updates alone" if figure.phases == UPDATE else f", {' and '.join(figure.phases)} alone"
    )


def _line(name: str, num_bytes: int, rest: str = "") -> str:
    return f"{name:{NAME_WIDTH}} {num_bytes / GB:7.2f}  {rest}".rstrip()


def memory_json(config: RunConfig, device: Device, roles: Sequence[RoleMemory]) -> dict[str, Any]:
    """Return the estimate for `json.dumps`; numbers are bytes."""
    return {
        "device_bytes": device.num_bytes,
        "device_is_known": device.known,
        "roles": [
            {
                "name": role.name,
                "count": role.count,
                "gpus": role.gpus,
                "peak_backward": role.backward,
                "peak_step": role.step,
                "figures": [
                    {"name": f.name, "bytes": f.num_bytes, "basis": f.basis, "phases": f.phases}
                    for f in (*role.figures, *role.host)
                ],
            }
            for role in roles
        ],
        "places": [{"name": p.name, "bytes": p.num_bytes} for p in places(config, roles)],
    }
