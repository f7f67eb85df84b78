"""
Sizes of an edit: from the picture to what a model works on, and back to the result. Arithmetic alone, no pixels.

Three steps, each of which may have nothing to do:

1. The picture is brought to the size of the result. That is its own, unless it is asked otherwise; a picture that is
   larger than the model takes becomes smaller, unless only a masked part of it is edited.
2. Of this a region is worked on: all of it; or, where only a masked part is edited, that part with a margin. It is
   scaled where the model takes no such size.
3. Sides that are no multiples of what the model takes are padded on the right and below, not scaled.

What is made goes the way back: the padding is cut off, the region gets its size again, and its masked pixels replace
those of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobs.catalogue.entry import Model

Size = tuple[int, int]  # width, height

# Around a masked part where the caller says nothing: enough to see what it belongs to.
_LEAST_MARGIN = 32  # pixels
_MARGIN_SHARE = 4  # of the part's longer side: a quarter


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a picture, in pixels; `right` and `bottom` are the first that are not in it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def size(self) -> Size:
        return self.width, self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    How a picture is edited.

    Attributes:
        picture: Its size.
        source: What of the picture is seen in the result: all of it, or its middle where that has another shape.
        output_size: Of the result.
        region: What of the result is worked on.
        scaled: The region's size as the model sees it.
        width, height: Of what the model works on: `scaled`, padded. They do not depend on where the mask is.
    """

    picture: Size
    source: Region
    output_size: Size
    region: Region
    scaled: Size
    width: int
    height: int

    @property
    def size(self) -> Size:
        """Of what the model works on."""
        return self.width, self.height


def plan(
    picture: Size,
    model: Model,
    *,
    wanted: Size | None = None,
    is_masked: bool = False,
    mask_box: Region | None = None,
    padding_mask_crop: int | None = None,
) -> Plan:
    """
    Plan an edit.

    Args:
        picture: Its size, upright.
        wanted: Size of the result, each side at most the model's largest; None keeps the picture's. The picture fills
            it: its proportions are kept, and what is too much is cut off on both sides. The `output_size` of a plan is
            `wanted` of an equal one.
        mask_box: The smallest region of the result that has all that is masked; None is all of it, and is what can be
            said before the mask is open.
        padding_mask_crop: Pixels around it. If given, the region is always cut out, and it is the one of diffusers'
            `VaeImageProcessor.get_crop_region`. If not, it is cut out where the result is larger than the model takes,
            with a margin of a quarter of its longer side, and has at least the model's usual size.
    """
    smallest, largest = usable_sides(model)
    usual = (model.defaults.width, model.defaults.height)
    fits = max(wanted or picture) <= largest
    is_cut_out = is_masked and (padding_mask_crop is not None or not fits)
    output = wanted or (picture if fits or is_masked else _fitted(picture, (largest, largest)))
    whole = Region(0, 0, *output)
    if is_cut_out:
        region = _region(mask_box, output, usual, padding_mask_crop) if mask_box is not None else whole
        scaled, (width, height) = _fitted(region.size, usual), usual
    else:
        region, scaled = whole, _taken(output, smallest, largest)
        width, height = (max(smallest, _next_multiple(side, model.side_multiple)) for side in scaled)
    return Plan(
        picture=picture,
        source=_source(picture, output),
        output_size=output,
        region=region,
        scaled=scaled,
        width=width,
        height=height,
    )


def usable_sides(model: Model) -> tuple[int, int]:
    """The smallest and the largest side that a model makes, both multiples."""
    multiple = model.side_multiple
    return _next_multiple(model.limits.min_side, multiple), model.limits.max_side // multiple * multiple


def crop_region(box: Region, within: Size, shape: Size, margin: int) -> Region:
    """
    A region around a box that has the proportions of `shape`, as far as the picture has room.

    The arithmetic is that of `get_crop_region` of diffusers' `VaeImageProcessor`, to the pixel.
    """
    width, height = within
    left, right = max(box.left - margin, 0), min(box.right + margin, width)
    top, bottom = max(box.top - margin, 0), min(box.bottom + margin, height)
    ratio = shape[0] / shape[1]
    if (right - left) / (bottom - top) > ratio:
        top, bottom = _grown(top, bottom, int((right - left) / ratio - (bottom - top)), height)
    else:
        left, right = _grown(left, right, int((bottom - top) * ratio - (right - left)), width)
    return Region(left, top, right, bottom)


def _region(box: Region, within: Size, usual: Size, margin: int | None) -> Region:
    if margin is not None:
        return crop_region(box, within, usual, margin)
    margin = max(_LEAST_MARGIN, max(box.size) // _MARGIN_SHARE)
    region = crop_region(box, within, usual, margin)
    left, right = _grown(region.left, region.right, usual[0] - region.width, within[0])
    top, bottom = _grown(region.top, region.bottom, usual[1] - region.height, within[1])
    return Region(left, top, right, bottom)


def _grown(low: int, high: int, by: int, most: int) -> tuple[int, int]:
    """On both sides alike; where one has no room, on the other."""
    by = max(by, 0)
    low, high = low - by // 2, high + by - by // 2
    shift = min(most - high, 0)
    low, high = low + shift, high + shift
    shift = max(-low, 0)
    return low + shift, min(high + shift, most)


def _source(picture: Size, output: Size) -> Region:
    """In the middle, with the proportions of the result; all of the picture where these differ by rounding alone."""
    (width, height), (made_width, made_height) = picture, output
    if made_height == _share(height, made_width, width) or made_width == _share(width, made_height, height):
        return Region(0, 0, width, height)
    cut_width = min(width, _share(made_width, height, made_height))
    cut_height = min(height, _share(made_height, width, made_width))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    return Region(left, top, left + cut_width, top + cut_height)


def _taken(size: Size, smallest: int, largest: int) -> Size:
    """What the model sees of it: itself, but where it is too large, or so small that it would be padding for most."""
    if max(size) > largest:
        return _fitted(size, (largest, largest))
    if min(size) < smallest:
        width, height = size
        room = (_share(width, smallest, min(size)), _share(height, smallest, min(size)))
        return room if max(room) <= largest else _fitted(size, (largest, largest))
    return size


def _fitted(size: Size, room: Size) -> Size:
    """As large as there is room, with its proportions."""
    (width, height), (most_width, most_height) = size, room
    if width * most_height > height * most_width:
        return most_width, _share(height, most_width, width)
    return _share(width, most_height, height), most_height


def _share(length: int, numerator: int, denominator: int) -> int:
    """Of a length, rounded; at least a pixel."""
    return max(1, (2 * length * numerator + denominator) // (2 * denominator))


def _next_multiple(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
