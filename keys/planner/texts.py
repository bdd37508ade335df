"""Numbers of a plan as people read them."""

from decimal import ROUND_CEILING, Decimal


def number_text(number: Decimal) -> str:
    """With thousands separated and without zeros that say nothing: ``1,000``, ``0.5``."""
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent_text(share: Decimal) -> str:
    """``0.1 %``, ``33.333 %``: to a thousandth, rounded up, so that no blast radius looks smaller than it is."""
    return f"{number_text((share * 100).quantize(Decimal('0.001'), ROUND_CEILING))} %"


def times_text(factor: Decimal) -> str:
    """How many times something is more: to a hundredth, rounded up."""
    return number_text(factor.quantize(Decimal("0.01"), ROUND_CEILING))
